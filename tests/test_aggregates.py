"""Figures beside a verdict, held to rliable's values and to hand computations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tedg.statistics import aggregates
from tedg.statistics.curves import areas, band
from tedg.statistics.skewed import mean_of_games

REFERENCE = Path(__file__).parent.parent / "experiments/calibration/rliable_reference.json"


def test_values_are_rliables():
    for case in json.loads(REFERENCE.read_text())["cases"]:
        baseline, variant, taus = (np.array(case[name], float) for name in ("baseline", "variant", "taus"))
        assert [aggregates.iqm(arm).value for arm in (baseline, variant)] == pytest.approx(case["iqm"])
        assert aggregates.improvement(baseline, variant).value == pytest.approx(case["improvement"])
        assert aggregates.profile(variant, taus).share == pytest.approx(case["profile"])
        difference = aggregates.iqm_difference(baseline, variant)
        assert difference.value == pytest.approx(case["iqm"][1] - case["iqm"][0])
        assert difference.low <= difference.value <= difference.high


def test_intervals_are_the_same_every_time_and_use_the_pairing():
    rng = np.random.default_rng(0)
    baseline = rng.normal(100, 30, 12)
    variant = baseline + rng.normal(5, 1, 12)
    first, again = (aggregates.iqm_difference(baseline, variant) for _ in range(2))
    assert first == again
    # The arms vary by 30, their difference by 1: unpaired resampling would give a width of about 40.
    assert first.high - first.low < 10
    assert first.low > 0
    with pytest.raises(ValueError, match="not paired"):
        aggregates.improvement(baseline, variant[:5])


def test_a_win_of_every_run_is_not_certainty():
    found = aggregates.improvement(np.arange(6.0), np.arange(6.0) + 10)
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(0.025 ** (1 / 6))
    turned = aggregates.improvement(np.arange(6.0) + 10, np.arange(6.0))
    assert (turned.low, turned.high) == pytest.approx((0, 1 - found.low))
    assert aggregates.improvement(np.ones(4), np.ones(4)).value == 0.5


def test_a_profiles_band_counts_seeds_not_games():
    # Each seed's 1000 games are alike, so there are four observations and no more.
    scores = np.repeat(np.array([[1.0], [2.0], [3.0], [4.0]]), 1000, axis=1)
    found = aggregates.profile(scores, np.array([0.0, 2.5, 9.0]))
    assert found.share.tolist() == [1, 0.5, 0]
    assert found.high[1] - found.low[1] >= 0.5


def test_one_seed_has_no_interval():
    assert np.isnan(aggregates.iqm(np.array([3.0])).low)
    assert np.isnan(aggregates.profile(np.array([3.0]), np.array([1.0])).high).all()


def test_areas_of_curves_by_hand():
    straight = (np.array([0.0, 100.0]), np.array([0.0, 10.0]))
    flat = (np.array([0.0, 50.0, 100.0]), np.array([4.0, 4.0, 4.0]))
    found = areas([straight, flat])
    assert found.values.tolist() == [5, 4]
    assert (found.first, found.last, found.cut) == (0, 100, (False, False))


def test_a_band_is_the_mean_over_curves_with_students_interval():
    slopes = np.array([1.0, 2.0, 6.0])
    found = band([(np.array([0.0, 100.0]), np.array([0.0, 100 * slope])) for slope in slopes], bins=4)
    assert found.steps.tolist() == [12.5, 37.5, 62.5, 87.5]
    assert found.mean == pytest.approx(3 * found.steps)
    interval = stats.ttest_1samp(slopes, 0).confidence_interval(0.95)
    assert found.low == pytest.approx(interval.low * found.steps)
    assert found.high == pytest.approx(interval.high * found.steps)
    assert np.isnan(band([(np.array([0.0, 1.0]), np.array([0.0, 1.0]))], bins=2).low).all()


def test_a_longer_curve_is_cut_where_the_shorter_one_ends():
    straight = (np.array([0.0, 100.0]), np.array([0.0, 10.0]))
    short = (np.array([20.0, 60.0]), np.array([3.0, 5.0]))
    found = areas([straight, short])
    assert found.values.tolist() == pytest.approx([4, 4])
    assert (found.first, found.last, found.cut) == (20, 60, (True, False))
    with pytest.raises(ValueError, match="no steps in common"):
        areas([short, (np.array([70.0, 80.0]), np.array([1.0, 1.0]))])
    with pytest.raises(ValueError, match="ascending"):
        areas([(np.array([0.0, 0.0]), np.array([1.0, 1.0]))])


def test_the_mean_of_games_stays_above_the_least_score():
    games = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 90.0])
    found = mean_of_games(games)
    assert games.mean() - 2.3 * games.std() / np.sqrt(8) < 0  # where a plain t interval would begin
    assert 0 < found.low < found.value == games.mean() < found.high
    moved = mean_of_games(games - 5, least=-5.0)
    assert (moved.low, moved.high) == pytest.approx((found.low - 5, found.high - 5))
    assert mean_of_games(np.zeros(5)) == aggregates.Estimate(0, 0, 0, 0.95)
    with pytest.raises(ValueError, match="at least 0"):
        mean_of_games(np.array([-1.0, 2.0]))
    with pytest.raises(ValueError, match="at least 0"):
        mean_of_games(np.array([np.nan, 2.0]))


def test_with_many_games_it_is_the_usual_interval():
    games = np.random.default_rng(0).gamma(2, 30, 4000)
    found = mean_of_games(games)
    half = 1.96 * games.std() / np.sqrt(4000)
    assert (found.low, found.high) == pytest.approx((games.mean() - half, games.mean() + half), rel=2e-3)
