"""Random numbers for many games at once, each game's from its own seed."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tedg.envs.noise import GOLDEN, mixed, step_noise


class Draws:
    """Random numbers of n games; a game's depend on its seed, its turn, and how many were drawn before.

    They are computed for all games in one array. A generator object per game and episode would cost more
    than an episode of one step.
    """

    def __init__(self, seeds: npt.NDArray[np.int64], turns: npt.NDArray[np.int64]) -> None:
        """`seeds` and `turns` [n] are not negative."""
        self._start = step_noise(seeds, turns).view(np.uint64)
        self._drawn = 0

    def uniform(self, *shape: int) -> npt.NDArray[np.float64]:
        """[n, *shape] in [0, 1)."""
        count = math.prod(shape)
        place = np.arange(self._drawn + 1, self._drawn + count + 1, dtype=np.uint64)
        self._drawn += count
        words = mixed(self._start[:, None] + place * GOLDEN)
        return ((words >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(-1, *shape)

    def integers(self, high: int, *shape: int) -> npt.NDArray[np.int64]:
        """[n, *shape] in [0, high)."""
        return (self.uniform(*shape) * high).astype(np.int64)
