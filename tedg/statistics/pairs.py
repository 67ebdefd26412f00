"""Two arms, paired by training seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """One score per training seed and arm. Raises ValueError for what is no list of finite pairs.

    `seeds` [n] are all different; `baseline` and `variant` are [n], in the order of `seeds`.
    """

    seeds: tuple[int, ...]
    baseline: Floats
    variant: Floats

    def __post_init__(self) -> None:
        if not self.baseline.shape == self.variant.shape == (len(self.seeds),):
            raise ValueError(
                f"{len(self.seeds)} seeds, but scores of shape {self.baseline.shape} and {self.variant.shape}"
            )
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"a seed is there twice: {self.seeds}")
        bad = ~(np.isfinite(self.baseline) & np.isfinite(self.variant))
        if bad.any():
            raise ValueError(f"the scores of seed {self.seeds[int(bad.argmax())]} are not finite")

    @property
    def difference(self) -> Floats:
        """Variant minus baseline, [n]."""
        return self.variant - self.baseline

    def prefix(self, planned: Sequence[int]) -> Pairs:
        """The pairs of the longest beginning of `planned` of which every seed has finished.

        What finishes late must not be left out because it is late, so a pair after a gap has to wait.
        """
        place = {seed: number for number, seed in enumerate(self.seeds)}
        first: list[int] = []
        for seed in planned:
            if seed not in place:
                break
            first.append(place[seed])
        return Pairs(tuple(self.seeds[n] for n in first), self.baseline[first], self.variant[first])


def join(baseline: Mapping[int, float], variant: Mapping[int, float]) -> Pairs:
    """The seeds that both arms have, in ascending order."""
    seeds = tuple(sorted(baseline.keys() & variant.keys()))
    return Pairs(
        seeds,
        np.array([baseline[seed] for seed in seeds], float),
        np.array([variant[seed] for seed in seeds], float),
    )


@dataclass(frozen=True)
class Difference:
    """The mean paired difference with its Student's t interval.

    `deviation` is the standard deviation of the differences. `rho` is the correlation of the two arms, which
    pairing lives on: the variance of a difference is 2 (1 - rho) times that of a score. `low` and `high` are
    infinite with fewer than two pairs, `rho` and `deviation` nan; `rho` is nan too where an arm is constant.
    """

    n: int
    mean: float
    low: float
    high: float
    level: float
    deviation: float
    rho: float


def mean_difference(pairs: Pairs, level: float = 0.95) -> Difference:
    """Mean, interval and correlation. Raises ValueError if there is no pair."""
    d, n = pairs.difference, len(pairs.seeds)
    if n == 0:
        raise ValueError("there is no pair of runs with the same seed")
    mean = float(d.mean())
    if n == 1:
        return Difference(n, mean, -np.inf, np.inf, level, np.nan, np.nan)
    deviation = float(d.std(ddof=1))
    half = float(stdtrit(n - 1, 0.5 + level / 2)) * deviation / np.sqrt(n)
    x, y = pairs.baseline - pairs.baseline.mean(), pairs.variant - pairs.variant.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    rho = float(x @ y / scale) if scale > 0 else np.nan
    return Difference(n, mean, mean - half, mean + half, level, deviation, rho)
