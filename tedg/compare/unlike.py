"""What forbids a verdict on two arms though all their runs are there: they were not treated alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from tedg.compare.find import few
from tedg.compare.scores import Measure, seeds
from tedg.store.record import RunRecord

RunPair = tuple[RunRecord, RunRecord]  # baseline, variant


def unlike(
    runs: Sequence[RunPair], measure: Measure, by: str, allow: Collection[str], place: str
) -> Iterator[str]:
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
    played = [seeds(games) for pair in runs for run in pair if (games := measure.games(run)) is not None]
    if len(set(played)) > 1:
        lists = [f"{len(one)} games from seed {one[0]} in {n} runs" for one, n in Counter(played).items()]
        yield (
            f"the runs played different games ({few(lists)}); to play what is missing: "
            f"python -m tedg.evaluate {place}"
        )
    if len(caps := {measure.cap_of(run) for pair in runs for run in pair}) > 1:
        yield f"the games end after {' and '.join(f'{cap:,}' for cap in sorted(caps))} steps; --cap names one"


def mixed_code(runs: Sequence[RunRecord]) -> str | None:
    """A sentence where the runs of a study, though alike in every pair, are of several versions."""
    versions = Counter(run.training_code[:10] for run in runs)
    if len(versions) == 1:
        return None
    counts = ", ".join(f"{number} runs of {code}" for code, number in versions.most_common())
    return f"the code that training depends on changed during the study: {counts}"
