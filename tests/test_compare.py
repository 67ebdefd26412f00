"""What a comparison says of a study: its verdicts, and the figures beside them."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from support.comparing import BASE, PLAN, one, said, two
from support.records import arm, games, record, write

from tedg.compare.__main__ import run
from tedg.compare.questions import Asked
from tedg.compare.text import lines
from tedg.store.record import Evaluation

pytestmark = pytest.mark.usefixtures("quick_figures")
AT_HALF = Asked(at=500_000)


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
    assert "; a new study of " in one(two(0)).sentence
    same = one(arm("concat", BASE, plan=PLAN) + arm("cross_attn", BASE, plan=PLAN))
    assert (same.verdict, same.p) == ("inconclusive", 1)
    assert same.sentence.endswith(
        "exact sign-flip p = 1); the pairs have no spread to reckon more seeds from."
    )
    exploratory = next(line for line in lines(said(two(plan=None), None)) if "better" in line)
    assert exploratory.startswith("Exploratory: cross_attn is better")
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


def test_curves_are_those_of_the_metric_up_to_the_milestone() -> None:
    half = tuple(
        dataclasses.replace(r, evaluations=(Evaluation("policy", "500000", "sample", 500, "", games(50)),))
        for r in two(plan=None)
    )
    whole, part = (one(records, None, asked).curves for records, asked in ((two(), Asked()), (half, AT_HALF)))
    assert whole is not None
    assert part is not None
    assert (whole.last, part.last) == (1_000_000, 500_000)
    assert part.area.mean < whole.area.mean
    returns = one(two(plan=None), None, Asked(metric="return")).curves
    assert returns is not None
    assert returns.area.mean == 0
    assert one(two(plan=None), None, Asked(metric="depth")).curves is None


def test_arms_are_shown_by_the_runs_that_count() -> None:
    seven = PLAN | {"seeds": list(range(7))}
    assert [len(a.seeds) for a in said(two(plan=seven), seven).arms] == [7, 7]
    double = [*two(), record("cross_attn", 3, 90, run_id="an0ther", plan=PLAN)]
    assert any(line.startswith("cross_attn    11 runs ") for line in lines(said(double)))


def test_scores_below_zero_have_their_mean() -> None:
    sad = [
        dataclasses.replace(
            r, evaluations=(*r.evaluations[:1], Evaluation("random", "", "", 500, None, games(-9)))
        )
        for r in two()
    ]
    assert said(sad).controls[0].mean.value == pytest.approx(-9)


def test_lines_fit_a_narrow_terminal() -> None:
    told = two(0, PLAN | {"metric": "return"})
    for width in (40, 80):
        report = list(lines(said(told), width))
        # A table's first two columns, and words, stay whole.
        assert max(map(len, report)) <= max(width, 50)
        assert " ".join(" ".join(report).split()).count("a new study of ") == 1
    assert [line.split() for line in report if line.startswith("contrast ")][-1][-1] == "rho"
    remedy = "to play missing games: " + "x" * 90
    report = said(told)
    outcome = dataclasses.replace(report.outcomes[0], remedies=(remedy,))
    twice = dataclasses.replace(report, outcomes=(outcome, outcome))
    assert list(lines(twice, 40)).count(remedy) == 1


def test_arms_that_differ_in_more_are_said() -> None:
    records = two()
    for r in records[10:]:
        r.config["ppo"] = {"gamma": 0.9}
    assert "the arms also differ in ppo.gamma" in one(records).notes
    mixed = two()
    for r in mixed[5:15]:
        r.config["ppo"] = {"gamma": 0.9 if r.seed > 4 else 0.995}
    for r in (mixed[3], mixed[13]):
        r.config["ppo"] = {"gamma": 0.9}
    assert one(mixed).notes == (
        "runs of concat differ from each other in ppo.gamma",
        "runs of cross_attn differ from each other in ppo.gamma",
        "the arms also differ in ppo.gamma",
    )
    assert not one(two()).notes


def test_runs_of_an_earlier_version_go_by_the_classes_of_their_parts() -> None:
    (outcome,) = said(
        [dataclasses.replace(r, options={}) for r in two(plan=None)], None, Asked(baseline="ConcatFusion")
    ).outcomes
    assert outcome.variant == "CrossAttentionFusion"
    assert outcome.verdict == "better"
