"""Where stages begin and end within a run."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from tedg.report.material import Material
from tedg.store.record import RunRecord


def borders(material: Material) -> tuple[tuple[float, str], ...]:
    """The env step at which each stage begins and its name, where that is the same in all runs; else none."""
    every = {run.training.stages for runs in material.arms.values() for run in runs if run.training.stages}
    (stages,) = every if len(every) == 1 else ((),)
    return tuple((float(start), name) for name, start in stages) if len(stages) > 1 else ()


def stage_ends(runs: Sequence[RunRecord]) -> dict[str, list[tuple[RunRecord, int]]]:
    """For each stage the runs that went through it, each with its last point of training there."""
    found: dict[str, list[tuple[RunRecord, int]]] = {}
    for run in runs:
        steps = run.training.env_steps
        starts = [start for _, start in run.training.stages]
        for (name, start), end in zip(run.training.stages, [*starts[1:], run.env_steps + 1], strict=False):
            last = bisect_left(steps, end) - 1
            if last >= 0 and steps[last] >= start:
                found.setdefault(name, []).append((run, last))
    return found
