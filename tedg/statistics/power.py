"""What a study of n pairs can detect, and how many pairs a difference takes.

For normal differences. Effects are d_z, the mean difference in units of the standard deviation of
differences. The t test's power (statsmodels) stands for the sign-flip test's where n is large; for few pairs,
of whose few p-values the level leaves one or two, it promises too much (0.80 instead of 0.73 for 6 pairs), so
there the test itself is simulated, as the e-process is. Simulations draw the same numbers every time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.optimize import bisect
from statsmodels.stats.power import TTestPower

from tedg.statistics import anytime, sign_flip
from tedg.statistics.pairs import Floats

POWER = 0.8
MOST_PAIRS = 1000  # a study of more is out of reach, and is not counted out
_FEW_PAIRS = 12
_STUDIES = 2000
_LARGEST = 50.0  # d_z; a level that even this cannot reach is out of reach


def fixed_power(effect: float, n: int, level: float) -> float:
    """The chance that the two-sided sign-flip test of n pairs is significant at `level`."""
    real = sign_flip.attainable(n, level)
    if real == 0 or n < 2:
        return 0.0
    if n > _FEW_PAIRS:
        return float(TTestPower().power(effect, n, real))
    d = np.random.default_rng(0).standard_normal((_STUDIES, n)) + effect
    signs = 1.0 - 2.0 * (np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1)  # the other half mirrors these
    reached = np.abs(d @ signs.T) >= np.abs(d.sum(axis=1, keepdims=True)) - 1e-9
    return float((reached.mean(axis=1) <= real).mean())


def anytime_power(effect: float, n: int, level: float) -> float:
    """The chance that the e-process has decided within n pairs."""
    return float(_decided(effect, n, level)[-1])


@cache  # the same for all contrasts of a family
def minimal_effect(n: int, level: float, *, at_any_time: bool = False, power: float = POWER) -> float:
    """The d_z that n pairs detect at `level` with `power`; infinite where no effect can be detected."""
    chance: Callable[[float, int, float], float] = anytime_power if at_any_time else fixed_power
    if n < sign_flip.seeds_to_decide(1, level) or chance(_LARGEST, n, level) < power:
        return math.inf
    if not at_any_time and n > _FEW_PAIRS:
        real = sign_flip.attainable(n, level)
        return float(TTestPower().solve_power(nobs=n, alpha=real, power=power))
    return float(bisect(lambda effect: chance(effect, n, level) - power, 0, _LARGEST, xtol=1e-3))


@cache
def pairs_needed(
    effect: float, level: float, *, at_any_time: bool = False, power: float = POWER
) -> int | None:
    """The least number of pairs that detects `effect` (d_z) at `level`; None for more than MOST_PAIRS."""
    n = sign_flip.seeds_to_decide(1, level)
    if not math.isfinite(effect):
        return n
    if fixed_power(effect, MOST_PAIRS, level) < power:
        return None
    while fixed_power(effect, n, level) < power:
        n += 1
    if not at_any_time:
        return n
    length = 2 * n + 8
    while length < 2 * MOST_PAIRS:
        reached = _decided(effect, min(length, MOST_PAIRS), level) >= power
        if reached.any():
            return int(reached.argmax()) + 1
        length *= 2
    return None


def _decided(effect: float, n: int, level: float) -> Floats:
    """The share of simulated studies that the e-process has decided by each pair, [n]."""
    d = np.random.default_rng(0).standard_normal((_STUDIES, n)) + effect
    both = np.logaddexp(anytime.log_process(d), anytime.log_process(-d)) - np.log(2)
    return np.asarray((np.maximum.accumulate(both, axis=1) >= -np.log(level)).mean(axis=0))
