"""Made-up records of runs, and studies of them on the disk."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tedg.store.record import Curve, Evaluation, Game, RunRecord, write_record

ATTENTION = {
    "gradient/W_Q": 0.1,
    "gradient/W_K": 0.2,
    "attention/variation": 0.01,
    "attention/keys": 122.0,
    "attention/kept_keys": 37.0,
    "attention/promised_keys": 37.0,
}
ALIVE = {"gradient/router": 0.3, "influence/vision": 0.4, "influence/logic": 0.2}
_GATE = {"_target_": "tedg.models.gate.TopKGate", "keep": 0.3}
FUSIONS: dict[str, dict[str, Any]] = {
    "concat": {"_target_": "tedg.models.fusion.ConcatFusion"},
    "concat_matched": {"_target_": "tedg.models.fusion.MatchedConcatFusion"},
    "concat_tokens": {"_target_": "tedg.models.fusion.ConcatTokensFusion"},
    "cross_attn": {"_target_": "tedg.models.fusion.CrossAttentionFusion", "gate": _GATE},
    "cross_attn_dense": {
        "_target_": "tedg.models.fusion.CrossAttentionFusion",
        "gate": {"_target_": "tedg.models.gate.NoGate"},
    },
}
CONFIG: dict[str, Any] = {
    "env": {"max_episode_steps": 500, "num_envs": 32},
    "vision": {"_target_": "tedg.models.vision.GlyphEncoder"},
    "logic": {"_target_": "tedg.models.logic.HypergraphEncoder"},
    "routing": {"_target_": None},
    "stage": {"name": "warmup", "routing": {"_target_": "tedg.models.routing.Softmax"}},
    "policy": {"num_experts": 4},
    "ppo": {"gamma": 0.995},
    "eval": {"games": 20, "first_seed": 500000},
    "plan": None,
}
CONTROLS = {"random": 8.0, "random_legal": 20.0, "script": 52.0}


def games(mean: float, number: int = 20, first: int = 500_000, spread: float = 10.0) -> tuple[Game, ...]:
    """Games whose mean score is exactly `mean`, as long as that is above half of `spread`."""
    offsets = spread * (np.arange(number) / max(number - 1, 1) - 0.5)
    return tuple(
        Game(first + n, float(mean + offset), float(mean + offset), 400 + n, 1 + n % 3, "death")
        for n, offset in enumerate(offsets)
    )


def record(fusion: str, seed: int, score: float, plan: Any = None, **changes: Any) -> RunRecord:
    """A finished and healthy run; `changes` are fields of a RunRecord."""
    config = copy.deepcopy(CONFIG) | {"fusion": copy.deepcopy(FUSIONS[fusion]), "seed": seed, "plan": plan}
    config["name"] = f"{fusion}-s{seed}"
    controls = tuple(Evaluation(player, "", "", 500, None, games(mean)) for player, mean in CONTROLS.items())
    made = RunRecord(
        run_id=f"{hashlib.sha256(f'{fusion} {seed}'.encode()).hexdigest()[:10]}",
        name=config["name"],
        seed=seed,
        status="finished",
        parent=None,
        code="c0de",
        training_code="7ea1",
        options={"fusion": fusion, "stage": "warmup"},
        config=config,
        budget={"env_steps": 1_000_000},
        env_steps=1_000_000,
        total_env_steps=1_000_000,
        curve=Curve((10_000, 500_000, 1_000_000), (10.0, score / 2, score), (0.0, 1.0, 2.0)),
        evaluations=(Evaluation("policy", "last", "sample", 500, "warmup", games(score)), *controls),
        liveness={**ALIVE, **(ATTENTION if fusion.startswith("cross") else {})},
        max_log_ratio=1e-7,
        parameters={"total": 542_241 if fusion.startswith("cross") else 1_087_537},
        flops=1_000_000,
        seconds=1800.0,
        device="cpu",
        precision="float32",
        learns=None,
    )
    return dataclasses.replace(made, **changes)


def arm(fusion: str, scores: Sequence[float], **changes: Any) -> list[RunRecord]:
    """Runs of seeds 0, 1, ..., one for each score."""
    return [record(fusion, seed, score, **changes) for seed, score in enumerate(scores)]


def write(folder: Path, records: Sequence[RunRecord]) -> None:
    """A directory with runs."""
    for one in records:
        place = folder / f"{one.name}-{one.run_id}"
        place.mkdir(parents=True, exist_ok=True)
        write_record(place, one)
        (place / "result.json").write_text(json.dumps({"run_id": one.run_id, "status": one.status}))
        (place / "config.yaml").write_text(json.dumps(one.config))
