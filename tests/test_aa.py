"""V3 against itself on real runs (experiments/aa): no difference is found, and with faults there is one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.experiments import EXPERIMENTS, script

from tedg.compare import same
from tedg.compare.find import Study, find
from tedg.compare.judging import compare
from tedg.compare.questions import Asked
from tedg.compare.report import Outcome
from tedg.statistics import aggregates, power, sign_flip
from tedg.statistics.pairs import Pairs
from tedg.statistics.verdict import Contrast, Rules, Verdict, judge
from tedg.store.record import Evaluation, RunRecord, read_records

Change = Callable[[Evaluation], Evaluation | None]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What decides nothing takes most of the time, and so do signs that are drawn for 480 games."""
    monkeypatch.setattr(aggregates, "RESAMPLES", 100)
    monkeypatch.setattr(power, "_FEW_PAIRS", 1)
    monkeypatch.setattr(sign_flip, "_DRAWN", 1000)
    yield
    for cached in (power.minimal_effect, power.pairs_needed):
        cached.cache_clear()


@pytest.fixture(scope="module")
def records() -> list[RunRecord]:
    return read_records(EXPERIMENTS / "aa/runs")


@pytest.fixture(scope="module")
def faults() -> Any:
    return script("aa", "faults")


def test_there_are_24_runs_that_differ_in_their_seed_alone(records: list[RunRecord]) -> None:
    assert [one.seed for one in records] == list(range(2000, 2024))
    assert len({one.training_code for one in records}) == 1
    assert len({json.dumps(one.config | {"seed": 0, "name": ""}) for one in records}) == 1


def test_compare_does_not_find_it_better_than_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(same, "resplit", partial(same.resplit, times=500))
    found = same.against_itself(find(tmp_path, "aa", EXPERIMENTS), "concat", Asked(by="fusion"))
    assert found.runs == 24
    assert found.false_positives.low <= 0.05
    assert found.false_positives.rate < 0.08


def test_faults_show_and_the_honest_pipeline_does_not(faults: Any, records: list[RunRecord]) -> None:
    rows = faults.rates(records, times=200, of_games=60)
    bars = [row["bar"] for row in rows]
    assert bars.count(faults.HONEST) >= 1
    assert bars.count(faults.FAULT) >= 3
    assert faults.missed(rows) == []
    assert faults.missed(json.loads((EXPERIMENTS / "aa/results.json").read_text())["rates"]) == []


def outcome(
    records: Sequence[RunRecord], order: Sequence[int], change: Change = lambda evaluation: evaluation
) -> Outcome:
    """What `compare` says of twelve runs against twelve others, whose evaluations are changed."""
    split = []
    for place, number in enumerate(order):
        arm, run = ("first", "second")[place // 12], records[number]
        changed = [one if arm == "first" else change(one) for one in run.evaluations]
        split.append(
            dataclasses.replace(
                run,
                seed=place % 12,
                options=run.options | {"arm": arm},
                evaluations=tuple(one for one in changed if one is not None),
            )
        )
    (found,) = compare(Study("aa", "multirun/aa", tuple(split)), Asked(by="arm", baseline="first")).outcomes
    return found


def test_the_command_judges_two_lists_as_a_split_does(records: list[RunRecord]) -> None:
    """`--aa` counts verdicts by `judge` alone; this is the way of two arms through the whole command."""
    score = np.array([np.mean([game.score for game in last(one).games]) for one in records])
    ranked = np.argsort(score)
    for order, verdict in (
        (np.random.default_rng(0).permutation(24), None),
        (np.concatenate((ranked[:12], ranked[12:])), Verdict.BETTER),
        (np.concatenate((ranked[12:], ranked[:12])), Verdict.WORSE),
    ):
        pairs = Pairs(tuple(range(12)), score[order[:12]], score[order[12:]])
        (judged,) = judge([Contrast("second", "first", pairs)], Rules("score"))
        found = outcome(records, order)
        assert found.p_holm == judged.p_holm
        assert found.verdict == judged.verdict
        assert verdict in (None, judged.verdict)


def last(record: RunRecord) -> Evaluation:
    asked = ("policy", "last", "sample")
    (found,) = [one for one in record.evaluations if (one.player, one.weights, one.mode) == asked]
    return found


def own(evaluation: Evaluation, first: int, weights: str = "last") -> Evaluation | None:
    """Only the 40 games from seed `first` on; None for a policy's games with other weights."""
    games = tuple(game for game in evaluation.games if first <= game.seed < first + 40)
    other = evaluation.player == "policy" and evaluation.weights != weights
    return None if other else dataclasses.replace(evaluation, games=games)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            partial(own, first=500_000, weights="best"),
            "12 runs of second (seeds 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more) lack held-out games",
        ),
        (
            partial(own, first=600_000),
            "the runs played different games (80 games from seed 500000 in 12 runs, 40",
        ),
    ],
    ids=["best checkpoint", "other games"],
)
def test_compare_refuses_arms_that_were_not_measured_alike(
    records: list[RunRecord], change: Change, reason: str
) -> None:
    found = outcome(records, range(24), change)
    assert found.verdict is None
    assert reason in found.sentence
