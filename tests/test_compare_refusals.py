"""Studies on which a comparison gives no verdict, and what it says instead."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from support.comparing import BASE, PLAN, changed, one, only, said, two
from support.records import CONFIG, FUSIONS, arm, games, record

from tedg.compare.questions import Asked
from tedg.errors import ConfigError
from tedg.store.record import Evaluation, RunRecord

pytestmark = pytest.mark.usefixtures("quick_figures")


REFUSED: dict[str, tuple[list[RunRecord], Any, str]] = {
    "one seed": (
        [*only(two(plan=None), 0)],
        None,
        "1 pair of seeds can never decide it: the least p is 2/2^1 = 1, above 0.05; at least 6 are "
        "needed, 5 more",
    ),
    "five seeds": ([*only(two(plan=None), *range(5))], None, "5 pairs of seeds can never decide it"),
    "mixed code": (
        changed(two(), 3, training_code="0ther"),
        PLAN,
        "1 of 10 pairs are of different code that training depends on (7ea1 and 0ther, seed 3)",
    ),
    "device": (
        changed(two(), 3, device="cuda"),
        PLAN,
        "1 of 10 pairs are of different devices (cpu and cuda, seed 3); a plan may allow it: "
        "plan.allow=[device]",
    ),
    "precision": (changed(two(), 3, precision="bfloat16"), PLAN, "1 of 10 pairs are of different precisions"),
    "budget": (
        two(budget={"env_steps": 500_000}),
        PLAN,
        "the runs had different budgets (500,000 env steps and 1,000,000 env steps), which are never mixed: "
        "those of each belong into a study of their own (paths.study)",
    ),
    "other games": (
        changed(two(), 3, evaluations=(Evaluation("policy", "last", "sample", 500, "", games(90, 20, 7)),)),
        PLAN,
        "the runs played different games (20 games from seed 500000 in 19 runs, 20 games from seed 7 in "
        "1 run)",
    ),
    "games not played": (
        changed(two(), 3, evaluations=(Evaluation("policy", "last", "sample", 5000, "", games(90)),)),
        PLAN,
        "1 run of cross_attn (seed 3) lacks held-out games of 500 steps (there are games of 5,000 steps)",
    ),
    "another player's weights": (
        changed(two(), 3, evaluations=(Evaluation("policy", "best", "sample", 500, "", games(90)),)),
        PLAN,
        "1 run of cross_attn (seed 3) lacks held-out games of 500 steps.",
    ),
    "diverged": (
        changed(two(), 3, status="diverged", evaluations=()),
        PLAN,
        "1 run of cross_attn diverged (seed 3), and to leave pairs out for that would choose by the outcome",
    ),
    "missing arm": (
        [r for r in two() if r.options["fusion"] == "concat"] + arm("concat_matched", BASE, plan=PLAN),
        PLAN,
        "no run of cross_attn has ended (there are concat, concat_matched)",
    ),
    "twice": (
        [*two(), record("cross_attn", 3, 9, run_id="an0ther", config=CONFIG | {"ppo": {"gamma": 0.9}})],
        PLAN | {"seeds": list(range(10))},
        "cross_attn has several runs of seed 3, so it is no single arm (",
    ),
    "twice the same": (
        [*two(), record("cross_attn", 3, 9, run_id="an0ther", plan=PLAN)],
        PLAN,
        " and an0ther have the same settings; take one out of the study's folder)",
    ),
    "a stage chain": (
        two(parent="before", total_env_steps=3_000_000),
        PLAN,
        "10 of 10 pairs began with weights that had been trained for different numbers of env steps (0 and "
        "2,000,000, seed 0)",
    ),
    "weights of unknown cost": (
        changed(two(), 3, parent="before", total_env_steps=None),
        PLAN,
        "(0 and unknown, seed 3)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_study_has_its_sentence_and_no_verdict(case: str) -> None:
    records, plan, sentence = REFUSED[case]
    if case == "twice":
        records[-1].config["fusion"] = FUSIONS["cross_attn"]
    outcome = one(records, plan)
    assert outcome.verdict is outcome.p is outcome.p_holm is None
    assert outcome.sentence.startswith("No verdict on cross_attn against concat")
    assert sentence in outcome.sentence


def test_what_is_missing_comes_with_what_makes_it() -> None:
    lacking = changed(two(), 3, evaluations=(Evaluation("policy", "last", "sample", 5000, "", games(90)),))
    play = "to play missing games: python -m tedg.evaluate multirun/mine"
    assert one(lacking).remedies == (f"{play} --cap 500",)
    fewer = changed(two(), 3, evaluations=(Evaluation("policy", "last", "sample", 500, "", games(90, 5)),))
    assert one(fewer).remedies == (f"{play} --games 20 --first-seed 500000 --cap 500",)
    others = changed(two(), 3, evaluations=(Evaluation("policy", "last", "sample", 500, "", games(9, 5, 7)),))
    assert one(others).remedies == (
        f"{play} --games 5 --first-seed 7 --cap 500",
        f"{play} --games 20 --first-seed 500000 --cap 500",
    )
    kept = said(lacking, no_weights=frozenset(run.run_id for run in lacking)).outcomes[0]
    (remedy,) = kept.remedies
    assert remedy.startswith(
        "results alone were kept of runs that lack games, and their weights are not here"
    )
    assert "python -m tedg.study keep" in remedy
    assert not one(two()).remedies


def test_chains_that_cost_the_same_are_compared() -> None:
    chained = [dataclasses.replace(r, parent="before", total_env_steps=3_000_000) for r in two()]
    assert one(chained).verdict == "better"


def test_pairs_alike_of_several_versions_are_said() -> None:
    records = [dataclasses.replace(r, training_code="0ther") if r.seed > 5 else r for r in two()]
    report = said(records)
    assert report.outcomes[0].verdict == "better"
    told = "the code that training depends on changed during the study: 12 runs of 7ea1, 8 runs of 0ther"
    assert told in report.notes


def test_unfinished_runs_are_looked_at_only_by_peeking_and_decide_nothing() -> None:
    records = only(two(), *range(8))
    with pytest.raises(
        ConfigError, match=r"18 of 20 planned runs of mine have ended, missing cross_attn seeds 8, 9"
    ):
        one(records)
    outcome = one(records, asked=Asked(peek=True))
    assert outcome.verdict is None
    assert "this is an early look" in outcome.sentence
    assert outcome.difference is not None
    assert outcome.difference.n == 8
    with pytest.raises(ConfigError, match="; to train the rest: again; an earlier look is made by --peek"):
        said(records, command="again", unfinished=("cell 8 (lost)", "cell 9 (queued)"))
    with pytest.raises(ConfigError, match="; no command asked for these; the last one was: again; "):
        said(records, command="again")
    alone = [record for record in records if record.options["fusion"] == "cross_attn"]
    with pytest.raises(ConfigError, match=r"missing cross_attn seeds 8, 9; of concat there is no run"):
        said(alone)
    without = only(two(plan=None), *range(8))
    with pytest.raises(ConfigError, match="2 runs of mine are not finished: cell 8"):
        said(without, None, unfinished=("cell 8 (running)", "cell 9 (queued)"))
    with pytest.raises(ConfigError, match=r"1 run of mine is not finished: cell 9 \(lost\)"):
        said(without, None, unfinished=("cell 9 (lost)",))
    ended = one(without, None)  # nothing is known of more runs
    assert ended.verdict == "better"
    assert "seeds 8, 9 of cross_attn are missing, so their pairs are left out" in ended.notes
