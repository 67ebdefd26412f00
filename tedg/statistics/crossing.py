"""Where the learning curves of two arms cross, with an interval over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from tedg.statistics.curves import Curve, common
from tedg.statistics.pairs import Floats

POINTS = 400
RESAMPLES = 2000


@dataclass(frozen=True)
class Crossing:
    """The variant is ahead `after` this env step, or before it; between `low` and `high` with this level."""

    step: float
    low: float
    high: float
    level: float
    after: bool


def crossing(baseline: Sequence[Curve], variant: Sequence[Curve], level: float = 0.95) -> Crossing | None:
    """Where the mean paired difference of two lists of curves changes its sign for good.

    That is where its sum over env steps is lowest, or highest: single points are noise, the sum is not. The
    interval is a percentile bootstrap over seeds. A plain one is too narrow with few seeds, as it is for
    their mean: it knows neither of n - 1 nor of Student's t. So the deviation of a resample's mean curve is
    widened by both (experiments/calibration has how often the interval holds the crossing). None where fewer
    than `level` of the resamples cross in the same direction, or with fewer than two seeds: then there is no
    crossing to speak of.
    """
    n = len(baseline)
    if n < 2:
        return None
    first, last = common([*baseline, *variant])
    steps = np.linspace(first, last, POINTS)
    d = np.array(
        [np.interp(steps, *two) - np.interp(steps, *one) for one, two in zip(baseline, variant, strict=True)]
    )
    own, after = _extreme(d.mean(axis=0)[None])
    if own[0] < 0:
        return None
    rng = np.random.default_rng(0)
    shares = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n
    wider = np.sqrt(n / (n - 1)) * stdtrit(n - 1, 0.5 + level / 2) / ndtri(0.5 + level / 2)
    places, directions = _extreme((1 / n + wider * (shares - 1 / n)) @ d)
    same = places[(places >= 0) & (directions == after[0])]
    if len(same) < level * RESAMPLES:
        return None
    low, high = np.quantile(steps[same], [(1 - level) / 2, (1 + level) / 2])
    return Crossing(float(steps[own[0]]), float(low), float(high), level, bool(after[0]))


def _extreme(d: Floats) -> tuple[np.ndarray, np.ndarray]:
    """For each row of differences [n, points]: (point of the crossing, -1 for none; whether it is a rise)."""
    sums = np.concatenate((np.zeros((len(d), 1)), np.cumsum(d, axis=1)), axis=1)
    last = sums[:, -1]
    fall, rise = sums.min(axis=1), sums.max(axis=1)
    # How far the sum goes beyond both of its ends: down and up again, or up and down again.
    down, up = np.minimum(0, last) - fall, rise - np.maximum(0, last)
    after = down > up
    place = np.where(after, sums.argmin(axis=1), sums.argmax(axis=1))
    return np.where(np.maximum(down, up) > 0, np.minimum(place, d.shape[1] - 1), -1), after
