"""The check after a run: every line on constructed records, then whole runs on the toy environment."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support.settings import CHECKED, FASTEST, TINY
from support.stand_ins import FakeTraining, Lines

from tedg.config.compose import Composed, compose
from tedg.config.run_config import RunConfig
from tedg.errors import CheckFailed, DivergedError
from tedg.run import app
from tedg.run.identity import run_id
from tedg.watch.evidence import Evidence
from tedg.watch.health import Line, judge
from tedg.watch.trends import Sample, difference, first_and_last_games, trend

Compose = Callable[..., Composed]
UPDATES = 12
KEYS, KEPT = 50, 15  # what topk at 0.3 keeps of 50
GOOD: dict[str, Any] = {
    "stage": "warmup",
    "gradient/norm": 2.0,
    "train/initial_log_ratio": 1e-8,
    "router/entropy": 1.3,
    "router/usage_entropy": 1.38,
    "policy/entropy": 2.5,
    "attention/sparsity": 1 - KEPT / KEYS,
    "attention/effective_keys": 12.0,
    **{f"router/usage_{k}": 0.25 for k in range(4)},
}
LIVE = {"attention/keys": float(KEYS), "influence/vision": 0.2, "influence/logic": 0.0}
PROMISED = {"fusion=cross_attn_dense": KEYS, "fusion/gate=entmax": None}  # by the override; else KEPT


@cache
def config(*overrides: str) -> RunConfig:
    composed = compose(
        ["+experiment=check", "env=fake", "env.num_envs=4", "env.max_episode_steps=10", *overrides]
    )
    return replace(composed.config, device="cuda")  # so that there is another device to try


def games(scores: Sequence[float], length: int = 10) -> list[dict[str, Any]]:
    """Full-length games of four environments, one after the other."""
    return [{"env": i % 4, "length": length, "score": score} for i, score in enumerate(scores)]


def player(mean: float, error: float | None = 1.0) -> dict[str, Any]:
    return {"games": 50, "mean_score": mean, "standard_error": error}


def records(
    *overrides: str,
    changed: Mapping[str, Any] | None = None,
    series: Mapping[str, Sequence[Any]] | None = None,
    result: Mapping[str, Any] | None = None,
    scores: Sequence[float] = (*[1.0, 2.0] * 10, *[1.0, 9.0] * 10, *[8.0, 9.0] * 10),
) -> Evidence:
    """A healthy run; `changed` holds in every update, `series` has one value for each update."""
    falling = [2.0 - i / UPDATES for i in range(UPDATES)]
    moving = {"loss/value": falling, "loss/total": falling, "train/explained_variance": falling[::-1]}
    moving |= series or {}
    count = max(map(len, (series or {"": falling}).values()))
    rows = [
        {**GOOD, **(changed or {}), **{name: values[i] for name, values in moving.items()}}
        for i in range(count)
    ]
    promised = next((kept for override, kept in PROMISED.items() if override in overrides), KEPT)
    values = {
        "status": "finished",
        "updates": count,
        "rollbacks": 0,
        "env_steps": 10 * len(scores),
        "num_actions": 23,
        "liveness": {**LIVE, "attention/promised_keys": promised},
        "evaluation": {"policy": player(10.0), "random_legal": player(5.0)},
        **(result or {}),
    }
    return Evidence(config(*overrides), rows, games(scores), values)


def line(name: str, of: Evidence) -> Line:
    assert of.config.check is not None
    (found,) = [line for line in judge(of, of.config.check).lines if line.name.startswith(name)]
    return found


def failing(of: Evidence) -> set[str]:
    assert of.config.check is not None
    return {line.name for line in judge(of, of.config.check).lines if line.verdict == "fail"}


def test_a_healthy_run_passes_every_line() -> None:
    healthy = records()
    assert healthy.config.check is not None
    report = judge(healthy, healthy.config.check)
    assert [line.verdict for line in report.lines] == ["pass"] * 13
    assert not any(line.remedy for line in report.lines)
    assert list(report.text())[-1] == "13 pass, 0 fail, 0 inconclusive, 0 not applicable"


@pytest.mark.parametrize(
    ("name", "bad", "remedy"),
    [
        ("no NaN", {"result": {"rollbacks": 1}}, "stage.learning_rate="),
        ("no NaN", {"changed": {"gradient/norm": None}}, "stage.learning_rate="),
        ("no NaN", {"result": {"status": "diverged"}}, "stage.learning_rate="),
        ("gradient norm", {"changed": {"gradient/norm": 10.0}}, "stage.learning_rate="),
        ("ratio 1", {"series": {"train/initial_log_ratio": [0.0] * 11 + [2e-5]}}, "device=cpu"),
        ("every expert", {"changed": {"router/usage_2": 0.019}}, "stage.load_balance_coef=0.05"),
        ("router entropy", {"changed": {"router/entropy": 0.06}}, "stage.alpha_entropy_coef=[0.2,0.2]"),
        ("policy entropy", {"changed": {"policy/entropy": 0.3}}, "stage.entropy_coef="),
        ("attention sparsity", {"changed": {"attention/sparsity": 0.98}}, "fusion.gate.keep=0.5"),
        ("effective keys", {"changed": {"attention/effective_keys": 1.01}}, "stage.learning_rate="),
        (
            "policy reads",
            {"result": {"liveness": {**LIVE, "influence/vision": 0.0005}}},
            "stage.learning_rate=",
        ),
        (
            "score",
            {"result": {"evaluation": {"policy": player(1.0), "random_legal": player(5.0)}}},
            "stage.learning_rate=",
        ),
    ],
)
def test_one_bad_figure_fails_its_line_alone_and_names_an_override(
    name: str, bad: dict[str, Any], remedy: str
) -> None:
    sick = records(**bad)
    assert line(name, sick).verdict == "fail"
    assert f"try {remedy}" in str(line(name, sick).remedy)
    assert failing(sick) - failing(records()) == {line(name, sick).name}


@pytest.mark.parametrize(
    ("name", "key", "border"),
    [
        ("router entropy", "router/entropy", math.log(4)),
        ("policy entropy", "policy/entropy", math.log(23)),
        ("effective keys", "attention/effective_keys", KEPT),
    ],
)
def test_what_arithmetic_forbids_fails_in_a_single_update(name: str, key: str, border: float) -> None:
    good = [GOOD[key]] * (UPDATES - 1)
    assert line(name, records(series={key: [border, *good]})).verdict == "pass"
    broken = line(name, records(series={key: [border * 1.01, *good]}))
    assert broken.verdict == "fail"
    assert "tedg.smoke" in str(broken.remedy)


def test_a_gate_that_drops_less_than_it_promises_fails() -> None:
    broken = line("attention sparsity", records(changed={"attention/sparsity": 0.69}))
    assert broken.verdict == "fail"
    assert "tedg.smoke" in str(broken.remedy)


def test_figures_that_recover_pass() -> None:
    early = [0.0] * 4
    for name, key in (("router entropy", "router/entropy"), ("every expert", "router/usage_1")):
        assert line(name, records(series={key: early + [GOOD[key]] * 8})).verdict == "pass"
    assert line("gradient", records(series={"gradient/norm": [99.0] * 4 + [2.0] * 8})).verdict == "pass"
    assert (
        line("gradient", records(series={"gradient/norm": [2.0] * 4 + [99.0] + [2.0] * 7})).verdict == "fail"
    )


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.5, 0.6, 0.4, 50.0, 1, 1, 1, 1, 0.1, 0.2, 0.1, 0.15], "pass"),  # one rare reward decides nothing
        ([0.5, 0.6, 0.4, 0.5, 1, 1, 1, 1, 0.5, 0.4, 0.6, 50.0], "inconclusive"),
        ([0.5, 0.6, 0.4, 0.5, 1, 1, 1, 1, 0.8, 0.7, 0.9, 0.8], "inconclusive"),  # a rise, but not a doubling
        ([0.5, 0.6, 0.4, 0.5, 1, 1, 1, 1, 1.8, 1.7, 1.9, 1.8], "fail"),
        ([0.5] * 12, "inconclusive"),
        ([0.5, 0.1], "inconclusive"),
        ([None, 0.5, None, 0.6, 0.4, 1, 1, 1, 0.1, 0.2, 0.15], "pass"),
    ],
)
def test_the_loss(values: list[float | None], verdict: str) -> None:
    flat = {"evaluation": {}}
    of = records(series={"loss/value": values, "loss/total": values}, result=flat, scores=[1.0] * 60)
    assert line("value loss", of).verdict == verdict
    assert line("total loss", of).verdict == verdict


def test_a_loss_that_rises_with_the_score_is_no_fault() -> None:
    rising = [0.1 * 2**i for i in range(UPDATES)]
    assert line("value loss", records(series={"loss/value": rising})).verdict == "inconclusive"


def test_a_total_with_changing_weights_says_nothing() -> None:
    transition = records("stage=transition", changed={"stage": "transition"})
    assert line("total loss", transition).verdict == "not applicable"
    stages = ["warmup"] * 4 + ["transition"] * 4 + ["finetune"] * 4
    assert (
        line("total loss", records("stage=curriculum", series={"stage": stages})).verdict == "not applicable"
    )


def test_remedies_name_the_stage_of_a_curriculum_and_its_own_learning_rate() -> None:
    stages = ["warmup"] * 6 + ["transition"] * 6
    overrides = ("stage=curriculum", "stage.phases.transition.learning_rate=0.5")
    sick = records(*overrides, series={"stage": stages}, changed={"gradient/norm": 11.0})
    assert line("gradient", sick).remedy == "try stage.phases.transition.learning_rate=0.25 (now 0.5)"


def test_a_stage_that_minimises_the_routers_entropy_may_have_none() -> None:
    settled = {"stage": "finetune", "router/entropy": 0.0}
    assert line("router entropy", records("stage=finetune", changed=settled)).verdict == "pass"


def test_what_a_run_does_not_have_is_not_judged() -> None:
    names = ("attention sparsity", "effective keys")
    no_attention = {name: None for name in GOOD if name.startswith("attention/")}
    concat = records("fusion=concat", changed=no_attention)
    assert {line(name, concat).verdict for name in names} == {"not applicable"}
    dense = records(
        "fusion=cross_attn_dense", changed={"attention/sparsity": 0.2, "attention/effective_keys": 40.0}
    )
    assert [line(name, dense).verdict for name in names] == ["not applicable", "pass"]
    one = records(changed={f"router/usage_{k}": None for k in range(1, 4)})
    rows = [{name: value for name, value in row.items() if value is not None} for row in one.rows]
    alone = replace(one, rows=rows)
    assert {line(name, alone).verdict for name in ("every expert", "router entropy")} == {"not applicable"}


def test_attention_over_one_key_fails_wherever_a_gate_is_configured() -> None:
    blind = line("effective keys", records(result={"liveness": {"attention/keys": 1.0}}))
    assert (blind.verdict, blind.remedy) == ("fail", "try vision=glyph")


def test_a_gate_that_lets_the_scores_decide_may_keep_any_number() -> None:
    for sparsity in (0.0, 0.9):
        of = records(
            "fusion/gate=entmax", changed={"attention/sparsity": sparsity, "attention/effective_keys": 2.0}
        )
        assert line("attention sparsity", of).verdict == "pass"
        assert line("effective keys", of).verdict == "pass"


@pytest.mark.parametrize(
    ("scores", "policy", "verdict"),
    [
        ([1.0, 2.0] * 30, 5.0, "inconclusive"),
        ([1.0, 2.0] * 30, 10.0, "pass"),
        ([1.0, 2.0] * 30, 1.0, "fail"),
        ([1.0, 2.0] * 15 + [8.0, 9.0] * 15, 5.0, "pass"),
        ([8.0, 9.0] * 15 + [1.0, 2.0] * 15, 5.0, "fail"),
        ([8.0, 9.0] * 15 + [1.0, 2.0] * 15, 10.0, "fail"),
    ],
)
def test_the_score(scores: list[float], policy: float, verdict: str) -> None:
    held_out = {"evaluation": {"policy": player(policy), "random_legal": player(5.0)}}
    assert line("score", records(scores=scores, result=held_out)).verdict == verdict


def test_without_games_the_score_cannot_be_told_and_more_are_the_remedy() -> None:
    none = line("score", records(scores=[], result={"evaluation": {"policy": player(9.0, None)}}))
    assert (none.verdict, none.figures, none.remedy) == (
        "inconclusive",
        "too few games",
        "try budget.episodes=300",
    )


def test_games_are_ordered_by_their_start_and_count_if_the_longest_would_have_ended() -> None:
    rows = [
        {"env": 0, "length": 2, "score": 2.0},  # began at 0, and so did the next environment's first
        {"env": 0, "length": 3, "score": 3.0},  # 2
        {"env": 1, "length": 8, "score": 1.0},  # 0, though it ended last of these
        {"env": 0, "length": 7, "score": 4.0},  # 5
        {"env": 1, "length": 4, "score": 5.0},  # 8
        {"env": 0, "length": 6, "score": 6.0},  # 12
        {"env": 1, "length": 1, "score": 7.0},  # 12
        {"env": 1, "length": 1, "score": 99.0},  # 13: a game of ten steps would have been cut off at 22
    ]
    assert first_and_last_games(rows, steps=22, limit=10) == ([2.0, 1.0], [6.0, 7.0])
    assert first_and_last_games(rows, steps=10, limit=10) == ([], [])


def test_trends_and_differences_by_hand() -> None:
    found = trend([30.0, 4.0, 5.0, 9.0, 9.0, 9.0, 1.0, 2.0, -30.0])
    assert found is not None
    assert (found.first, found.last) == (5.0, 1.0)  # medians
    assert found.p_falls == pytest.approx(1 / 20)  # one of the 20 ways to choose three ranks of six
    assert trend([1.0, 2.0]) is None
    gap = difference(Sample(5.0, 3.0, 11), Sample(1.0, 4.0, 21), 0.95)
    freedom = 25**2 / (9**2 / 10 + 16**2 / 20)
    assert gap.mean == 4.0
    assert freedom == pytest.approx(29.9, abs=0.01)
    assert gap.high - gap.mean == pytest.approx(2.0425 * 5, rel=1e-3)  # t quantile of 29.9 degrees of freedom
    assert difference(Sample(1.0, 0.0, 5), Sample(0.0, 0.0, 5), 0.95).low == 1.0


def test_every_remedy_is_an_override_of_a_run() -> None:
    """Whoever follows a remedy meets no misspelt key."""
    idle = {"router/usage_0": 0.0, "router/entropy": 0.0, "policy/entropy": 0.0, "attention/sparsity": 1.0}
    sick = records(
        changed={
            **idle,
            "attention/effective_keys": 1.0,
            "gradient/norm": 99.0,
            "train/initial_log_ratio": 1.0,
        },
        result={"evaluation": {}},
        series={"loss/value": [1.0] * UPDATES},
    )
    assert sick.config.check is not None
    found = [line.remedy for line in judge(sick, sick.config.check).lines if line.remedy]
    overrides = {match[1] for text in found if (match := re.match(r"try (\S+)", text))}
    assert len(overrides) == 7
    for override in overrides:
        compose([override.rstrip(",")])


def test_a_check_is_no_part_of_a_runs_identity() -> None:
    plain, checked = compose([]).config, compose(["check=default", "check.confidence=0.5"]).config
    assert plain.check is None
    assert checked.check is not None
    assert run_id(plain, None) == run_id(checked, None)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """A finished run of a check that passes: its overrides and what it said."""
    place = tmp_path_factory.mktemp("healthy")
    overrides = [*TINY, *CHECKED, *FASTEST, f"paths.output_dir={place}"]
    said = Lines()
    result = app.run(compose(overrides), say=said)
    assert result.values["episodes"] >= 100
    assert said.has("0 fail")
    return overrides, result.run_dir


@pytest.mark.more
def test_a_finished_check_is_shown_again_and_can_be_judged_anew(healthy: tuple[list[str], Path]) -> None:
    overrides, run_dir = healthy
    stored = json.loads((run_dir / "check.json").read_text())
    assert stored["passed"]
    assert stored["lines"][0]["name"] == "no NaN, no rollback"
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
    said, training = Lines(), FakeTraining()
    app.run(compose(overrides), training, said)
    assert said.has(stored["lines"][0]["figures"])
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before
    with pytest.raises(CheckFailed, match="1 of 13 lines") as failed:
        app.run(compose([*overrides, "check.min_expert_share=0.9"]), training, said)
    assert failed.value.exit_code == 5
    assert not json.loads((run_dir / "check.json").read_text())["passed"]
    plain = Lines()
    app.run(compose([*overrides, "check=none"]), training, plain)
    assert not plain.has("inconclusive")
    assert training.calls == []


@pytest.mark.more
def test_the_command_ends_with_the_code_of_a_failed_check(healthy: tuple[list[str], Path]) -> None:
    overrides, run_dir = healthy
    command = [sys.executable, "-m", "tedg.train", *overrides, "check.min_policy_entropy=1"]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=run_dir)
    assert failed.returncode == 5
    assert "FAIL            policy entropy" in failed.stdout
    assert "try stage.entropy_coef=" in failed.stdout
    assert "lines of the check failed" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.more
def test_a_learning_rate_far_too_high_is_found(compose_tiny: Compose) -> None:
    with pytest.raises(CheckFailed) as failed:
        app.run(compose_tiny(*CHECKED, "stage.learning_rate=1"), say=(said := Lines()))
    assert failed.value.exit_code == 5
    assert said.has("FAIL            policy entropy")
    assert said.has("FAIL            effective keys")
    assert said.has("try stage.learning_rate=0.5 (now 1)")


@pytest.mark.more
def test_a_run_that_diverges_is_judged_too_and_keeps_its_own_exit_code(compose_tiny: Compose) -> None:
    composed = compose_tiny(*CHECKED, "stage.learning_rate=1e30")
    for _ in range(2):  # when it happens, and when it is shown again
        with pytest.raises(DivergedError):
            app.run(composed, say=(said := Lines()))
        assert said.has("FAIL            no NaN, no rollback")
        assert not said.has("budget.episodes")
