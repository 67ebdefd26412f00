"""A random number for every step of every game, for policies that are random in their forward pass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tedg.envs.compiled import kernel, kernel_part

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's constants (Steele, Lea and Flood 2014)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_Ints = npt.NDArray[np.int64]


@kernel
def step_noise(seeds: _Ints, steps: _Ints, rows: _Ints, noise: _Ints) -> None:
    """Fill the `rows` of `noise` [B] from each game's seed and step, so a game replayed has the same ones."""
    for row in rows:
        start = _mixed(np.uint64(seeds[row]))
        noise[row] = np.int64(_mixed(start + np.uint64(steps[row]) * _GOLDEN))


@kernel_part
def _mixed(word: np.uint64) -> np.uint64:
    word = (word ^ (word >> np.uint64(30))) * _FIRST
    word = (word ^ (word >> np.uint64(27))) * _SECOND
    return word ^ (word >> np.uint64(31))
