"""A budget of s env steps and a milestone after s of B are two figures: named apart, and never mixed."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.comparing import PLAN
from support.records import arm, games
from support.settings import ON_NETHACK, TINY_WITHOUT_GRAPH

from tedg import evaluate
from tedg.compare import same, text
from tedg.compare.__main__ import run as compared_by
from tedg.compare.find import Study
from tedg.compare.judging import compare
from tedg.compare.questions import Asked
from tedg.compare.report import Report
from tedg.config.compose import compose_all
from tedg.config.plan import PlanConfig
from tedg.config.typed import Faults, read
from tedg.errors import ConfigError
from tedg.statistics import aggregates
from tedg.store.record import Evaluation, RunRecord, read_records

B, S = 1_000_000, 500_000
SPREAD = np.array([-3.0, 1, 4, -2, 2, -1, -1])  # sum 0
AT_B, AT_S, AFTER_S = 90.0, 60.0, 40.0  # V4's scores are 5 above these


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregates, "RESAMPLES", 100)


def two_arms(score: float, budget: int, **changes: object) -> list[RunRecord]:
    """Seven pairs of V3 and V4 of one budget."""
    found = []
    for fusion, more in (("concat", 0.0), ("cross_attn", 5.0)):
        for run in arm(fusion, score + more + SPREAD * (more > 0), budget={"env_steps": budget}, **changes):
            own = Evaluation("policy", "500000", "sample", 500, "", games(run.seed + AFTER_S + more))
            early = (own,) if budget == B else ()
            found.append(
                dataclasses.replace(
                    run, run_id=f"{budget}{run.run_id}", evaluations=(*early, *run.evaluations)
                )
            )
    return found


def said(
    records: Sequence[RunRecord],
    command: str | None = None,
    plan: PlanConfig | None = None,
    no_weights: frozenset[str] = frozenset(),
    **asked: Any,
) -> Report:
    study = Study("mine", "multirun/mine", tuple(records), plan=plan, command=command, no_weights=no_weights)
    return compare(study, Asked(**{"by": "fusion", **asked}))


def printed(report: Report) -> str:
    return "\n".join(text.lines(report))


def test_after_s_of_b_is_not_at_a_budget_of_s() -> None:
    whole, short = two_arms(AT_B, B), two_arms(AT_S, S)
    for records, asked, name, mean in (
        (whole, {}, "at a budget of 1,000,000 env steps", AT_B),
        (whole, {"at": S}, "after 500,000 of 1,000,000 env steps", AFTER_S + 3),
        (short, {}, "at a budget of 500,000 env steps", AT_S),
    ):
        report = said(records, **asked)
        assert report.outcomes[0].measure == f"score (games of 500 steps) {name}"
        assert [one.measure for one in report.arms] == [report.outcomes[0].measure] * 2
        assert report.arms[0].mean.value == pytest.approx(mean)
        assert report.outcomes[0].verdict == "better"


@pytest.mark.parametrize("seeds", ["the same", "others"])
def test_a_study_of_two_budgets_has_no_figure_of_both(seeds: str) -> None:
    whole, short = two_arms(AT_B, B), two_arms(AT_S, S)
    if seeds == "others":
        short = [dataclasses.replace(run, seed=run.seed + 7) for run in short]
    for run in (*whole, *short):
        run.config["budget"] = dict(run.budget)
    report = said([*whole, *short])
    (outcome,) = report.outcomes
    assert printed(report).count("budget.env_steps") == 0  # the budgets are told once, by name
    assert (outcome.verdict, outcome.difference, outcome.p, outcome.curves) == (None, None, None, None)
    assert (
        "score (games of 500 steps) at budgets of 500,000 env steps and 1,000,000 env steps"
        in outcome.sentence
    )
    assert (
        "had different budgets (500,000 env steps and 1,000,000 env steps), which are never mixed"
        in outcome.sentence
    )
    found = {(one.name, one.measure.partition(" at ")[2]): one.mean.value for one in report.arms}
    assert found == pytest.approx(
        {
            ("concat", "a budget of 1,000,000 env steps"): AT_B,
            ("concat", "a budget of 500,000 env steps"): AT_S,
            ("cross_attn", "a budget of 1,000,000 env steps"): AT_B + 5,
            ("cross_attn", "a budget of 500,000 env steps"): AT_S + 5,
        }
    )
    # Each budget has a table of its own.
    tables = re.findall(r"^score .* (\S+) env steps:\n.*\nconcat +7 seeds +(\S+)", printed(report), re.M)
    assert tables == [("1,000,000", "90.0"), ("500,000", "60.0")]
    with pytest.raises(ConfigError, match="--aa concat: its runs had different budgets"):
        same.against_itself(Study("mine", "mine", (*whole, *short)), "concat", Asked(by="fusion"))


def test_a_part_that_was_dead_is_said_of_two_budgets_too() -> None:
    blind = {"liveness": {"attention/keys": 122.0, "attention/variation": 0.0}}
    records = [
        dataclasses.replace(run, **blind) if run.options["fusion"] == "cross_attn" else run
        for run in (*two_arms(AT_B, B), *two_arms(AT_S, S))
    ]
    (outcome,) = said(records).outcomes
    assert (outcome.verdict, outcome.difference) == ("void", None)
    assert "Nor would there be a verdict: the runs had different budgets" in outcome.sentence


def test_budgets_may_be_the_arms() -> None:
    records = [run for run in (*two_arms(AT_B, B), *two_arms(AT_S, S)) if run.options["fusion"] == "concat"]
    for run in records:
        run.config["budget"] = dict(run.budget)
    report = said(records, by="budget.env_steps", baseline=str(S))
    assert report.outcomes[0].measure == (
        "score (games of 500 steps) at budgets of 500,000 env steps and 1,000,000 env steps"
    )
    assert report.outcomes[0].difference is not None
    assert report.outcomes[0].difference.mean == pytest.approx(AT_B - AT_S)
    # An arm of two budgets is a mixture all the same.
    for run in records[7:]:
        run.config["budget"]["kind"] = "new"
    odd = [dataclasses.replace(run, budget={"env_steps": 1000}, run_id="odd") for run in records[7:8]]
    for run in records[:7]:
        run.config["budget"]["kind"] = "old"
    mixed = said([*records, *odd], by="budget.kind", baseline="old").outcomes[0]
    assert (mixed.verdict, mixed.difference) == (None, None)
    assert "had different budgets (1,000 env steps and 500,000 env steps)" in mixed.sentence


def test_a_budget_of_episodes_has_milestones_in_env_steps() -> None:
    records = [dataclasses.replace(run, budget={"episodes": 300}) for run in two_arms(AT_B, B)]
    assert said(records, at=S).outcomes[0].measure.endswith(" after 500,000 env steps of 300 episodes")


@pytest.mark.more
def test_the_command_that_makes_a_milestone_is_one(tmp_path: Path) -> None:
    begun = (
        "python -m tedg.train -m fusion=concat,cross_attn seed=0 budget.env_steps=1000000 "
        "'eval.milestones=[250000]' paths.study=mine"
    )
    records = two_arms(AT_B, B)
    for run in records:
        run.config["eval"]["milestones"] = [250_000]
    (remedy,) = said(records, begun, at=600_000).outcomes[0].remedies
    command = remedy.partition("keep them: ")[2]
    python, flag, module, sweep, *overrides = shlex.split(command)
    assert [python, flag, module, sweep] == ["python", "-m", "tedg.train", "-m"]
    jobs = compose_all(overrides, True)
    assert len(jobs) == 2
    assert {job.config.eval.milestones for job in jobs} == {(250_000, 600_000)}
    assert {job.config.paths.study for job in jobs} == {"mine_milestones"}
    # Nothing is typed that cannot run: kept runs do not know their command, and no run has a later step.
    (told,) = (
        said(records, no_weights=frozenset(run.run_id for run in records), at=600_000).outcomes[0].remedies
    )
    assert told.endswith(
        "trained the study, with 'eval.milestones=[250000,600000]' paths.study=mine_milestones"
    )
    plan = read(PlanConfig, PLAN | {"milestones": [2_000_000], "seeds": list(range(7))}, "plan", Faults())
    late = said(records, begun, plan=plan).outcomes[0]
    assert late.remedies == ("there is no env step 2,000,000 in a run that ends after 1,000,000",)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_on_nethack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of 16,384 env steps that keeps a milestone after 8,192, and another whose budget that is."""
    monkeypatch.chdir(tmp_path)
    quick = (
        "env.num_envs=64",
        "env.num_workers=0",
        "ppo.num_steps=32",
        "ppo.minibatch_size=512",
        "vision=state",
    )
    more = ("stage=curriculum", "env.max_episode_steps=200", "eval.games=6", "logic.embedding_dim=8")
    overrides = [*TINY_WITHOUT_GRAPH, *ON_NETHACK, *quick, *more, "fusion=concat,cross_attn"]
    for study, budget, kept in (("whole", 16_384, "[8192]"), ("short", 8192, "[]")):
        own = [f"budget.env_steps={budget}", f"eval.milestones={kept}", f"paths.study={study}"]
        command = [sys.executable, "-m", "tedg.train", "-m", *overrides, *own]
        subprocess.run(command, check=True, capture_output=True, timeout=600)
    assert evaluate.run(["multirun/whole", "--games", "6", "--at", "8192"]) == 0
    shutil.copytree("multirun/whole", "multirun/both")
    for run in Path("multirun/short").glob("c*-s0-*"):
        shutil.copytree(run, Path("multirun/both", run.name))

    def compared(study: str, *asked: str) -> Any:
        assert compared_by(["--by", "fusion", *asked, "--json", "out.json", study]) == 0
        return json.loads(Path("out.json").read_text())

    figures, stages = {}, {}
    for study, asked, weights in (
        ("whole", ["--at", "8192"], "8192"),
        ("short", [], "last"),
        ("whole", [], "last"),
    ):
        (outcome,) = (report := compared(study, *asked))["outcomes"]
        name = outcome["measure"].partition(" steps) ")[2]
        figures[name] = [arm["scores"] for arm in report["arms"]]
        records = {record.options["fusion"]: record for record in read_records(Path("multirun", study))}
        games = [one for run in records.values() for one in run.evaluations if one.weights == weights]
        assert figures[name] == [[np.mean([game.score for game in one.games])] for one in games]
        stages[name] = {one.stage for one in games}
    assert stages == {
        "after 8,192 of 16,384 env steps": {"transition"},
        "at a budget of 8,192 env steps": {"finetune"},
        "at a budget of 16,384 env steps": {"finetune"},
    }
    assert len({json.dumps(scores) for scores in figures.values()}) == 3
    # Both budgets in one study: every figure stands under its own, and none is of both.
    capsys.readouterr()
    (outcome,) = (report := compared("both"))["outcomes"]
    assert (outcome["verdict"], outcome["difference"]) == ("void", None)  # vision=state is a single key
    assert "had different budgets (8,192 env steps and 16,384 env steps)" in capsys.readouterr().out
    apart = {one["measure"].partition(" steps) ")[2]: [] for one in report["arms"]}
    for one in report["arms"]:
        apart[one["measure"].partition(" steps) ")[2]].append(one["scores"])
    assert apart == {name: scores for name, scores in figures.items() if name.startswith("at")}
    # For a milestone without weights there is the command that makes it.
    (outcome,) = compared("whole", "--at", "4096")["outcomes"]
    command = shlex.split(outcome["remedies"][0].partition("keep them: ")[2])
    jobs = compose_all(command[4:], True)
    assert command[1:4] == ["-m", "tedg.train", "-m"]
    assert {job.config.eval.milestones for job in jobs} == {(4096, 8192)}
    assert {job.config.budget.env_steps for job in jobs} == {16_384}
    assert {job.config.paths.study for job in jobs} == {"whole_milestones"}
