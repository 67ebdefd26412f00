"""Learning curves: as one number each, the mean height over the same env steps, and as a mean over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import stdtrit

from tedg.statistics.pairs import Floats

Curve = tuple[Floats, Floats]  # (env steps, ascending; heights)


@dataclass(frozen=True, eq=False)
class Areas:
    """Mean heights [curves] from env step `first` to `last`; `cut` says which curves were longer."""

    values: Floats
    first: float
    last: float
    cut: tuple[bool, ...]


def areas(curves: Sequence[Curve]) -> Areas:
    """The area under each curve (trapezoids over env steps) divided by its width.

    A curve is (env steps, ascending; heights), both [points]. Curves that do not cover the same steps are cut
    to those that all cover, between points along the straight line: a longer run must not win by being
    longer. Raises ValueError where no such steps are left.
    """
    first, last = common(curves)
    return Areas(
        np.array([_mean_height(steps, heights, first, last) for steps, heights in curves]),
        first,
        last,
        tuple(bool(steps[0] < first or steps[-1] > last) for steps, _ in curves),
    )


@dataclass(frozen=True, eq=False)
class Band:
    """The mean over curves around each of `steps`, and its Student's t interval; nan limits for one curve.

    All are [bins]. An interval holds around its own step, not around all at once.
    """

    steps: Floats
    mean: Floats
    low: Floats
    high: Floats


def band(curves: Sequence[Curve], bins: int = 50, level: float = 0.95) -> Band:
    """Each curve's mean height in equal parts of the steps that all cover. Raises ValueError as `areas`."""
    first, last = common(curves)
    edges = np.linspace(first, last, bins + 1)
    heights = np.array([[_mean_height(*one, a, b) for a, b in pairwise(edges)] for one in curves])
    n, mean = len(heights), heights.mean(axis=0)
    half = np.full(bins, np.nan)
    if n > 1:
        half = stdtrit(n - 1, 0.5 + level / 2) * heights.std(axis=0, ddof=1) / np.sqrt(n)
    return Band((edges[1:] + edges[:-1]) / 2, mean, mean - half, mean + half)


def common(curves: Sequence[Curve]) -> tuple[float, float]:
    """The first and the last env step that all curves cover. Raises ValueError where there are none."""
    for steps, heights in curves:
        if steps.shape != heights.shape or len(steps) < 2 or (np.diff(steps) <= 0).any():
            raise ValueError("a curve needs two points or more, with ascending env steps")
    first = max(float(steps[0]) for steps, _ in curves)
    last = min(float(steps[-1]) for steps, _ in curves)
    if first >= last:
        raise ValueError(f"curves that begin at {first:,.0f} and end at {last:,.0f} have no steps in common")
    return first, last


def _mean_height(steps: Floats, heights: Floats, first: float, last: float) -> float:
    x = np.concatenate(([first], steps[(steps > first) & (steps < last)], [last]))
    return float(np.trapezoid(np.interp(x, steps, heights), x) / (last - first))
