"""Numbers that look random and follow from others: SplitMix64 (Steele, Lea and Flood 2014), many at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # between two places of a sequence; see `mixed`
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def step_noise(seeds: npt.NDArray[np.int64], steps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """A random number [n] for a step of each of n games, so a game that is replayed has the same ones."""
    return mixed(mixed(seeds.astype(np.uint64)) + steps.astype(np.uint64) * GOLDEN).view(np.int64)


def mixed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's output of words of any shape; start + 1 GOLDEN, start + 2 GOLDEN, ... make a sequence."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))
