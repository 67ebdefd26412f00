"""Paired differences, the sign-flip test, Holm's correction and power, by hand and against scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from tedg.statistics import equivalence, power, sign_flip
from tedg.statistics.pairs import Pairs, join, mean_difference


def test_sign_flip_by_hand():
    assert sign_flip.two_sided(np.array([1.0, 2.0, 3.0])) == 2 / 8
    assert sign_flip.one_sided(np.array([1.0, 2.0, 3.0])) == 1 / 8
    assert sign_flip.one_sided(np.array([-1.0, -2.0, -3.0])) == 1
    # Sums of four coins of 1: 4 once, 2 four times, 0 six times; at least 2 in size are 10 of 16.
    assert sign_flip.two_sided(np.array([1.0, 1.0, 1.0, -1.0])) == 10 / 16


def test_sums_that_differ_by_rounding_are_ties():
    assert 0.1 + 0.2 - 0.3 > 0
    assert sign_flip.two_sided(np.array([0.1, 0.2, -0.3])) == 1
    # 0.4 and 0.3 + 0.1: the pattern with both signs turned is as extreme as the observed one.
    d = np.array([0.3, 0.1, 0.4]) * np.array([1, 1, -1]) + 1e-17
    assert sign_flip.two_sided(d) == 1
    assert sign_flip.two_sided(np.zeros(6)) == 1


@pytest.mark.parametrize("n", [2, 5, 6, 9, 12])
@pytest.mark.parametrize("whole", [True, False])
def test_sign_flip_equals_scipy(n, whole):
    rng = np.random.default_rng(n)
    d = rng.normal(0.5, 1, n)
    d = np.round(2 * d) if whole else d
    for alternative, ours in (("two-sided", sign_flip.two_sided), ("greater", sign_flip.one_sided)):
        theirs = stats.permutation_test(
            (d,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative=alternative
        )
        assert ours(d) == pytest.approx(theirs.pvalue, abs=1e-15)


@pytest.mark.parametrize("n", [13, 16])
def test_two_halves_count_what_a_list_of_all_signs_counts(n):
    d = np.round(np.random.default_rng(n).normal(0.4, 1, n), 1)
    signs = np.array(list(itertools.product((-1, 1), repeat=n)))
    assert sign_flip.two_sided(d) == np.mean(np.abs(signs @ d) >= abs(d.sum()) - 1e-9)


@pytest.mark.parametrize(("n", "up"), [(40, 28), (41, 13)])
def test_many_pairs_are_counted_exactly(n, up):
    d = np.where(np.arange(n) < up, 2.5, -2.5)
    assert sign_flip.two_sided(d) == pytest.approx(stats.binomtest(up, n).pvalue, rel=1e-12)


def test_more_pairs_than_can_be_counted_are_drawn():
    d = np.where(np.arange(60) < 38, 1.0, -1.0)
    assert sign_flip.two_sided(d) == pytest.approx(stats.binomtest(38, 60).pvalue, rel=0.1)
    assert 0 < sign_flip.two_sided(np.ones(60)) < 1e-4


def test_holm_equals_statsmodels():
    assert sign_flip.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert sign_flip.holm([]) == []
    rng = np.random.default_rng(0)
    p = np.round(rng.random(9) ** 2, 1)
    assert sign_flip.holm(list(p)) == pytest.approx(multipletests(p, method="holm")[1])


def test_the_seeds_that_a_study_needs_to_decide_anything():
    assert [sign_flip.smallest_p(n) for n in (5, 6)] == [0.0625, 0.03125]
    assert [sign_flip.seeds_to_decide(m, 0.05) for m in (1, 2, 5, 20)] == [6, 7, 8, 10]
    assert sign_flip.attainable(6, 0.05) == 1 / 32
    assert sign_flip.attainable(5, 0.05) == 0
    assert sign_flip.attainable(2000, 0.05) == pytest.approx(0.05)


def test_mean_and_interval_equal_scipys():
    rng = np.random.default_rng(3)
    x = rng.normal(50, 10, 9)
    y = x / 2 + rng.normal(30, 5, 9)
    found = mean_difference(Pairs(tuple(range(9)), x, y), 0.9)
    theirs = stats.ttest_rel(y, x).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert found.rho == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert found.mean == pytest.approx((y - x).mean())
    assert found.deviation == pytest.approx((y - x).std(ddof=1))


def test_one_pair_has_no_interval():
    found = mean_difference(Pairs((1,), np.array([1.0]), np.array([3.0])))
    assert (found.mean, found.low, found.high) == (2, -math.inf, math.inf)
    with pytest.raises(ValueError, match="no pair"):
        mean_difference(join({1: 1.0}, {2: 1.0}))


def test_pairs_are_joined_by_seed_and_refused_where_they_are_none():
    pairs = join({3: 30.0, 1: 10.0, 2: 20.0}, {1: 11.0, 3: 33.0, 4: 0.0})
    assert pairs.seeds == (1, 3)
    assert pairs.difference.tolist() == [1, 3]
    with pytest.raises(ValueError, match="seed 3 are not finite"):
        join({1: 1.0, 3: math.nan}, {1: 1.0, 3: 1.0})
    with pytest.raises(ValueError, match="twice"):
        Pairs((1, 1), np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match="shape"):
        Pairs((1, 2), np.zeros(2), np.zeros(3))


def test_pairs_enter_in_the_plans_order_up_to_the_first_gap():
    pairs = join(dict.fromkeys((0, 1, 2, 4), 0.0), {0: 0.0, 1: 1.0, 2: 2.0, 4: 4.0})
    assert pairs.prefix((2, 1, 0, 3, 4)).difference.tolist() == [2, 1, 0]
    assert pairs.prefix((3, 0)).seeds == ()


def test_equivalence_is_tost_and_exact_as_well():
    rng = np.random.default_rng(5)
    for n, delta in ((6, 1.0), (8, 1.0), (11, 0.7)):
        d = rng.normal(0.1, 1, n)
        t_test = ttost_paired(d, np.zeros(n), -delta, delta)[0]
        flips = max(
            stats.permutation_test(
                (x,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="greater"
            ).pvalue
            for x in (delta - d, delta + d)
        )
        assert equivalence.fixed(d, delta) == pytest.approx(max(t_test, flips))
    assert equivalence.fixed(np.full(10, 0.3), 0.2) == 1
    assert equivalence.fixed(np.full(10, 0.1), 0.2) == 2**-10
    assert equivalence.fixed(np.array([0.0]), 1.0) == 1


def test_power_of_few_pairs_is_the_sign_flip_tests_own():
    # Six pairs decide if and only if all have one sign.
    for effect in (0.5, 1.0, 1.7):
        exact = stats.norm.cdf(effect) ** 6 + stats.norm.cdf(-effect) ** 6
        assert power.fixed_power(effect, 6, 0.05) == pytest.approx(exact, abs=0.03)
    assert power.minimal_effect(6, 0.05) == pytest.approx(stats.norm.ppf(0.8 ** (1 / 6)), rel=0.03)


def test_what_a_study_can_see():
    assert power.minimal_effect(5, 0.05) == math.inf
    assert power.minimal_effect(10, 0.05) == pytest.approx(1.0, abs=0.02)
    assert power.minimal_effect(20, 0.05) == pytest.approx(0.66, abs=0.005)
    assert power.minimal_effect(10, 0.05 / 5) > power.minimal_effect(10, 0.05)
    assert [power.pairs_needed(effect, 0.05) for effect in (0.5, 1.0, 10.0, 0.01)] == [34, 10, 6, None]


def test_looking_at_any_time_costs_about_twice_the_pairs():
    assert 10 < power.pairs_needed(1.0, 0.05, at_any_time=True) <= 20
    assert power.anytime_power(1.0, 10, 0.05) < power.fixed_power(1.0, 10, 0.05)
