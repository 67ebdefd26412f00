"""Did a figure change over a run? Comparisons of few, noisy, heavy-tailed values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special


@dataclass(frozen=True, slots=True)
class Trend:
    """The first third of a series against its last."""

    first: float  # median
    last: float  # median
    p_falls: float  # one-sided p-value of a rank-sum test (Mann & Whitney 1947) for a fall
    p_rises: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known of a set of games."""

    mean: float
    standard_error: float
    count: int

    @staticmethod
    def of(values: Sequence[float]) -> Sample | None:
        """The sample of single values; None for fewer than two, which have no error."""
        if len(values) < 2:
            return None
        return Sample(
            float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values))), len(values)
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of two means with its interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.1f} ({self.low:+.1f} to {self.high:+.1f})"


def last_third(values: Sequence[float]) -> list[float]:
    """The last third of a series, at least one value of it; empty for an empty one."""
    return list(values[-max(len(values) // 3, 1) :])


def trend(values: Sequence[float]) -> Trend | None:
    """How a series changed; None for fewer than three values.

    Medians and ranks, because single updates differ by orders of magnitude: one rare reward makes a value
    loss a hundred times the usual one, and would decide any comparison of means. Neighbouring updates are
    not independent, so a p-value is a yardstick here, not a promise.
    """
    third = len(values) // 3
    if third == 0:
        return None
    first, last = np.asarray(values[:third]), np.asarray(values[-third:])
    if np.ptp(np.concatenate([first, last])) == 0:
        return Trend(float(first[0]), float(last[0]), 1.0, 1.0)
    from scipy import stats  # takes a second of every start otherwise

    falls, rises = (float(stats.mannwhitneyu(first, last, alternative=a).pvalue) for a in ("greater", "less"))
    return Trend(float(np.median(first)), float(np.median(last)), falls, rises)


def difference(of: Sample, over: Sample, confidence: float) -> Difference:
    """The mean of one sample over that of the other, with Welch's t-interval (Welch 1947)."""
    mean = of.mean - over.mean
    squares = [sample.standard_error**2 for sample in (of, over)]
    error = math.sqrt(sum(squares))
    if error == 0:
        return Difference(mean, mean, mean)
    freedom = error**4 / sum(s**2 / (n.count - 1) for s, n in zip(squares, (of, over), strict=True))
    half = float(special.stdtrit(freedom, (1 + confidence) / 2)) * error
    return Difference(mean, mean - half, mean + half)


def first_and_last_games(
    episodes: Sequence[Mapping[str, Any]], steps: int, limit: int
) -> tuple[list[float], list[float]]:
    """Scores of the third of a run's games that began first and of the third that began last.

    `steps` is the env steps per environment, `limit` the longest game. Games are put in the order in which
    they began: those that end first are the short ones, whatever was learnt. For the same reason a game
    counts only if it began so early that even the longest one would have ended within the run.
    """
    clock: dict[int, int] = {}  # env steps of each environment so far
    began: list[tuple[int, float]] = []
    for row in episodes:
        start = clock.get(row["env"], 0)
        clock[row["env"]] = start + row["length"]
        if start + limit <= steps:
            began.append((start, row["score"]))
    scores = [score for _, score in sorted(began, key=lambda game: game[0])]
    third = len(scores) // 3
    return (scores[:third], scores[-third:]) if third else ([], [])
