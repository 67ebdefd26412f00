"""A/A: a variant against itself, which must hardly ever be better or worse than itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from tedg.statistics.pairs import Floats, Pairs
from tedg.statistics.verdict import Contrast, Rules, Verdict, judge


@dataclass(frozen=True)
class FalsePositives:
    """How many of `studies` found a difference that is not there; the limits are Clopper and Pearson's."""

    found: int
    studies: int
    rate: float
    low: float
    high: float
    level: float


def limits(found: int, studies: int, level: float = 0.95) -> FalsePositives:
    """A count as a rate with its two-sided exact limits."""
    interval = stats.binomtest(found, studies).proportion_ci(level, method="exact")
    return FalsePositives(found, studies, found / studies, float(interval.low), float(interval.high), level)


def resplit(
    first: Floats,
    second: Floats,
    rules: Rules,
    *,
    times: int = 10_000,
    pairs: int | None = None,
    seed: int = 0,
) -> FalsePositives:
    """Split the runs of one variant into two lists again and again, and judge them like two variants.

    `first` and `second` are what each run scores when it stands in the first or in the second list, [runs]:
    the same numbers where both arms are treated alike. They are [runs, k] where one run gives k pairs, as
    games do when they are mistaken for the unit. Each list has `pairs` runs, half of all unless given. The
    n-th of one is paired with the n-th of the other in the order drawn, so that every sign is a fair coin for
    these very runs; in the order of seeds the rate would hang on which runs they happen to be (14 % for one
    of sixteen sets of twenty). The limits are those of these runs, which all splits share, and not of
    the variant. Raises ValueError for too few runs.
    """
    runs = len(first)
    size = runs // 2 if pairs is None else pairs
    if first.shape != second.shape or not 1 <= size <= runs // 2:
        raise ValueError(f"{runs} runs cannot be split into two lists of {size}")
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(times):
        drawn = rng.permutation(runs)
        baseline = first[drawn[:size]].reshape(-1)
        variant = second[drawn[size : 2 * size]].reshape(-1)
        contrast = Contrast("second", "first", Pairs(tuple(range(len(baseline))), baseline, variant))
        found += judge([contrast], rules)[0].verdict in (Verdict.BETTER, Verdict.WORSE)
    return limits(found, times)
