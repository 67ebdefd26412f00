"""`python -m tedg.evaluate`: which games it plays, with which weights and settings, and what it says."""

from __future__ import annotations

import json
import math
import shlex
import shutil
import signal
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.settings import FASTEST, ON_NETHACK, TINY
from support.stand_ins import Lines

from tedg import evaluate
from tedg.config.compose import compose, compose_all
from tedg.envs.observation import EpisodeEnd
from tedg.envs.seeds import listed_seeds
from tedg.files import read_json, write_json
from tedg.learn import measuring
from tedg.learn.setup import make_env
from tedg.learn.stages import make_schedule
from tedg.models.policy import masked_log_probs
from tedg.run import app
from tedg.run.saved import read_run_config
from tedg.signals import StopFlag
from tedg.store.conditions import Condition, in_words, read_condition
from tedg.store.games import read_games, read_table, write_games
from tedg.store.record import read_record
from tedg.study.played import Row, lines

# Four updates of 64 env steps: warmup until 51, transition until 154, finetune until the end.
SETTINGS = (*TINY, *FASTEST, "stage=curriculum", "budget.env_steps=256", "eval.milestones=[100,200]")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has played the held-out games 500000 and 500001."""
    root = tmp_path_factory.mktemp("trained")
    return app.run(compose([*SETTINGS, f"paths.output_dir={root}/outputs"]), say=Lines()).run_dir


@pytest.fixture
def run_dir(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "outputs" / trained.name))


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The lists of seeds that are played from now on."""
    lists: list[tuple[int, ...]] = []
    original = measuring.listed_seeds

    def listed(seeds: Sequence[int], num_envs: int) -> object:
        lists.append(tuple(seeds))
        return original(seeds, num_envs)

    monkeypatch.setattr(measuring, "listed_seeds", listed)
    return lists


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[dict[str, Any]]:
    assert evaluate.run([*map(str, arguments), "--json"]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert evaluate.run(list(map(str, arguments))) == 2
    return capsys.readouterr().err


def test_only_what_is_missing_is_played(
    run_dir: Path, trained: Path, played: list[tuple[int, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run_dir / "games.csv").read_bytes()
    rows = told(capsys, run_dir, "--games", 4)
    # The policy's first two were played at the end of training, under these very conditions.
    assert played == [(500002, 500003), *[(500000, 500001, 500002, 500003)] * 3]
    assert [(row["player"], row["games"]) for row in rows] == [
        (player, 4) for player in ("policy", "random", "random_legal", "script")
    ]
    assert (run_dir / "games.csv").read_bytes() == before
    games = {**(read_games(run_dir) or {})["policy"], **read_condition(run_dir, Condition(cap=10))[1]}
    mean = sum(game.score for game in games.values()) / 4
    assert (sorted(games), rows[0]["mean_score"]) == ([*range(500000, 500004)], pytest.approx(mean))
    played.clear()
    assert told(capsys, run_dir, "--games", 4) == rows
    assert [row["games"] for row in told(capsys, run_dir, "--games", 3)] == [3] * 4
    assert played == []
    # A game that was lost with its worker is played anew.
    own = read_games(run_dir) or {}
    write_games(
        run_dir, own | {"policy": own["policy"] | {500001: replace(own["policy"][500001], end="lost")}}
    )
    assert told(capsys, run_dir, "--games", 4)[0]["games"] == 4
    assert played == [(500001,)]
    record = read_record(run_dir)
    assert record is not None
    assert "lost" not in {game.end for one in record.evaluations for game in one.games}
    played.clear()
    assert told(capsys, run_dir, "--games", 4) == rows
    write_games(run_dir, own)
    # Another run beside it shares the players without learning, and another cap or mode is another condition.
    other = run_dir.with_name("other-0123456789")
    shutil.copytree(trained, other)
    told(capsys, other, "--games", 4)
    assert played == [(500002, 500003)]
    told(capsys, run_dir, "--games", 2, "--cap", 4)
    told(capsys, run_dir, "--games", 2, "--greedy")
    assert played[1:] == [(500000, 500001)] * 5
    assert {path.name for path in (run_dir / "evaluation").iterdir()} == {
        "last-sample-10.csv",
        "last-sample-4.csv",
        "last-greedy-10.csv",
    }
    record = read_record(run_dir)
    assert record is not None
    counts = {(one.player, one.weights, one.mode, one.cap): len(one.games) for one in record.evaluations}
    assert counts[("policy", "last", "sample", 10)] == counts[("random", "", "", 10)] == 4
    assert counts[("policy", "last", "greedy", 10)] == counts[("script", "", "", 4)] == 2


def test_a_milestone_plays_under_the_settings_of_its_stage(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[measuring.MeasuredPolicy] = []

    class Seen(measuring.MeasuredPolicy):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            made.append(self)

    monkeypatch.setattr(measuring, "MeasuredPolicy", Seen)
    config = read_run_config(run_dir)
    stages, _ = make_schedule(config)
    at, last, best = (
        told(capsys, run_dir, "--games", 3, *how)[0] for how in (("--at", 100), (), ("--best",))
    )
    # The first update at or after 100 env steps ends at 128.
    assert (at["stage"], last["stage"]) == ("transition", "finetune")
    for policy, expected in zip(made, (stages[1].settings(128), stages[2].settings(256)), strict=False):
        assert replace(policy.settings, routing=expected.routing) == expected
        assert type(policy.settings.routing) is type(expected.routing)
    assert made[2].settings.stage == best["stage"]
    assert (at["said"], last["said"]) == (
        "after 100 of 256 env steps",
        "last weights at a budget of 256 env steps",
    )
    assert in_words("last", {"env_steps": 100}) == "last weights at a budget of 100 env steps"
    assert in_words("100", {"episodes": 50}) == "after 100 env steps of 50 episodes"
    weights, final = (dict(policy.policy.state_dict()) for policy in made[:2])
    assert any(not torch.equal(weights[name], final[name]) for name in weights)


def test_what_moves_the_policy_is_measured_where_an_earlier_version_did_not(
    run_dir: Path, played: list[tuple[int, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    result = read_json(run_dir / "result.json") or {}
    trained = result.pop("modality")
    assert trained["states"] == 2  # two games of ten steps, of which every sixteenth counts
    assert told(capsys, run_dir, "--games", 2)[0]["modality"] == trained
    played.clear()
    assert "modality" not in told(capsys, run_dir, "--games", 2, "--greedy")[0]
    played.clear()
    games = (run_dir / "games.csv").read_bytes()
    write_json(run_dir / "result.json", result)
    assert evaluate.run([str(run_dir), "--games", "2"]) == 0
    assert f"{run_dir.name}: experts: " in capsys.readouterr().out
    assert played == [tuple(range(500000, 500032))]
    measured = (read_json(run_dir / "result.json") or {})["modality"]
    assert (measured.keys(), measured["states"]) == (trained.keys(), 32)
    record = read_record(run_dir)
    assert record is not None
    assert record.modality == measured
    assert (run_dir / "games.csv").read_bytes() == games
    assert told(capsys, run_dir, "--games", 2)[0]["modality"] == measured
    assert len(played) == 1
    # Without weights there is nothing to measure, and the games are shown all the same.
    write_json(run_dir / "result.json", result)
    for path in (run_dir / "checkpoints").iterdir():
        shutil.rmtree(path)
    assert told(capsys, run_dir, "--games", 2)[0]["modality"] is None


def test_what_cannot_play_is_refused_with_what_would_help(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refused(capsys, run_dir, "--at", 64)
    assert "has not kept its weights after 64 env steps" in said
    command = shlex.split(said.strip().rpartition(": ")[2])
    # What was typed for the run is the test's own command; what is added to it makes the milestone elsewhere.
    added = command[-2:]
    config = compose([*SETTINGS, *added]).config
    assert config.eval.milestones == (64, 100, 200)
    assert config.run_dir == f"{run_dir}_milestones"
    cell = {"arguments": ["-m", *SETTINGS, "seed=0"], "parent": None}
    write_json(run_dir.parent / "study.json", {"commands": ["python x.py"], "cells": {run_dir.name: cell}})
    command = shlex.split(refused(capsys, run_dir, "--at", 64).strip().rpartition(": ")[2])
    (job,) = compose_all(command[4:], True)
    assert (job.config.eval.milestones, job.config.paths.study) == ((64, 100, 200), "default_milestones")
    cell["parent"] = "another"
    write_json(run_dir.parent / "study.json", {"commands": ["python x.py"], "cells": {run_dir.name: cell}})
    command = refused(capsys, run_dir, "--at", 64).strip().rpartition(": ")[2]
    assert command == "python x.py 'eval.milestones=[64,100,200]' paths.study=default_milestones"
    assert "must be within the run's 256 env steps" in refused(capsys, run_dir, "--at", 257)
    assert "--games 0: must be at least 1" in refused(capsys, run_dir, "--games", 0)
    assert "--cap 0: must be at least 1" in refused(capsys, run_dir, "--cap", 0)
    (tmp_path / "nothing").mkdir()
    assert "there is no config.yaml" in refused(capsys, tmp_path / "nothing")
    monkeypatch.setattr(evaluate, "STUDIES", tmp_path)
    said = refused(capsys, "nothign")
    assert f"there is no directory nothign, and no such study in {tmp_path}; did you mean nothing?" in said
    result = (run_dir / "result.json").read_text()
    (run_dir / "result.json").unlink()
    assert "has not ended" in refused(capsys, run_dir)
    (run_dir / "result.json").write_text(result)
    shutil.rmtree(run_dir / "checkpoints")
    assert "has no weights" in refused(capsys, run_dir)
    assert told(capsys, run_dir, "--at", 100, "--games", 1)[0]["games"] == 1
    # Of a folder's runs those that can play do.
    bad = run_dir.with_name("bad-0123456789")
    shutil.copytree(run_dir, bad)
    shutil.rmtree(bad / "milestones")
    assert evaluate.run([str(run_dir.parent), "--at", "100", "--games", "1"]) == 0
    out, err = capsys.readouterr()
    assert (out.count("policy"), err.count("left out: ")) == (1, 1)
    assert f"{bad} has not kept its weights" in err


def games_of(run_dir: Path, seeds: Sequence[int], stop_after: float = math.inf) -> dict[int, Any]:
    config = read_run_config(run_dir)
    games: dict[int, Any] = {}
    stop = StopFlag()

    def ended(game: Any) -> None:
        games[game.seed] = game
        if len(games) >= stop_after:
            stop.request(signal.SIGINT)

    policy, _ = measuring.policy_under(config, run_dir, Condition(cap=10))
    measuring.play_list(config, seeds, lambda _: policy, stop, ended)
    return {seed: (game.length, game.score) for seed, game in games.items()}


@pytest.mark.more
def test_a_game_is_the_same_whatever_is_played_beside_it(run_dir: Path) -> None:
    together = games_of(run_dir, range(7, 12))
    assert len(set(together.values())) > 1
    assert together == {seed: end for seed in together for _, end in games_of(run_dir, [seed]).items()}
    config = read_run_config(run_dir)
    for name in evaluate.PLAYERS:
        alone: dict[int, float] = {}
        beside: dict[int, float] = {}
        for games, lists in ((beside, [range(7, 12)]), (alone, [[seed] for seed in range(7, 12)])):
            for seeds in lists:
                player = partial(measuring.MeasuredYardstick, name)
                take = partial(_take, games)
                measuring.play_list(config, list(seeds), player, StopFlag(), take)
        assert alone == beside


def _take(games: dict[int, float], end: EpisodeEnd) -> None:
    games[end.seed] = end.score


def test_an_interruption_keeps_what_was_played(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = told(capsys, run_dir, "--games", 6)[0]
    shutil.rmtree(run_dir / "evaluation")
    original = measuring.play

    def cut(env: Any, player: Any, games: int, stop: StopFlag, ended: Any, watch: Any) -> Any:
        def once(end: Any) -> None:
            ended(end)
            stop.request(signal.SIGINT)

        return original(env, player, games, stop, once, watch)

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "play", cut)
        assert evaluate.run([str(run_dir), "--games", "6"]) == 130
    assert "which are kept; the same command plays the rest" in capsys.readouterr().err
    kept = read_table(run_dir / "evaluation/last-sample-10.csv", "stage") or {}
    assert 0 < len(kept["finetune"]) < 4
    assert told(capsys, run_dir, "--games", 6)[0] == whole


def test_actions_are_drawn_as_the_policy_says(run_dir: Path) -> None:
    """Shares of 40,000 drawn actions against the policy's own, by a chi-squared statistic."""
    config = read_run_config(run_dir)
    policy, _ = measuring.policy_under(config, run_dir, Condition(cap=10))
    env = make_env(config, listed_seeds([5], 1), 1)
    shown = env.reset()
    env.close()
    count = 40_000
    many = shown[np.zeros(count, int)]
    many = replace(many, noise=np.random.default_rng(0).integers(0, 2**62, count))
    drawn = np.bincount(policy.act(many), minlength=many.mask.shape[1])
    output = policy.policy(
        shown.select(policy.policy.inputs).to("cpu"), policy.settings.routing, policy.settings.temperature
    )
    shares = masked_log_probs(output.policy_logits, torch.as_tensor(shown.mask)).exp().detach().numpy()[0]
    assert (drawn[shares == 0] == 0).all()
    expected = (shares * count)[shares > 0]
    statistic = ((drawn[shares > 0] - expected) ** 2 / expected).sum()
    assert statistic < 3 * len(expected)


@pytest.mark.slow
def test_on_nethack(
    tmp_path: Path, played: list[tuple[int, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [*SETTINGS, *ON_NETHACK, f"paths.output_dir={tmp_path}/outputs"]
    run_dir = app.run(compose(settings), say=Lines()).run_dir
    capsys.readouterr()
    rows = told(capsys, run_dir, "--games", 3, "--cap", 60, "--at", 100)
    assert (rows[0]["stage"], rows[0]["said"]) == ("transition", "after 100 of 256 env steps")
    assert played == [(500000, 500001, 500002)] * 4
    assert told(capsys, run_dir, "--games", 3, "--cap", 60, "--at", 100) == rows
    assert len(played) == 4
    # The run's own end is another condition, and so is a run whose whole budget is what the milestone was.
    assert told(capsys, run_dir, "--games", 2)[0]["said"] == "last weights at a budget of 256 env steps"
    short = app.run(compose([*settings, "budget.env_steps=128", "eval.milestones=[]"]), say=Lines()).run_dir
    capsys.readouterr()
    rows = [told(capsys, run_dir, "--games", 2, "--at", 100)[0], told(capsys, short, "--games", 2)[0]]
    assert [row["said"] for row in rows] == [
        "after 100 of 256 env steps",
        "last weights at a budget of 128 env steps",
    ]


def test_what_many_runs_say_alike_is_said_once() -> None:
    told = {
        "games": 1, "mean_score": 1.0, "low": None, "high": None, "median_score": 1.0,
        "mean_length": 1.0, "deaths": 0,
    }  # fmt: skip
    many = [
        Row(f"run{n}", "policy", "last", "sample", 10, "last weights", "warmup", "t", told) for n in range(4)
    ]
    assert list(lines(many))[-1] == "4 runs: last weights, under the settings of stage warmup"
    assert list(lines(many[:2]))[-1] == "run0, run1: last weights, under the settings of stage warmup"
