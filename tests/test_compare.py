"""What a comparison says of a study: its figures, its verdicts, and what it refuses to say."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from support.records import CONFIG, FUSIONS, arm, games, record, write
from support.sweeps import FakeLauncher, jobs

from tedg.compare import same
from tedg.compare.__main__ import run
from tedg.compare.find import Study, find, plan_of
from tedg.compare.judging import compare
from tedg.compare.questions import Asked
from tedg.compare.report import Outcome, Report
from tedg.config.compose import compose
from tedg.config.plan import PlanConfig
from tedg.config.typed import Faults, read
from tedg.errors import ConfigError
from tedg.statistics import aggregates, power
from tedg.store.record import Evaluation, RunRecord
from tedg.store.study import keep_plan, read_study
from tedg.sweep.drive import Sweep
from tedg.sweep.drive import sweep as drive

SPREAD = np.array([-3.0, 1, 4, -2, 2, -1, 3, -4, 0.5, -0.5])  # sum 0
BASE = 80 + 5 * np.cos(np.arange(10.0))
PLAN: dict[str, Any] = {
    "question": "Does attention help?",
    "by": "fusion",
    "primary": [["cross_attn", "concat"]],
    "seeds": list(range(10)),
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What decides nothing takes most of the time: test_aggregates.py and test_verdict.py look at it."""
    monkeypatch.setattr(aggregates, "RESAMPLES", 100)
    monkeypatch.setattr(power, "_FEW_PAIRS", 1)
    yield
    for cached in (power.minimal_effect, power.pairs_needed):
        cached.cache_clear()


def two(more: float = 5, plan: Any = PLAN, **changes: Any) -> list[RunRecord]:
    """Ten pairs of V3 and V4, of which V4 scores `more`; `changes` are V4's."""
    return arm("concat", BASE, plan=plan) + arm("cross_attn", BASE + SPREAD + more, plan=plan, **changes)


def said(records: Sequence[RunRecord], plan: Any = PLAN, asked: Asked | None = None, **more: Any) -> Report:
    planned = None if plan is None else read(PlanConfig, plan, "plan", Faults())
    return compare(
        Study("mine", "multirun/mine", tuple(records), plan=planned, **more), asked or Asked(by="fusion")
    )


def one(records: Sequence[RunRecord], plan: Any = PLAN, asked: Asked | None = None) -> Outcome:
    (outcome,) = said(records, plan, asked).outcomes
    return outcome


def only(records: Sequence[RunRecord], *seeds: int, fusion: str = "cross_attn") -> list[RunRecord]:
    """Without the other seeds of this arm."""
    return [r for r in records if r.options["fusion"] != fusion or r.seed in seeds]


def changed(records: Sequence[RunRecord], seed: int, **fields: Any) -> list[RunRecord]:
    """With these fields in V4's run of this seed."""
    return [
        dataclasses.replace(r, **fields) if (r.options["fusion"], r.seed) == ("cross_attn", seed) else r
        for r in records
    ]


def test_verdicts() -> None:
    assert one(two(5)).verdict == "better"
    assert one(two(-5)).verdict == "worse"
    assert one(two(0)).verdict == "inconclusive"
    assert one(two(0), PLAN | {"delta": 8}).verdict == "equivalent"
    better = one(two(5)).sentence
    assert better.startswith(
        "cross_attn is better than concat in score (games of 500 steps) at a budget of 1,000,000 env steps: "
        "difference +5 over 10 paired seeds ("
    )
    assert "more seeds, " in one(two(0)).sentence
    assert "hours at the measured speed" in one(two(0)).sentence


