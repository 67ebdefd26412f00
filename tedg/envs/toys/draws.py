"""Random numbers for many games at once, each game's from its own seed."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Draws:
    """Random numbers of n games; a game's depend on its seed, its turn, and how many were drawn before.

    They come from SplitMix64 (Steele, Lea and Flood 2014), which is computed for all games in one array. A
    generator object per game and episode would cost more than an episode of one step.
    """

    def __init__(self, seeds: npt.NDArray[np.int64], turns: npt.NDArray[np.int64]) -> None:
        """`seeds` and `turns` [n] are not negative."""
        self._start = _mixed(_mixed(seeds.astype(np.uint64)) + turns.astype(np.uint64) * _GOLDEN)
        self._drawn = 0

    def uniform(self, *shape: int) -> npt.NDArray[np.float64]:
        """[n, *shape] in [0, 1)."""
        count = math.prod(shape)
        place = np.arange(self._drawn + 1, self._drawn + count + 1, dtype=np.uint64)
        self._drawn += count
        words = _mixed(self._start[:, None] + place * _GOLDEN)
        return ((words >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(-1, *shape)

    def integers(self, high: int, *shape: int) -> npt.NDArray[np.int64]:
        """[n, *shape] in [0, high)."""
        return (self.uniform(*shape) * high).astype(np.int64)


def _mixed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
