"""The shared training loop on the toy environment: stages, files, resuming, divergence, starting weights."""

from __future__ import annotations

import csv
import json
import math
import re
import signal

import pytest
import torch
from support.settings import TINY_WITHOUT_GRAPH

from tedg.config.compose import compose
from tedg.errors import ConfigError, DivergedError, Stopped
from tedg.learn import ppo
from tedg.learn.trainer import Trainer, train
from tedg.signals import StopFlag
from tedg.store import checkpoint
from tedg.store.torch_state import rng_tensors
from tedg.watch.console import QuietConsole

STAGES = ["warmup", "transition", "finetune"]


class Watcher(QuietConsole):
    """Remembers what it is told, and asks for the end after some updates."""

    def __init__(self, stop=None, stop_after=math.inf):
        super().__init__()
        self.stop, self.stop_after, self.updates, self.notes = stop, stop_after, 0, []

    def update(self, progress):
        self.updates += 1
        if self.updates >= self.stop_after:
            self.stop.request(signal.SIGTERM)

    def note(self, message):
        self.notes.append(message)


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def run(config, run_dir, weights_of=None, stop_after=math.inf):
    """(result, console) of a run, resumed if `run_dir` holds a checkpoint."""
    stop = StopFlag()
    console = Watcher(stop, stop_after)
    return train(config, run_dir, weights_of, console, stop), console


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def episodes(run_dir):
    with (run_dir / "episodes.csv").open() as file:
        return list(csv.DictReader(file))


def newest(run_dir):
    return checkpoint.load(checkpoint.latest(run_dir / "checkpoints"))


def fail_in_updates(monkeypatch, failing):
    """Make the loss NaN in the updates (from 1) of which `failing` is true."""
    original, update = ppo.weighted_total, ppo.Learner.update
    count = [0]

    def counted(self, rollout, settings):
        count[0] += 1
        return update(self, rollout, settings)

    def total(*args):
        return original(*args) * (math.nan if failing(count[0]) else 1.0)

    monkeypatch.setattr(ppo.Learner, "update", counted)
    monkeypatch.setattr(ppo, "weighted_total", total)


@pytest.mark.more
@pytest.mark.parametrize("stage", [*STAGES, "curriculum"])
def test_every_stage_trains_to_its_end_and_leaves_whole_tables(stage, compose_tiny, run_dir):
    config = compose_tiny(f"stage={stage}", "budget.env_steps=640").config
    result, console = run(config, run_dir)
    expected = dict(zip(STAGES, (2, 4, 4), strict=True)) if stage == "curriculum" else {stage: 10}
    assert result["updates_per_stage"] == expected
    assert (result["updates"], result["env_steps"], result["rollbacks"]) == (10, 640, 0)
    metrics, timing, games = (
        rows(run_dir / "metrics.jsonl"),
        rows(run_dir / "timing.jsonl"),
        episodes(run_dir),
    )
    assert [row["update"] for row in metrics] == [row["update"] for row in timing] == list(range(1, 11))
    assert [row["env_steps"] for row in metrics] == list(range(64, 641, 64))
    assert len(games) == result["episodes"] == metrics[-1]["episodes"] > 40
    assert result["training"]["all"]["mean_return"] == pytest.approx(
        sum(float(game["episode_return"]) for game in games) / len(games)
    )
    assert console.updates == 10
    # The mean |log ratio| before the first gradient step of every update.
    assert max(row["train/initial_log_ratio"] for row in metrics) < 1e-5
    assert not [name for row in metrics for name in row if name.startswith("time/")]
    assert set(result["evaluation"]) == {"policy", "random"}
    assert result["liveness"]["gradient/router"] > 0


@pytest.mark.more
def test_the_curriculum_says_what_its_borders_do(compose_tiny, run_dir):
    run(compose_tiny("stage=curriculum", "preset=described", "budget.env_steps=640").config, run_dir)
    metrics = rows(run_dir / "metrics.jsonl")
    assert [row["stage"] for row in metrics] == ["warmup"] * 2 + ["transition"] * 4 + ["finetune"] * 4
    assert [row["stage/number"] for row in metrics] == [0] * 2 + [1] * 4 + [2] * 4
    borders = {row["update"]: row["stage/border_kl"] for row in metrics if "stage/border_kl" in row}
    assert list(borders) == [3, 7]
    # Both stages meet at the same temperature and kind of routing at the first border, not at the second.
    assert borders[3] == pytest.approx(0.0, abs=1e-6)
    assert borders[7] > 1e-9
    assert [row["stage/temperature"] for row in metrics] == pytest.approx(
        [1.0, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.5, 0.5, 0.5]
    )
    assert {row["stage"]: row["train/learning_rate"] for row in metrics} == {
        "warmup": 1e-4,
        "transition": 5e-5,
        "finetune": 1e-5,
    }


