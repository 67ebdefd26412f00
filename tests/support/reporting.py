"""Made-up studies with all that a report shows, and the report of a study on the disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.comparing import BASE, PLAN, SPREAD
from support.records import record, write
from tedg.report.__main__ import run
from tedg.statistics import aggregates, power
from tedg.store.record import EPISODE_FIGURES, Curve, RunRecord, Training

EVIL = "</script><script>alert(1)</script>\" ' $x^$ \\input{x} a_b & 50% #1 ~ | `c` *d* [e](js:f) \u202eg"
_POINTS = 100
_STEPS = tuple(range(10_000, 1_000_001, 10_000))
STAGES = (("warmup", 0), ("transition", 300_000), ("finetune", 700_000))


def whole(fusion: str, seed: int, score: float, plan: Any = PLAN, **changes: Any) -> RunRecord:
    """A run whose record has everything."""
    rng = np.random.default_rng([seed, len(fusion)])
    done = np.linspace(0, 1, _POINTS)

    def noisy(heights: Any, by: float) -> tuple[float, ...]:
        return tuple(map(float, np.asarray(heights) + by * rng.standard_normal(_POINTS)))

    attends = fusion.startswith("cross")
    steep = 5 if attends else 3
    usage = np.array([0.25 + (place - 0.25) * done for place in (0.4, 0.3, 0.2, 0.1)])
    usage = np.abs(usage + 0.02 * rng.standard_normal((4, 1)) * done)
    usage /= usage.sum(axis=0)
    spread = -(usage * np.log(usage)).sum(axis=0)
    figures = {
        **{f"router/usage_{k}": tuple(map(float, row)) for k, row in enumerate(usage)},
        "router/entropy": noisy(spread - 0.5 * done, 0.01),
        "router/usage_entropy": noisy(spread, 0.005),
        "router/specialisation": noisy(0.5 * done, 0.01),
    }
    if attends:
        figures["attention/sparsity"] = noisy(0.75 + 0.1 * done, 0.005)
        figures["attention/effective_keys"] = noisy(30 - 12 * done, 0.5)
    first = {
        span: dict(
            zip(
                EPISODE_FIGURES, (score / 4 * n, score * n, score / 4 * n, score * n, 0.7, count), strict=True
            )
        )
        for span, n, count in (("100", 1.0, 100), ("300", 1.5, 300), ("all", 3.0, 4000))
    }
    own = {
        "curve": Curve(
            tuple(range(2_500, 1_000_001, 2_500)),
            tuple(
                map(float, score * np.tanh(steep * np.linspace(0.01, 1, 400)) + 3 * rng.standard_normal(400))
            ),
            tuple(map(float, score * np.tanh(steep * np.linspace(0.01, 1, 400)) - 2)),
        ),
        "training": Training(_STEPS, figures, STAGES),
        "first_episodes": first,
        "modality": _modality(rng, attends),
    }
    return record(fusion, seed, score, plan, **(own | changes))


def _modality(rng: np.random.Generator, attends: bool) -> dict[str, float | None]:
    """As `tedg.learn` measures it; None where a policy has no such part."""
    known = {
        "states": 5000.0,
        "alone": 12.0,
        "kl/vision": 0.3,
        "kl/logic": 0.1,
        "share/vision": 0.75,
        "value/vision": 2.0,
        "value/logic": 0.5,
        "router/switch_rate": 0.1,
        "router/switch_chance": 0.6,
    }
    if attends:
        known |= {"deletion/top": 0.2, "deletion/random": 0.02, "deletion/keys": 8.0}
    noisy = {key: value * (1 + 0.1 * float(rng.standard_normal())) for key, value in known.items()}
    return {"deletion/top": None, "deletion/random": None} | noisy


def rich(
    plan: Any = PLAN, more: float = 5, fusions: Sequence[str] = ("concat", "cross_attn")
) -> list[RunRecord]:
    """Ten pairs or more of arms, of which each scores `more` than the one before."""
    return [
        whole(fusion, seed, float(BASE[seed] + n * (SPREAD[(seed + n) % 10] + more)), plan)
        for n, fusion in enumerate(fusions)
        for seed in range(10)
    ]


def study(root: Path, records: Sequence[RunRecord], name: str = "mine", **content: Any) -> Path:
    """A study's folder below `root`/multirun."""
    folder = root / "multirun" / name
    write(folder, records)
    if content:
        (folder / "study.json").write_text(json.dumps({"commands": [], "cells": {}} | content))
    return folder


def reported(root: Path, *arguments: str, name: str = "mine") -> Path:
    """The report of a study below `root`/multirun, which must be made."""
    places = ["--root", f"{root}/multirun", "--experiments", f"{root}/experiments"]
    assert run([name, *places, *arguments]) == 0
    return root / "multirun" / name / "report"


def hostile(root: Path) -> Path:
    """The report of a study in which all text that others choose is hostile."""
    names = {"concat": f"A $x^$ {EVIL}", "cross_attn": f"B $x^$ {EVIL}"}  # figures cut names off
    plan = PLAN | {"question": EVIL, "by": "env.task", "primary": [[names["cross_attn"], names["concat"]]]}
    records = [
        replace(
            one,
            name=f"{one.options['fusion']}-s{one.seed}",
            device=EVIL,
            config=one.config | {"env": one.config["env"] | {"task": names[one.options["fusion"]]}},
            liveness=one.liveness | {EVIL: 1.0},
            modality=one.modality | {EVIL: 1.0},
        )
        for one in rich(plan)
    ]
    cell = {"label": EVIL, "state": "failed", "reason": EVIL, "run_id": "0", "directory": "nowhere"}
    name = "st'\"<script>alert(1)<_script>$&"
    folder = study(root, records, name, commands=[EVIL], cells={"failed-0": cell})
    for directory in folder.glob("*-s*"):
        session = {"host": EVIL, "versions": {EVIL: EVIL}, "python": EVIL, "environment": {"locked": True}}
        (directory / "provenance.json").write_text(json.dumps({"run_id": "x", "sessions": [session]}))
    told = root / "told.json"
    told.write_text(json.dumps({"source": EVIL, "reported": {EVIL: {"mean_return": 12.5}}}))
    return quickly_reported(root, "--reported", str(told), name=name)


def quickly_reported(root: Path, *arguments: str, name: str = "mine") -> Path:
    """As `reported`; what decides nothing is reckoned with few draws, as by the fixture `quick_figures`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aggregates, "RESAMPLES", 100)
        patch.setattr(power, "_FEW_PAIRS", 1)
        made = reported(root, *arguments, name=name)
    for cached in (power.minimal_effect, power.pairs_needed):
        cached.cache_clear()
    return made
