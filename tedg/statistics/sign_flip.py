"""The sign-flip test of paired differences, and how a family of such tests is corrected.

If both arms draw their scores from one distribution, swapping the two scores of a pair changes nothing, so
every sign of a difference is a fair coin: the test is exact for any distribution.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tedg.statistics.pairs import Floats

MOST_EXACT = 44  # two halves of 2^22 sums; more pairs than this are drawn
_DRAWN = 100_000
_TIE = 1e-10  # sums that differ by less than this share of the sum of magnitudes are equal


def two_sided(d: Floats) -> float:
    """p = 2^-n #{signs s : |mean(s d)| >= |mean d|}; ties within rounding count. Differences of 0 only: 1."""
    threshold = abs(float(d.sum())) - _TIE * float(np.abs(d).sum())
    return 1.0 if threshold <= 0 else min(1.0, 2 * _share_reaching(d, threshold))


def one_sided(d: Floats) -> float:
    """p = 2^-n #{signs s : mean(s d) >= mean d}, small where the differences are positive.

    Exact for differences symmetric about 0, and never too small for those symmetric about less than 0,
    because p falls when all differences rise by the same amount.
    """
    return _share_reaching(d, float(d.sum()) - _TIE * float(np.abs(d).sum()))


def smallest_p(n: int) -> float:
    """The least two-sided p that n pairs can give: all differences have one sign."""
    return min(1.0, 2.0 ** (1 - n))


def seeds_to_decide(contrasts: int, alpha: float) -> int:
    """The least number of pairs with which one of `contrasts` tests can be significant after Holm's
    correction.

    With fewer than this a study cannot decide anything whatever its scores are. It also bounds `anytime`
    from below, whose e is at most 2^(n-1).
    """
    n = 1
    while smallest_p(n) > alpha / contrasts:
        n += 1
    return n


def attainable(n: int, level: float) -> float:
    """The largest p of n pairs that does not exceed `level`, the real level of the test; 0 if none."""
    steps = 2.0 ** min(n - 1, 60)
    return float(np.floor(level * steps) / steps)


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted by Holm's step-down procedure: valid however the tests depend on each other.

    The tests hold it to statsmodels' `multipletests`, which collects garbage at every call: a tenth of a
    second, and calibration asks a hundred thousand times.
    """
    if not p:
        return []
    values = np.asarray(p, float)
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(steps, 1)
    return [float(value) for value in adjusted]


def _share_reaching(d: Floats, threshold: float) -> float:
    """The share of all 2^n choices of signs whose sum of signed differences is at least `threshold`.

    A sum over all pairs is one over the first half plus one over the second: 2^(n/2) sums of each are sorted
    and matched (Horowitz and Sahni 1974), which counts all 2^n without listing them.
    """
    n = len(d)
    if n > MOST_EXACT:
        return _drawn_share(d, threshold)
    left, right = np.sort(_sums(d[: n // 2])), np.sort(_sums(d[n // 2 :]))
    below = int(np.searchsorted(right, threshold - left, side="left").sum())
    return (2**n - below) / 2**n


def _sums(d: Floats) -> Floats:
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate((sums - value, sums + value))
    return sums


def _drawn_share(d: Floats, threshold: float) -> float:
    """The same from random signs and the observed ones, so that p stays valid (Phipson and Smyth 2010)."""
    rng = np.random.default_rng(0)
    reached = 0
    for _ in range(10):
        signs = rng.integers(0, 2, (_DRAWN // 10, len(d)), dtype=np.int8)
        reached += int((2 * (signs @ d) - d.sum() >= threshold).sum())
    return (reached + 1) / (_DRAWN + 1)
