"""The verdict on a contrast: what it takes, what it says, and how often it is wrong."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from support.experiments import EXPERIMENTS, script

from tedg.statistics import power
from tedg.statistics.aa import resplit
from tedg.statistics.pairs import Pairs
from tedg.statistics.sentence import outlook, points, sentence
from tedg.statistics.verdict import Contrast, Rules, Stop, Verdict, judge

SPREAD = np.array([-3.0, 1, 4, -2, 2, -1, 3, -4, 0.5, -0.5])  # sum 0
FIXED = Rules("score")


def contrast(d, hours=None, name="V4"):
    d = np.asarray(d, float)
    return Contrast(name, "V3", Pairs(tuple(range(len(d))), np.full(len(d), 50.0), 50 + d), hours)


def one(d, rules=FIXED, hours=None):
    return judge([contrast(d, hours)], rules)[0]


def test_the_sign_of_a_shown_difference_decides():
    assert one(SPREAD + 5).verdict is Verdict.BETTER
    assert one(SPREAD - 5).verdict is Verdict.WORSE
    assert one(SPREAD).verdict is Verdict.INCONCLUSIVE
    assert one(np.zeros(10)).verdict is Verdict.INCONCLUSIVE


def test_five_seeds_decide_nothing_and_six_do():
    assert one(np.arange(1.0, 6)).verdict is Verdict.INCONCLUSIVE  # p = 2/32; one side alone would be 1/32
    assert one(np.arange(1.0, 7)).verdict is Verdict.BETTER


def test_more_contrasts_take_more_evidence():
    clear = np.arange(1.0, 7)  # p = 1/32
    assert one(clear).p_holm == 1 / 32
    family = judge([contrast(clear), contrast(SPREAD)], FIXED)
    assert family[0].p_holm == 1 / 16
    assert [judged.verdict for judged in family] == [Verdict.INCONCLUSIVE] * 2
    # Holm, not Bonferroni: once the clearest is decided, the next needs less.
    family = judge([contrast(np.arange(1.0, 8)), contrast(clear)], FIXED)
    assert [judged.verdict for judged in family] == [Verdict.BETTER] * 2


def test_equivalent_needs_a_delta_that_was_planned():
    assert one(SPREAD / 10).verdict is Verdict.INCONCLUSIVE
    assert one(SPREAD / 10, Rules("score", delta=1.0)).verdict is Verdict.EQUIVALENT
    assert one(SPREAD / 10, Rules("score", delta=0.1)).verdict is Verdict.INCONCLUSIVE
    assert one(SPREAD[:4] / 1000, Rules("score", delta=1.0)).verdict is Verdict.INCONCLUSIVE  # p = 1/16
    families = [
        judge([contrast(SPREAD[:6] / 10)] + [contrast(10 * SPREAD)] * more, Rules("score", delta=1.0))[0]
        for more in (0, 3)
    ]
    assert [judged.verdict for judged in families] == [Verdict.EQUIVALENT, Verdict.INCONCLUSIVE]


def test_a_small_difference_that_is_shown_is_a_difference():
    judged = one(SPREAD / 100 + 0.5, Rules("score", delta=1.0))
    assert judged.verdict is Verdict.BETTER
    assert sentence(judged).endswith("though the difference is shown to be below 1.")


def test_at_any_time_the_pairs_after_a_gap_wait():
    rules = Rules("score", stop=Stop.ANYTIME, planned=tuple(range(20)))
    assert one(np.full(12, 3.0), rules).verdict is Verdict.BETTER
    late = Pairs((*range(4), *range(5, 13)), np.zeros(12), np.full(12, 3.0))  # seed 4 has not finished
    judged = judge([Contrast("V4", "V3", late)], rules)[0]
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert judged.difference is not None
    assert judged.difference.n == 4
    nothing = judge([Contrast("V4", "V3", Pairs((1,), np.zeros(1), np.ones(1)))], rules)[0]
    assert sentence(nothing) == "Nothing can be said of V4 against V3 in score: no pair of runs counts yet."
    assert one(-SPREAD / 10, Rules("score", 0.05, 3.0, None, Stop.ANYTIME, tuple(range(10)))).verdict is (
        Verdict.EQUIVALENT
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"alpha": 0.0}, "alpha is 0"),
        ({"delta": -1.0}, "delta is -1"),
        ({"detect": float("inf")}, "detect is inf"),
        ({"stop": Stop.ANYTIME}, "planned seeds"),
    ],
)
def test_rules_that_make_no_test_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        Rules("score", **settings)


def test_what_is_said():
    assert sentence(one(SPREAD + 5)) == (
        "V4 is better than V3 in score: difference +5 over 10 paired seeds "
        "(95% interval +3.15 to +6.85, exact sign-flip p = 0.002)."
    )
    assert sentence(one(SPREAD / 10, Rules("score", delta=1.0))) == (
        "V4 is equivalent to V3 in score within 1: difference +0 over 10 paired seeds "
        "(95% interval -0.185 to +0.185, TOST p = 0.00098)."
    )
    judged = one(SPREAD, Rules("score", detect=2.0), hours=1.5)
    found = outlook(judged)
    assert found is not None
    assert found.points == pytest.approx(found.effect * SPREAD.std(ddof=1))
    assert found.hours == 1.5 * (10 + found.more)  # what was judged once must not go on
    assert power.fixed_power(2 / SPREAD.std(ddof=1), 10 + found.more, 0.05) >= 0.8
    assert power.fixed_power(2 / SPREAD.std(ddof=1), 9 + found.more, 0.05) < 0.8
    assert sentence(judged).startswith(
        "It is open whether V4 differs from V3 in score: difference +0 over 10"
    )
    assert sentence(judged).endswith(
        f"would have been seen with power 0.8; a new study of {found.pairs} seeds ({found.hours:g} hours at "
        "the measured speed) would detect 2 with power 0.8."
    )
    open_ended = Rules("score", detect=2.0, stop=Stop.ANYTIME, planned=tuple(range(90)))
    assert " more seeds (" in sentence(one(SPREAD, open_ended, hours=1.5))
    ends = dataclasses.replace(open_ended, planned=tuple(range(12)))
    assert "a new study of " in sentence(one(SPREAD, ends, hours=1.5))


def test_numbers_are_written_out():
    assert [points(x) for x in (0.01234, 12.34, 999.4, 999.6, 1234.5)] == [
        "0.0123", "12.3", "999", "1,000", "1,234"
    ]  # fmt: skip
    assert "difference +1,000 over 10 paired seeds" in sentence(one(SPREAD + 1000))
    assert "(one pair has no interval, " in sentence(one(np.array([3.0])))


def test_too_few_seeds_are_told_how_many_it_takes():
    judged = judge([contrast([1, 2, 4, 3])] * 5, Rules("score", detect=4.0))[0]
    assert "4 pairs can never decide it: at least 8 are needed, 4 more" in sentence(judged)
    assert "p = 0.62 after Holm over 5 contrasts" in sentence(judged)


def test_what_to_look_for_does_not_follow_what_was_found():
    rules = Rules("score")
    assert outlook(one(SPREAD + 1, rules)) == outlook(one(SPREAD - 0.5, rules))


def test_a_variant_is_not_better_than_itself():
    scores = np.random.default_rng(0).lognormal(4, 0.5, 20)
    found = resplit(scores, scores, FIXED, times=1000)
    assert found.studies == 1000
    assert found.low <= 0.05
    assert found.rate < 0.07
    with pytest.raises(ValueError, match="20 runs cannot be split into two lists of 11"):
        resplit(scores, scores, FIXED, pairs=11)


def test_a_fault_of_the_pipeline_makes_it_better_than_itself():
    rng = np.random.default_rng(0)
    scores = rng.normal(100, 10, 20)
    best = scores + np.abs(rng.normal(0, 10, 20))  # one arm's best checkpoint, the other's last
    assert resplit(scores, best, FIXED, times=300).low > 0.05
    games = scores[:, None] + rng.normal(0, 5, (20, 4))  # games as the unit: 32 pairs from 8 runs each
    assert resplit(games, games, FIXED, times=100, pairs=8).low > 0.05


def test_verdicts_are_seldom_wrong():
    rng = np.random.default_rng(0)
    scores = rng.lognormal(0, 1, (1500, 2, 6))
    wrong = sum(one(second - first).verdict is not Verdict.INCONCLUSIVE for first, second in scores)
    assert wrong / 1500 == pytest.approx(1 / 32, abs=0.015)


def test_the_committed_calibration_meets_its_bars_and_is_of_this_code():
    simulate = script("calibration", "simulate")
    results = json.loads((EXPERIMENTS / "calibration/results.json").read_text())
    assert simulate.missed(results) == []
    rates = results["False better or worse"]
    cases = {(row["stop"], row["pairs"], row["contrasts"], row["scores"]) for row in rates}
    for shape in ("normal", "lognormal", "bimodal"):
        designs = {("fixed", 6, 1), ("fixed", 10, 1), ("fixed", 20, 1), ("fixed", 10, 5), ("anytime", 30, 1)}
        assert {(*design, shape) for design in designs} <= cases
    assert all(row["studies"] >= 10_000 and "bar" in row for row in rates + results["False equivalent"])
    seen = {row["pairs"]: row for row in results["Least effect seen with power 0.8"]}
    for n in (6, 20):
        assert seen[n]["fixed"] == pytest.approx(power.minimal_effect(n, 0.05), rel=1e-3)
    assert seen[20]["anytime"] == pytest.approx(power.minimal_effect(20, 0.05, at_any_time=True), rel=1e-3)