def test_a_budget_of_episodes_counts_finished_games(compose_tiny, run_dir):
    config = compose_tiny("budget.env_steps=null", "budget.episodes=20").config
    result, _ = run(config, run_dir)
    assert 20 <= result["episodes"] < 20 + 16
    assert result["training"]["first_100_episodes"] is None


@pytest.mark.more
def test_a_stopped_run_goes_on_where_it_was(compose_tiny, run_dir):
    config = compose_tiny("budget.env_steps=384", "checkpoint.every_updates=100").config
    with pytest.raises(Stopped) as stopped:
        run(config, run_dir, stop_after=3)
    assert stopped.value.exit_code == 143
    first = newest(run_dir)
    assert first.step == 3
    assert [row["update"] for row in rows(run_dir / "metrics.jsonl")] == [1, 2, 3]
    result, console = run(config, run_dir)
    assert "resumed after update 3, 192 env steps" in console.notes
    assert console.updates == 3
    assert (result["updates"], result["env_steps"]) == (6, 384)
    assert result["updates_per_stage"] == {"warmup": 6}
    assert [row["update"] for row in rows(run_dir / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]
    games = episodes(run_dir)
    assert len(games) == result["episodes"]


def test_resuming_brings_back_everything_an_update_depends_on(compose_tiny, run_dir):
    config = compose_tiny("budget.env_steps=384").config
    with pytest.raises(Stopped):
        run(config, run_dir, stop_after=2)
    saved = newest(run_dir)
    trainer = Trainer(config, run_dir, None, QuietConsole(), StopFlag())
    state = trainer.learner.state()
    trainer.close()
    for name, value in state["model"].items():
        assert torch.equal(value, saved.tensors["model"][name])
    assert any(name.endswith("exp_avg") for name in saved.tensors["optim"])
    for index, entry in state["optim"]["state"].items():
        assert float(entry["step"]) == 4.0  # two updates of two minibatches
        for name, value in entry.items():
            assert torch.equal(torch.as_tensor(value), saved.tensors["optim"][f"{index}.{name}"])
    for group, named in (("normaliser", state["normaliser"]), ("alignment", state["alignment"])):
        assert named
        for name, value in named.items():
            assert torch.equal(value, saved.tensors[group][name])
    tensors, rest = rng_tensors(trainer.generators)
    assert set(tensors) | set(rest) == {"sampling", "minibatches", "torch", "numpy", "python"}
    for name, value in tensors.items():
        assert torch.equal(value, saved.tensors["rng"][name])
    # The checks of types that tests run with draw from Python's own generator.
    assert json.loads(json.dumps(rest["numpy"])) == saved.state["rng"]["numpy"]
    assert "python" in saved.state["rng"]
    assert trainer.state.update == 2
    assert trainer.state.initial_context_norm > 0


@pytest.mark.more
def test_equal_runs_write_equal_files(compose_tiny, tmp_path):
    config = compose_tiny("stage=finetune").config
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run(config, tmp_path / name)
    for file in ("metrics.jsonl", "episodes.csv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.more
def test_three_faults_in_a_row_end_the_run_with_its_last_good_weights(compose_tiny, run_dir, monkeypatch):
    config = compose_tiny("budget.env_steps=6400").config
    weights = {}
    original = ppo.Learner.restore

    def restore(self, state):
        weights.update({name: value.clone() for name, value in state["model"].items()})
        original(self, state)

    monkeypatch.setattr(ppo.Learner, "restore", restore)
    fail_in_updates(monkeypatch, lambda update: update > 2)
    with pytest.raises(DivergedError, match="3 updates in a row had to be undone") as diverged:
        run(config, run_dir)
    assert diverged.value.exit_code == 3
    assert diverged.value.result["rollbacks"] == 3
    assert diverged.value.result["updates_per_stage"] == {"warmup": 2}
    assert (run_dir / "debug" / "rollout.safetensors").stat().st_size > 0
    saved = newest(run_dir)
    assert saved.step == 5
    assert saved.tensors["model"].keys() == weights.keys()
    for name, value in weights.items():
        assert value.isfinite().all()
        assert torch.equal(value, saved.tensors["model"][name])


@pytest.mark.more
def test_faults_that_are_not_in_a_row_only_warn(compose_tiny, run_dir, monkeypatch):
    fail_in_updates(monkeypatch, lambda update: update in (1, 2, 4, 5))
    result, console = run(compose_tiny("budget.env_steps=384").config, run_dir)
    assert (result["rollbacks"], result["updates"]) == (4, 6)
    assert result["updates_per_stage"] == {"warmup": 2}
    went_back = [warning for warning in console.warnings if "went back" in warning]
    counts = [re.search(r"\((\d) of 3 in a row\)", warning)[1] for warning in went_back]
    assert counts == ["1", "2", "1", "2"]
    metrics = rows(run_dir / "metrics.jsonl")
    assert [row["train/rollbacks"] for row in metrics] == [1, 2, 2, 3, 4, 4]
    assert ["loss/total" in row for row in metrics] == [False, False, True, False, False, True]


@pytest.mark.more_than_first(1)
@pytest.mark.parametrize(
    ("vision", "fusion", "warned"),
    [("state", "cross_attn", True), ("state", "concat", False), ("glyph", "cross_attn", False)],
)
def test_attention_over_one_token_is_warned_about(vision, fusion, warned, compose_tiny, run_dir):
    config = compose_tiny(f"vision={vision}", f"fusion={fusion}", "eval.games=0").config
    result, console = run(config, run_dir)
    found = [warning for warning in console.warnings if "one visual token" in warning]
    assert len(found) == warned
    assert result["warnings"] == console.warnings


@pytest.mark.more
def test_weights_of_another_run_are_the_start(compose_tiny, tmp_path):
    for name in ("parent", "child"):
        (tmp_path / name).mkdir()
    run(compose_tiny("eval.games=0").config, tmp_path / "parent")
    parent = newest(tmp_path / "parent").tensors["model"]
    child = Trainer(
        compose_tiny("stage=transition", "seed=3").config,
        tmp_path / "child",
        tmp_path / "parent",
        QuietConsole(),
        StopFlag(),
    )
    child.close()
    assert all(torch.equal(value, parent[name]) for name, value in child.policy.state_dict().items())
    (own,) = child.learner.optimizer.state_dict()["state"].values()
    assert all(not value.any() for value in own.values())
    assert child.state.update == 0


@pytest.mark.more
def test_a_resumed_run_does_not_take_the_first_weights_again(compose_tiny, tmp_path):
    for name in ("parent", "child"):
        (tmp_path / name).mkdir()
    run(compose_tiny("eval.games=0").config, tmp_path / "parent")
    config = compose_tiny("stage=transition", "eval.games=0").config
    with pytest.raises(Stopped):
        run(config, tmp_path / "child", tmp_path / "parent", stop_after=1)
    own = newest(tmp_path / "child").tensors["model"]
    again = Trainer(config, tmp_path / "child", tmp_path / "parent", QuietConsole(), StopFlag())
    again.close()
    assert all(torch.equal(value, own[name]) for name, value in again.policy.state_dict().items())


@pytest.mark.more
def test_weights_of_another_architecture_are_refused_key_by_key(compose_tiny, tmp_path):
    for name in ("parent", "child", "empty"):
        (tmp_path / name).mkdir()
    run(compose_tiny("fusion=concat", "eval.games=0").config, tmp_path / "parent")
    console = QuietConsole()
    config = compose_tiny("fusion=cross_attn").config
    with pytest.raises(ConfigError) as refused:
        Trainer(config, tmp_path / "child", tmp_path / "parent", console, StopFlag())
    message = str(refused.value)
    assert "fusion.query.weight: not in the checkpoint" in message
    assert "vision.head.0.weight: only in the checkpoint" in message
    assert "router.0.weight: [16, 16] float32 here, [16, 32] float32 in the checkpoint" in message
    assert "init_from=none" in message
    with pytest.raises(ConfigError, match="has no checkpoint"):
        Trainer(config, tmp_path / "child", tmp_path / "empty", console, StopFlag())


def test_the_control_without_symbols_trains_and_resumes(tmp_path, run_dir):
    config = compose([*TINY_WITHOUT_GRAPH, "logic=none", f"paths.output_dir={tmp_path}"]).config
    with pytest.raises(Stopped):
        run(config, run_dir, stop_after=1)
    assert "alignment" not in newest(run_dir).tensors
    result, _ = run(config, run_dir)
    assert result["updates"] == 2
    assert result["liveness"]["influence/logic"] == 0.0
    assert not [name for row in rows(run_dir / "metrics.jsonl") for name in row if name == "loss/alignment"]
