"""What forbids a verdict on two arms though all their runs are there: they were not treated alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from tedg.compare.find import few
from tedg.compare.scores import Measure, seeds
from tedg.store.record import RunRecord

RunPair = tuple[RunRecord, RunRecord]  # baseline, variant


def unlike(runs: Sequence[RunPair], measure: Measure, by: str, allow: Collection[str]) -> Iterator[str]:
    """One sentence for each thing that the runs of a pair, or their games, do not share."""
    conditions: tuple[tuple[str, str, Callable[[RunRecord], Any]], ...] = (
        ("code", "different code that training depends on", lambda run: run.training_code[:10]),
        ("device", "different devices", lambda run: run.device),
        ("precision", "different precisions", lambda run: run.precision),
    )
    for name, what, of in conditions:
        pairs = [(of(one), of(other), one.seed) for one, other in runs if of(one) != of(other)]
        if pairs and name not in allow and name != by:
            first, second, _ = pairs[0]
            yield (
                f"{len(pairs)} of {len(runs)} pairs are of {what} ({first} and {second}, seed"
                f"{'s' * (len(pairs) > 1)} {few([str(seed) for *_, seed in pairs])}); a plan may allow it: "
                f"plan.allow=[{name}]"
            )
    before = [(_before(one), _before(other), one.seed) for one, other in runs]
    if unequal := [pair for pair in before if pair[0] != pair[1]]:
        first, second, seed = unequal[0]
        yield (
            f"{len(unequal)} of {len(runs)} pairs began with weights that had been trained for different "
            f"numbers of env steps ({first} and {second}, seed {seed})"
        )
    played = _played(runs, measure)
    if len(set(played)) > 1:
        lists = [
            f"{len(one)} games from seed {one[0]} in {n} run{'s' * (n > 1)}"
            for one, n in Counter(played).items()
        ]
        yield f"the runs played different games ({few(lists)})"
    if len(caps := {measure.cap_of(run) for pair in runs for run in pair}) > 1:
        yield f"the games end after {' and '.join(f'{cap:,}' for cap in sorted(caps))} steps; --cap names one"


def to_play(runs: Sequence[RunPair], measure: Measure, place: str) -> Iterator[str]:
    """What plays the games that some runs have and others lack."""
    played = _played(runs, measure)
    if len(set(played)) > 1:
        wanted = sorted({seed for one in played for seed in one})
        firsts = [seed for seed in wanted if seed - 1 not in wanted]
        lasts = [seed for seed in wanted if seed + 1 not in wanted]
        for first, last in zip(firsts, lasts, strict=True):
            games = f"--games {last - first + 1} --first-seed {first}"
            yield measure.remedy(runs[0][0], place, None, games)


def mixed_code(runs: Sequence[RunRecord]) -> str | None:
    """A sentence where the runs of a study, though alike in every pair, are of several versions."""
    versions = Counter(run.training_code[:10] for run in runs)
    if len(versions) == 1:
        return None
    counts = ", ".join(f"{number} runs of {code}" for code, number in versions.most_common())
    return f"the code that training depends on changed during the study: {counts}"


def _played(runs: Sequence[RunPair], measure: Measure) -> list[tuple[int, ...]]:
    return [seeds(games) for pair in runs for run in pair if (games := measure.games(run)) is not None]


def _before(run: RunRecord) -> str:
    """What the run's first weights had cost, in all stages before it."""
    if run.parent is None:
        return "0"
    return "unknown" if run.total_env_steps is None else f"{run.total_env_steps - run.env_steps:,}"