def test_figures_are_those_of_a_script_that_knows_nothing_of_tedg(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(3)
    plan = PLAN | {"primary": [["cross_attn", "concat"], ["concat_matched", "concat"]]}
    records = [
        r
        for fusion, shift in (("concat", 0), ("cross_attn", 9), ("concat_matched", 3))
        for r in arm(fusion, 80 + shift + 10 * rng.standard_normal(10), plan=plan)
    ]
    write(tmp_path / "multirun/mine", records)
    file = tmp_path / "out.json"
    assert run(["mine", "--root", f"{tmp_path}/multirun", "--json", str(file)]) == 0
    printed = capsys.readouterr().out

    scores: dict[str, dict[int, float]] = {}
    ends: dict[str, dict[int, float]] = {}
    for path in tmp_path.glob("multirun/mine/*/record.json"):
        node = json.loads(path.read_text())
        (own,) = [e for e in node["evaluations"] if e["player"] == "policy"]
        column = own["columns"].index("score")
        mean = sum(game[column] for game in own["games"]) / len(own["games"])
        scores.setdefault(node["options"]["fusion"], {})[node["seed"]] = mean
        x, y = node["curve"]["env_steps"], node["curve"]["mean_score"]
        area = sum((x[i + 1] - x[i]) * (y[i] + y[i + 1]) / 2 for i in range(len(x) - 1)) / (x[-1] - x[0])
        ends.setdefault(node["options"]["fusion"], {})[node["seed"]] = area
    p = {}
    outcomes = {found["variant"]: found for found in json.loads(file.read_text())["outcomes"]}
    for name, found in outcomes.items():
        d = [scores[name][seed] - scores["concat"][seed] for seed in range(10)]
        signed = [
            abs(sum(s * v for s, v in zip(signs, d, strict=True)))
            for signs in itertools.product((1, -1), repeat=10)
        ]
        p[name] = sum(value >= abs(sum(d)) - 1e-9 for value in signed) / 1024
        mean, half = sum(d) / 10, stats.t.ppf(0.975, 9) * np.std(d, ddof=1) / 10**0.5
        own = found["difference"]
        assert [own["mean"], own["low"], own["high"]] == pytest.approx([mean, mean - half, mean + half])
        assert found["p"] == pytest.approx(p[name])
        middle = [np.mean(sorted(scores[arm].values())[2:-2]) for arm in (name, "concat")]
        trimmed = [stats.trim_mean(list(scores[arm].values()), 0.25) for arm in (name, "concat")]
        assert middle == pytest.approx(trimmed)
        assert found["iqm_difference"]["value"] == pytest.approx(middle[0] - middle[1])
        above = [x > y for x in scores[name].values() for y in scores["concat"].values()]
        assert found["improvement"]["value"] == pytest.approx(np.mean(above))
        curve = [ends[name][seed] - ends["concat"][seed] for seed in range(10)]
        assert found["curves"]["area"]["mean"] == pytest.approx(np.mean(curve))
        assert f"{mean:.1f} [{mean - half:.1f}, {mean + half:.1f}]" in printed
    first, second = sorted(p, key=p.__getitem__)
    assert outcomes[first]["p_holm"] == pytest.approx(2 * p[first])
    assert outcomes[second]["p_holm"] == pytest.approx(max(2 * p[first], p[second]))


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
        "1 runs)",
    ),
    "games not played": (
        changed(two(), 3, evaluations=(Evaluation("policy", "last", "sample", 5000, "", games(90)),)),
        PLAN,
        "of 1 runs of cross_attn (seed 3) held-out games of 500 steps were not played; they are by: "
        "python -m tedg.evaluate multirun/mine --cap 500",
    ),
    "another player's weights": (
        changed(two(), 3, evaluations=(Evaluation("policy", "best", "sample", 500, "", games(90)),)),
        PLAN,
        "held-out games of 500 steps were not played",
    ),
    "diverged": (
        changed(two(), 3, status="diverged", evaluations=()),
        PLAN,
        "1 run of cross_attn diverged (seed 3), and leaving their pairs out would choose by the outcome",
    ),
    "missing arm": (
        [r for r in two() if r.options["fusion"] == "concat"] + arm("concat_matched", BASE, plan=PLAN),
        PLAN,
        "no run of cross_attn has ended (there are concat, concat_matched)",
    ),
    "twice": (
        [*two(), record("cross_attn", 3, 9, run_id="an0ther", config=CONFIG | {"ppo": {"gamma": 0.9}})],
        PLAN | {"seeds": list(range(10))},
        "cross_attn has several runs of seed 3 (",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_study_has_its_sentence_and_no_verdict(case: str) -> None:
    records, plan, sentence = REFUSED[case]
    if case == "twice":
        records[-1].config["fusion"] = FUSIONS["cross_attn"]
    outcome = one(records, plan)
    assert outcome.verdict is None
    assert outcome.sentence.startswith("No verdict on cross_attn against concat")
    assert sentence in outcome.sentence


def test_a_plan_may_allow_what_is_refused_otherwise() -> None:
    plan = PLAN | {"allow": ["device", "precision", "code"]}
    records = changed(two(plan=plan), 3, device="cuda", precision="bfloat16", training_code="0ther")
    assert one(records, plan).verdict == "better"


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
    without = only(two(plan=None), *range(8))
    with pytest.raises(ConfigError, match="2 runs of mine are not finished: cell 8"):
        said(without, None, unfinished=("cell 8 (running)", "cell 9 (queued)"))
    ended = one(without, None)  # nothing is known of more runs
    assert ended.verdict == "better"
    assert "seeds 8, 9 of cross_attn are missing, so their pairs are left out" in ended.notes


def test_anytime_takes_the_finished_beginning_of_the_plans_seeds() -> None:
    plan = PLAN | {"stop": "anytime", "seeds": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]}
    outcome = one(only(two(40, plan), 9, 8, 7, 6, 5, 4, 2, 1, 0), plan)
    assert outcome.seeds == (9, 8, 7, 6, 5, 4)
    assert outcome.verdict is not None
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
    plan, code, notes = plan_of(read_study(tmp_path), two())
    assert plan is not None
    assert (plan.alpha, code) == (0.05, "7ea1")
    assert len(notes) == 1
    assert notes[0].endswith("(alpha); the first one counts")
    assert plan_of({}, two())[0] == plan  # kept runs carry it
    carried = two() + arm("concat_matched", BASE, plan=PLAN | {"alpha": 0.2})
    assert plan_of({}, carried)[2] == ["the runs carry 2 different plans (in alpha), so none counts"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            {"seeds": [0, 1, 2, 3, 4]},
            "plan.primary: 5 seeds can never decide a contrast at alpha 0.05: the least p is 2/2^5 = 0.062, "
            "needed 0.05; at least 6 seeds, or fewer contrasts",
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


def test_a_sweep_writes_its_plan_down_before_it_trains(tmp_path: Path) -> None:
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
    assert "no weights of env step 500,000 were kept" in lost.sentence
    assert " after 500,000 of 1,000,000 env steps: " in lost.sentence
    assert "'eval.milestones=[500000]'" in lost.sentence
    unplayed = two(plan=plan)
    for r in unplayed:
        r.config["eval"]["milestones"] = [500_000]
    sentence = said(unplayed, plan).outcomes[0].sentence
    assert "python -m tedg.evaluate multirun/mine --at 500000 --cap 500" in sentence


def alive(**figures: Any) -> dict[str, Any]:
    return {**record("cross_attn", 0, 1).liveness, **{k.replace("__", "/"): v for k, v in figures.items()}}


DEAD: dict[str, tuple[dict[str, Any], str]] = {
    "one token": (
        alive(attention__keys=1.0, attention__promised_keys=1, attention__variation=0.0),
        "attention of cross_attn is dead: attention over one key is the constant 1 (10 of 10 runs: ",
    ),
    "W_Q": (alive(gradient__W_Q=0.0), "the gradient of W_Q is exactly 0"),
    "W_K": (alive(gradient__W_K=0.0), "the gradient of W_K is exactly 0"),
    "blind": (alive(attention__variation=0.0), "attention is the same in all states"),
    "logic of zeros": (alive(influence__logic=0.0), "logic of cross_attn is dead: exchanging its inputs"),
    "constant vision": (alive(influence__vision=0.0), "vision of cross_attn is dead: exchanging its inputs"),
}


@pytest.mark.parametrize("case", DEAD)
def test_a_part_that_is_dead_in_all_runs_makes_its_contrast_void(case: str) -> None:
    figures, reason = DEAD[case]
    outcome = one(two(liveness=figures))
    assert outcome.verdict == "void"
    assert outcome.sentence.startswith("The comparison is void, cross_attn against concat")
    assert reason in outcome.sentence
    assert record("cross_attn", 0, 1).run_id in outcome.sentence
    some = one(changed(changed(two(), 3, liveness=figures), 4, liveness=figures))
    assert some.verdict == "better"
    assert "inactive in 2 of 10 seeds" in " ".join(some.liveness)


def test_alpha_stored_wrong_is_void() -> None:
    outcome = one(changed(two(), 3, max_log_ratio=2e-5))
    assert outcome.verdict == "void"
    assert "|log ratio| is up to 2e-05 before the first step" in outcome.sentence
    assert one(changed(two(), 3, max_log_ratio=9e-6)).verdict == "better"


def by_arm(figures: dict[str, dict[str, Any]], **config: dict[str, Any]) -> Outcome:
    """Two arms of V4 that differ in `config`, which is of the variant, `new`; the other is `old`."""
    records = []
    for name, shift in (("old", 0.0), ("new", 5.0)):
        for r in arm("cross_attn", BASE + (SPREAD + shift if shift else 0), plan=None):
            own = r.config | (config if name == "new" else {})
            options = {**r.options, "arm": name}
            live = {**r.liveness, **figures.get(name, {})}
            records.append(
                dataclasses.replace(r, run_id=name + r.run_id, config=own, options=options, liveness=live)
            )
    return one(records, None, Asked(by="arm", baseline="old"))


def test_a_frozen_router_is_void_only_where_the_router_is_the_contrast() -> None:
    frozen = {"old": {"gradient/router": 0.0}}
    uniform = {"_target_": "tedg.models.routing.Uniform"}
    outcome = by_arm(frozen, routing=uniform)
    assert outcome.verdict == "void"
    assert "router of old is dead" in outcome.sentence
    assert (
        by_arm({"new": {"gradient/router": 0.0}}, routing=uniform).verdict == "better"
    )  # has none on purpose
    assert by_arm(frozen, logic={"_target_": "tedg.models.logic.NoLogic"}).verdict == "better"
    narrow = {**FUSIONS["cross_attn"], "gate": {**FUSIONS["cross_attn"]["gate"], "keep": 0.1}}
    assert by_arm(frozen, fusion=narrow).verdict == "better"
    sparse = {"_target_": "tedg.models.routing.Sparsemax"}
    learned = by_arm({"new": {"gradient/router": 0.0}}, routing=sparse)  # one-hot rows pass no gradient
    assert learned.verdict == "better"
    assert "router of new is inactive in 10 of 10 seeds" in learned.liveness[0]


def test_a_gate_that_keeps_every_key_is_void_where_the_gate_is_the_contrast() -> None:
    everything = {"attention/kept_keys": 122.0, "attention/promised_keys": 122}
    whole = {
        "_target_": FUSIONS["cross_attn"]["_target_"],
        "gate": {**FUSIONS["cross_attn"]["gate"], "keep": 1.0},
    }
    outcome = by_arm({"new": everything}, fusion=whole)
    assert outcome.verdict == "void"
    assert "gate of new is dead: it keeps every key" in outcome.sentence
    assert (
        by_arm({"old": everything}, fusion={**whole, "gate": {**whole["gate"], "keep": 0.5}}).verdict
        == "better"
    )
    broken = by_arm({"old": {"attention/kept_keys": 122.0}}, fusion=FUSIONS["cross_attn_dense"])
    assert broken.verdict == "void"
    assert "it was to drop keys and dropped none" in broken.sentence
    # gate_sweep's 1.0 arm against V3, where attention is the contrast.
    v4 = two(liveness=alive(**{k.replace("/", "__"): v for k, v in everything.items()}))
    for r in v4[10:]:
        r.config["fusion"]["gate"]["keep"] = 1.0
    assert one(v4).verdict == "better"


def test_figures_that_are_missing_are_unknown_and_not_dead() -> None:
    outcome = one(two(liveness={"missing": "the held-out games gave one state"}))
    assert outcome.verdict == "better"
    told = "whether the parts of cross_attn were alive is not known of 10 of 10 runs"
    assert f"{told}: the held-out games gave one state" in outcome.liveness
    zeros = two(liveness=alive(influence__logic=0.0, influence__vision=0.0, attention__variation=0.0))
    for r in zeros[10:]:
        r.config["eval"]["games"] = 0  # an earlier version compared one state with itself
    assert one(zeros).verdict == "better"


def test_what_stands_beside() -> None:
    report = said(two())
    assert [(c.player, round(c.mean.value)) for c in report.controls] == [
        ("random", 8), ("random_legal", 20), ("script", 52)
    ]  # fmt: skip
    assert [(a.name, a.parameters, a.steps_per_second) for a in report.arms] == [
        ("concat", 1_087_537, pytest.approx(1e6 / 1800)),
        ("cross_attn", 542_241, pytest.approx(1e6 / 1800)),
    ]
    assert [note.split()[0] for note in report.notes] == ["concat_matched", "concat_tokens"]
    assert report.outcomes[0].outlook is not None
    assert report.outcomes[0].outlook.points > 0
    weak = said(arm("concat", BASE - 50, plan=PLAN) + arm("cross_attn", BASE, plan=PLAN)).notes
    assert any(
        note.startswith("warning: concat (30.2) is not shown to be above script (52.0)") for note in weak
    )
    assert not any(note.startswith("warning: cross_attn") for note in weak)


def test_arms_that_differ_in_more_are_said() -> None:
    records = two()
    for r in records[10:]:
        r.config["ppo"] = {"gamma": 0.9}
    assert "the arms also differ in ppo.gamma" in one(records).notes
    assert not one(two()).notes


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(same, "resplit", partial(same.resplit, times=500))
    root = ["--root", f"{tmp_path}/multirun", "--experiments", f"{tmp_path}/experiments"]
    write(tmp_path / "experiments/kept/runs", two())
    write(tmp_path / "multirun/many", arm("concat", 50 + 9 * np.sin(np.arange(20.0))))
    assert run(["kept", *root]) == 0
    assert "primary: cross_attn is better than concat" in capsys.readouterr().out
    assert run([f"{tmp_path}/experiments/kept", *root]) == 0
    assert "primary: cross_attn is better than concat" in capsys.readouterr().out
    assert run(["kept", *root, "--power", "--detect", "2"]) == 0
    assert "cross_attn - concat" in capsys.readouterr().out
    assert run(["many", *root, "--by", "fusion", "--aa", "concat", "--json", f"{tmp_path}/aa.json"]) == 0
    rate = json.loads((tmp_path / "aa.json").read_text())["false_positives"]
    assert rate["studies"] == 500
    assert rate["rate"] < 0.08
    for arguments, told in (
        (["non"], "there is no study non"),
        (["many"], "what are the arms? say --by"),
        (["many", "--by", "fusoin"], "have no such group or key; did you mean fusion?"),
        (["many", "--by", "fusion"], "there is one arm only, concat"),
        (["kept", "--baseline", "cross"], "--baseline cross: no run has it; did you mean cross_attn?"),
        (["kept", "--metric", "scor"], "--metric scor: must be one of score, return, length, depth"),
        (["kept", "--aa", "concat"], "10 runs with these games cannot be split"),
        (["kept", "--power"], "--detect POINTS"),
    ):
        assert run([arguments[0], *root, *arguments[1:]]) == 2
        assert told in capsys.readouterr().err


def test_cells_without_a_result_are_unfinished_and_runs_without_a_record_are_said(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write(folder, two())
    first = next(folder.glob("concat-s0-*"))
    (first / "record.json").unlink()
    begun = folder / "concat-s10-0123456789"
    begun.mkdir()
    (begun / "config.yaml").write_text("eval: {}")
    (begun / "provenance.json").write_text("{}")
    study = find(tmp_path, "mine", tmp_path / "experiments")
    assert len(study.records) == 19
    assert study.unfinished == ("concat-s10-0123456789 (stopped)",)
    assert study.notes[0].startswith("a run is left out: ")
    assert first.name in study.notes[0]


def test_runs_of_an_earlier_version_go_by_the_classes_of_their_parts() -> None:
    (outcome,) = said(
        [dataclasses.replace(r, options={}) for r in two(plan=None)], None, Asked(baseline="ConcatFusion")
    ).outcomes
    assert outcome.variant == "CrossAttentionFusion"
    assert outcome.verdict == "better"
