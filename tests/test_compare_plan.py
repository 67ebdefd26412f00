"""The plan of a study: what it may hold, how it is kept, and what a comparison makes of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from support.comparing import BASE, PLAN, changed, one, only, said, two
from support.records import arm, games
from support.sweeps import FakeLauncher, jobs

from tedg.compare.find import Planned, plan_of
from tedg.compare.questions import Asked
from tedg.compare.text import lines
from tedg.config.compose import compose
from tedg.config.plan import PlanConfig
from tedg.config.typed import Faults, read
from tedg.errors import ConfigError
from tedg.store.record import Evaluation
from tedg.store.study import keep_plan, read_study
from tedg.sweep.drive import Sweep
from tedg.sweep.drive import sweep as drive

pytestmark = pytest.mark.usefixtures("quick_figures")


def test_a_plan_may_allow_what_is_refused_otherwise() -> None:
    plan = PLAN | {"allow": ["device", "precision", "code"]}
    records = changed(two(plan=plan), 3, device="cuda", precision="bfloat16", training_code="0ther")
    assert one(records, plan).verdict == "better"


def test_anytime_takes_the_finished_beginning_of_the_plans_seeds() -> None:
    plan = PLAN | {"stop": "anytime", "seeds": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]}
    outcome = one(only(two(40, plan), 9, 8, 7, 6, 5, 4, 2, 1, 0), plan)
    assert outcome.seeds == (9, 8, 7, 6, 5, 4)
    assert outcome.verdict is not None
    assert outcome.notes == (
        "3 finished pairs wait for seed 3, which comes before in the plan and is not finished in both arms",
    )
    assert one(two(40, plan), plan).verdict == "better"


def test_seeds_beyond_the_plan_are_left_out() -> None:
    plan = PLAN | {"seeds": list(range(7))}
    outcome = one(two(plan=plan), plan)
    assert outcome.seeds == tuple(range(7))
    assert "seeds 7, 8, 9 of concat are not in the plan and left out" in outcome.notes


def test_a_family_is_corrected_for_itself_and_keeps_what_is_missing() -> None:
    records = two() + arm("concat_matched", BASE, plan=PLAN)
    families = PLAN | {"secondary": [["concat_matched", "concat"]]}
    assert [o.family for o in said(records, families).outcomes] == [1, 1]
    single = PLAN | {"primary": [["cross_attn", "concat"], ["cross_attn", "concat_tokens"]]}
    first, second = said(two(plan=single), single).outcomes
    assert (first.family, first.p_holm) == (2, 2 * (first.p or 0))
    assert first.verdict == "better"
    assert second.verdict is None


def test_what_is_outside_the_plan_has_figures_and_no_verdict() -> None:
    for asked in (Asked(metric="return"), Asked(cap=500), Asked(baseline="cross_attn")):
        outside = said(two(), PLAN | {"cap": None}, asked).outcomes[-1]
        assert outside.verdict is None
        assert "it is outside the plan" in outside.sentence
        assert outside.difference is not None
        assert outside.p is None
    assert [o.verdict for o in said(two(), PLAN, Asked(baseline="concat")).outcomes] == ["better"]


def test_without_a_plan_before_the_data_a_verdict_is_exploratory() -> None:
    outcome = one(two(plan=None), None)
    assert outcome.role == "exploratory"
    assert outcome.sentence.startswith("Exploratory: cross_attn is better")
    late = one(two(plan=None))
    assert late.sentence.startswith("Exploratory: ")
    assert late.notes[0].startswith("20 of 20 runs were begun without this plan")
    assert not one(two()).sentence.startswith("Exploratory")


def test_the_first_plan_counts_and_altering_it_shows(tmp_path: Path) -> None:
    for content in (PLAN, PLAN, PLAN | {"alpha": 0.2}):
        keep_plan(tmp_path, dataclasses.asdict(read(PlanConfig, content, "", Faults())), "7ea1", 0)
    stored = read_study(tmp_path)
    plan, planned, notes = plan_of(stored, two())
    assert plan is not None
    assert planned is not None
    assert (plan.alpha, planned.training_code, planned.digest) == (0.05, "7ea1", stored["plan"]["digest"])
    (note,) = notes
    assert note.endswith(f"(alpha; plan {stored['altered_plans'][0]['digest'][:10]}); the first one counts")
    kept, carried_by, _ = plan_of({}, two())  # kept runs carry it
    assert (kept, carried_by) == (plan, Planned(planned.digest))
    shown = list(lines(said(two(), planned=planned)))
    assert shown[1].startswith(f"arms by fusion; plan {planned.digest[:10]} of 2")
    stored["plan"]["runs_done_before"] = 2
    assert "2 runs had ended when the plan was written down" in plan_of(stored, two())[2]
    carried = two() + arm("concat_matched", BASE, plan=PLAN | {"alpha": 0.2})
    assert plan_of({}, carried)[2] == ["the runs carry 2 different plans (in alpha), so none counts"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            {"seeds": [0, 1, 2, 3, 4]},
            "plan.primary: 5 seeds can never decide a contrast at alpha 0.05: the least p is 2/2^5 = 0.062, "
            "needed 0.05; at least 6 seeds, or plan=none, which explores without a verdict",
        ),
        (
            {"seeds": [0, 1, 2, 3, 4, 5], "milestones": [500_000]},
            "plan.primary: 6 seeds can never decide any of 2 contrasts",
        ),
        ({"primary": []}, "plan.primary=[]: must hold at least one contrast"),
        ({"secondary": [["concat", "cross_attn"]]}, "must be two arms, and no contrast twice"),
        ({"primary": [["concat", "concat"]]}, "must be two arms, and no contrast twice"),
        ({"seeds": [0, 1, 2, 3, 4, 5, 5]}, "names a seed twice"),
    ],
)
def test_a_plan_that_can_decide_nothing_is_refused(change: dict[str, Any], fault: str) -> None:
    faults = Faults()
    assert read(PlanConfig, PLAN | change, "plan", faults) is None
    assert fault in "\n".join(faults.lines)


def test_a_plan_is_validated_with_the_rest_of_a_configuration() -> None:
    with pytest.raises(
        ConfigError, match=r"plan.milestones=7: needs weights that are kept: eval.milestones="
    ):
        compose(["+experiment=v3_vs_v4", "plan.milestones=[7]"])


def test_a_plan_of_arms_that_nobody_can_train_is_refused() -> None:
    wrong = ["plan.by=fusoin"], ["plan.primary=[[cross_atn,concat]]"], ["plan.by=fusion.gate.keep"]
    by, arms, keep = (["+experiment=v3_vs_v4", *one] for one in wrong)
    with pytest.raises(ConfigError, match=r"plan.by=fusoin: must be a group or a key; did you mean fusion\?"):
        compose(by)
    with pytest.raises(
        ConfigError, match=r"plan.primary=cross_atn: must be an option of fusion; did you mean"
    ):
        compose(arms)
    assert compose(keep).config.plan is not None


def test_an_experiment_can_be_trained_without_its_plan() -> None:
    assert compose(["+experiment=v3_vs_v4", "plan=none"]).config.plan is None
    records = [dataclasses.replace(r, options={**r.options, "plan": "none"}) for r in two(plan=None)]
    for r in records[:10]:
        r.options["plan"] = "v3_vs_v4"
    assert said(records, None, Asked()).by == "fusion"


def test_a_sweep_writes_its_plan_down_before_it_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = read(PlanConfig, PLAN, "", Faults())
    asked = [
        dataclasses.replace(job, config=dataclasses.replace(job.config, plan=plan))
        for job in jobs(tmp_path, seeds=2)
    ]
    seen = []

    class Launcher(FakeLauncher):
        def start(self, *arguments: Any) -> Any:
            seen.append(read_study(tmp_path / "multirun/mine")["plan"])
            return super().start(*arguments)

    assert drive(Sweep(asked, [], 0, lambda cells, width: Launcher(1))) == 0
    assert seen[0]["content"]["primary"] == [["cross_attn", "concat"]]
    assert seen[0]["runs_done_before"] == 0
    assert len(seen[0]["digest"]) == len(seen[0]["training_code"]) == 64
    left_out = "the plan of mine has seeds that this command does not train: 2, 3, 4, 5, 6, 7, 8, 9"
    assert left_out in capsys.readouterr().out.splitlines()


def test_milestones() -> None:
    plan = PLAN | {"milestones": [500_000]}
    early = (Evaluation("policy", "500000", "sample", 500, "", games(50)),)
    records = [dataclasses.replace(r, evaluations=(*early, *r.evaluations)) for r in two(plan=plan)]
    half, whole = said(records, plan).outcomes
    assert (half.family, whole.family) == (2, 2)
    assert half.measure == "score (games of 500 steps) after 500,000 of 1,000,000 env steps"
    assert whole.measure == "score (games of 500 steps) at a budget of 1,000,000 env steps"
    assert half.difference is not None
    assert half.difference.mean == 0
    assert whole.verdict == "better"
    assert [o.at for o in said(records, plan, Asked(at=500_000)).outcomes] == [500_000]
    lost = said(two(plan=plan), plan).outcomes[0]
    assert lost.verdict is None
    assert "lack held-out games of 500 steps after 500,000 env steps" in lost.sentence
    assert " after 500,000 of 1,000,000 env steps: " in lost.sentence
    (remedy,) = lost.remedies
    assert remedy.startswith("weights after 500,000 env steps were not kept; to train again and keep them: ")
    assert remedy.endswith("'eval.milestones=[500000]' paths.study=mine_milestones")
    unplayed = two(plan=plan)
    for r in unplayed:
        r.config["eval"]["milestones"] = [500_000]
    weak = [
        dataclasses.replace(
            r, evaluations=(Evaluation("policy", "500000", "sample", 500, "", games(9)), *r.evaluations)
        )
        for r in two(plan=plan)
    ]
    assert not [
        note for note in said(weak, plan).notes if note.startswith("warning")
    ]  # at the end they are good
    (remedy,) = said(unplayed, plan).outcomes[0].remedies
    assert remedy == "to play missing games: python -m tedg.evaluate multirun/mine --at 500000 --cap 500"
    with pytest.raises(
        ConfigError, match="--at 2000000: no run has so many env steps, the longest has 1,000"
    ):
        said(records, plan, Asked(at=2_000_000))
