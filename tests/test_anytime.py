"""The e-process: a fair game whatever the magnitudes are, so that it may be looked at after every pair."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tedg.statistics import anytime

SIGNS = np.array(list(itertools.product((-1.0, 1.0), repeat=10)))  # [1024, 10]
MAGNITUDES = {
    "equal": np.ones(10),
    "growing": 2.0 ** np.arange(10),
    "falling": 2.0 ** -np.arange(10),
    "some zero": np.array([0, 0, 1, 2, 0, 3, 1, 0, 5, 4], float),
    "drawn": np.random.default_rng(0).lognormal(0, 1, 10),
}


@pytest.mark.parametrize("size", MAGNITUDES.values(), ids=MAGNITUDES)
def test_over_all_signs_it_is_a_martingale(size):
    e = np.exp(anytime.log_process(SIGNS * size))
    # Given the signs so far, the mean over the next one is what the process is now; at first it is 1.
    for known in range(10):
        groups = e[:, known].reshape(2**known, -1).mean(axis=1)
        now = np.ones(1) if known == 0 else e[:: 2 ** (10 - known), known - 1]
        assert groups == pytest.approx(now)


@pytest.mark.parametrize("size", MAGNITUDES.values(), ids=MAGNITUDES)
def test_it_rarely_ever_decides_without_a_difference(size):
    decided = [anytime.two_sided(signs * size).p <= 0.05 for signs in SIGNS]
    assert np.mean(decided) <= 0.05


def test_what_comes_later_changes_nothing_that_was():
    d = np.random.default_rng(1).normal(1, 1, 20)
    assert anytime.log_process(d)[:12] == pytest.approx(anytime.log_process(d[:12]))
    p = [anytime.two_sided(d[:n]).p for n in range(21)]
    assert p == sorted(p, reverse=True)
    assert p[0] == 1


def test_one_side_is_no_better_than_fair_about_any_point_below_zero():
    for centre, size in itertools.product((-0.1, -1.0, -5.0), MAGNITUDES.values()):
        e = np.exp(anytime.log_process(centre + SIGNS * size))
        assert (e.mean(axis=0) <= 1 + 1e-12).all()


def test_by_hand():
    # One pair: its lambda d is each of the rates, with the sign of d.
    up = np.mean([np.exp(rate) / np.cosh(rate) for rate in anytime.RATES])
    assert np.exp(anytime.log_process(np.array([7.0]))[0]) == pytest.approx(up)
    assert anytime.one_sided(np.array([7.0])) == pytest.approx(1 / up)
    # Both sides share one stake: exp(x) / cosh(x) and exp(-x) / cosh(x) have mean 1.
    assert anytime.two_sided(np.array([7.0])).p == pytest.approx(1)


def test_the_scale_does_not_matter_and_the_sign_is_that_of_the_side():
    d = np.random.default_rng(2).normal(1, 1, 20)
    assert anytime.two_sided(1000 * d).p == pytest.approx(anytime.two_sided(d).p)
    assert (anytime.two_sided(d).sign, anytime.two_sided(-d).sign) == (1, -1)


def test_it_takes_more_than_five_pairs():
    assert anytime.two_sided(np.array([1.0, 10, 100, 1000, 10000])).p > 0.05
    assert anytime.two_sided(np.ones(7)).p <= 0.05
    assert anytime.two_sided(np.zeros(20)).p == 1
