"""What earlier versions put into their checkpoints, brought into today's form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from tedg.envs.digests import SCHEMA_2
from tedg.store.checkpoint import SCHEMA, Checkpoint
from tedg.store.torch_state import process_generators, rng_tensors

Warn = Callable[[str], None]


def migrated(saved: Checkpoint, warn: Warn) -> Checkpoint:
    """The checkpoint in the form of schema SCHEMA; `warn` is told what an earlier one did not hold."""
    while saved.schema < SCHEMA:
        saved = _STEPS[saved.schema](saved, warn)
    return saved


def _from_1(saved: Checkpoint, warn: Warn) -> Checkpoint:
    """Schema 1 held no running games, only how many every environment had begun."""
    warn(f"{saved.path.name} is of an earlier version, which kept no running games: the next ones begin")
    run = dict(saved.state["run"])
    positions = [{"episode": begun, "actions": "", "digest": None} for begun in run.pop("games_started")]
    # It kept two generators only; the others go on as they are.
    rng, rng_state = rng_tensors(process_generators())
    return replace(
        saved,
        schema=2,
        tensors={
            **saved.tensors,
            "rng": {**saved.tensors["rng"], **rng},
            "collector": {"continues": torch.zeros(len(positions), dtype=torch.bool)},
        },
        state={**saved.state, "run": run, "rng": rng_state, "positions": positions},
    )


def _from_2(saved: Checkpoint, _: Warn) -> Checkpoint:
    """Schema 2 computed the digests of running games by a rule of its own, which is used for them again."""
    positions = [
        {**place, "digest": None if place["digest"] is None else SCHEMA_2 + place["digest"]}
        for place in saved.state["positions"]
    ]
    return replace(saved, schema=3, state={**saved.state, "positions": positions})


_STEPS = {1: _from_1, 2: _from_2}
