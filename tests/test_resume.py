"""A run that was stopped and goes on ends byte-equal to one that was never stopped."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.forgery import reseal
from support.processes import children
from support.runs import assert_equal, contents, run
from support.settings import ON_NETHACK, TINY_WITHOUT_GRAPH

from tedg.config.compose import compose
from tedg.errors import ConfigError, StorageError
from tedg.learn import ppo, trainer
from tedg.signals import StopFlag
from tedg.store import checkpoint
from tedg.watch.console import QuietConsole

FROZEN = Path(__file__).parent / "frozen"

CASES = {
    "state and no graph": ("vision=state", "fusion=concat", "logic=none", "budget.env_steps=640"),
    "plain": ("budget.env_steps=640",),
    "curriculum": ("stage=curriculum", "budget.env_steps=640"),
    "random gate": ("fusion/gate=random_topk", "policy.dropout=0.3", "budget.env_steps=640"),
    "described": ("preset=described", "routing=entmax", "budget.env_steps=640"),
}


@pytest.mark.more
@pytest.mark.parametrize(
    "case",
    [pytest.param(one, marks=pytest.mark.slow if one in ("plain", "described") else ()) for one in CASES],
)
def test_stopped_after_every_update_it_ends_as_if_never_stopped(case, compose_tiny, tmp_path):
    overrides = [o for o in CASES[case] if o != "logic=none"]
    config = compose_tiny(*overrides, "eval.games=4").config
    if "logic=none" in CASES[case]:
        config = without_logic(overrides, tmp_path)
    expected, _ = run(config, tmp_path / "whole")
    sessions = 0
    while (result := run(config, tmp_path / "parts", 1)[0]) is None:
        sessions += 1
    assert sessions == 10
    assert_equal(contents(tmp_path / "parts"), contents(tmp_path / "whole"))
    assert result["evaluation"] == expected["evaluation"]
    assert result["training"] == expected["training"]


def without_logic(overrides, tmp_path):
    return compose([*TINY_WITHOUT_GRAPH, *overrides, "logic=none", f"paths.output_dir={tmp_path}"]).config


@pytest.mark.more
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_games_of_nethack_go_on_where_they_were(workers, compose_tiny, tmp_path):
    config = compose_tiny(*ON_NETHACK, "budget.env_steps=448").config
    config = replace(config, env={**config.env, "num_workers": workers})
    run(config, tmp_path / "whole")
    stops = (2, 1, 3)
    for stop_after in stops:
        assert run(config, tmp_path / "parts", stop_after)[0] is None
    result, console = run(config, tmp_path / "parts")
    assert result["lost_episodes"] == 0
    assert not any("lost" in warning or "broken" in warning for warning in console.warnings)
    assert_equal(contents(tmp_path / "parts"), contents(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.more
def test_shared_minibatches_and_threads(compose_tiny, tmp_path):
    config = compose_tiny(
        "threads=2", "ppo.minibatch_size=128", "env.num_envs=16", "budget.env_steps=1024"
    ).config
    run(config, tmp_path / "whole")
    run(config, tmp_path / "parts", 1)
    run(config, tmp_path / "parts")
    assert_equal(contents(tmp_path / "parts"), contents(tmp_path / "whole"))


@pytest.mark.more
def test_the_generators_of_the_process_come_back(compose_tiny, tmp_path, monkeypatch):
    """Code that draws from torch or NumPy without naming a generator resumes as well."""
    original = ppo.Learner.update
    drawn = []

    def update(self, rollout, settings):
        drawn.append((torch.rand(()).item(), np.random.rand()))  # noqa: NPY002
        return original(self, rollout, settings)

    monkeypatch.setattr(ppo.Learner, "update", update)
    config = compose_tiny("budget.env_steps=256").config
    run(config, tmp_path / "whole")
    whole, drawn[:] = list(drawn), []
    run(config, tmp_path / "parts", 2)
    np.random.seed(7)  # noqa: NPY002
    torch.manual_seed(7)
    run(config, tmp_path / "parts")
    assert drawn == whole


@pytest.mark.more
def test_a_game_that_strays_is_counted_and_cut_off(compose_tiny, tmp_path):
    config = compose_tiny("budget.env_steps=384").config
    run(config, tmp_path / "run", 3)
    newest = checkpoint.latest(tmp_path / "run" / "checkpoints")
    saved = checkpoint.load(newest)
    places = saved.state["positions"]
    places[2]["digest"] = "0" * 32
    shutil.rmtree(newest)
    checkpoint.save(newest.parent, saved.step, saved.tensors, saved.state, saved.meta)
    result, console = run(config, tmp_path / "run")
    assert result["lost_episodes"] == 1
    assert any("1 episodes lost" in warning for warning in console.warnings)
    rows = (tmp_path / "run" / "episodes.csv").read_text().splitlines()
    (lost,) = [row.split(",") for row in rows if row.endswith(",lost")]
    assert (lost[0], lost[2]) == ("4", "2")  # with the next update, in environment 2
    assert int(lost[4]) == len(places[2]["actions"]) // 2


@pytest.mark.more
def test_a_checkpoint_of_another_run_is_refused(compose_tiny, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        session = dict.fromkeys(
            ("training_code", "commit", "python", "versions", "cpu", "device", "threads"), "same"
        )
        content = {"run_id": name * 10, "sessions": [session]}
        (tmp_path / name / "provenance.json").write_text(json.dumps(content))
        run(compose_tiny().config, tmp_path / name, 1)
    shutil.rmtree(tmp_path / "b" / "checkpoints")
    shutil.copytree(tmp_path / "a" / "checkpoints", tmp_path / "b" / "checkpoints")
    with pytest.raises(
        ConfigError, match=r"belongs to run aaaaaaaaaa, and this is run bbbbbbbbbb"
    ) as refused:
        run(compose_tiny().config, tmp_path / "b")
    assert "init_from" in str(refused.value)


@pytest.mark.more
def test_other_code_or_versions_are_told(compose_tiny, tmp_path):
    provenance = tmp_path / "run" / "provenance.json"
    provenance.parent.mkdir()
    session = dict.fromkeys(
        ("training_code", "commit", "python", "versions", "cpu", "device", "threads"), "same"
    )
    provenance.write_text(json.dumps({"run_id": "a", "sessions": [session]}))
    run(compose_tiny().config, tmp_path / "run", 1)
    provenance.write_text(
        json.dumps({"run_id": "a", "sessions": [{**session, "threads": 3, "training_code": "new"}]})
    )
    _, console = run(compose_tiny().config, tmp_path / "run")
    assert any("saved with other training code, threads" in warning for warning in console.warnings)


@pytest.mark.more
def test_a_run_whose_checkpoints_are_gone_does_not_begin_anew(compose_tiny, tmp_path):
    config = compose_tiny("budget.env_steps=640").config
    run(config, tmp_path / "run", 6)
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(StorageError, match=r"has 6 updates, but .*checkpoints has no checkpoint"):
        run(config, tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


@pytest.mark.more
def test_a_table_that_ends_before_the_checkpoint_is_an_error(compose_tiny, tmp_path):
    config = compose_tiny("budget.env_steps=640").config
    run(config, tmp_path / "run", 4)
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(StorageError, match="does not reach update 4"):
        run(config, tmp_path / "run")


@pytest.mark.more
@pytest.mark.parametrize("cut", ["line", "row"])
def test_torn_and_late_rows_are_dropped_and_written_again(cut, compose_tiny, tmp_path):
    config = compose_tiny("budget.env_steps=640", "checkpoint.every_updates=2").config
    run(config, tmp_path / "whole")
    run(config, tmp_path / "parts", 4)
    for name, late in (
        ("metrics.jsonl", '{"update": 5, "env_steps": 320}\n'),
        ("episodes.csv", "5,320,0,1\n"),
    ):
        with (tmp_path / "parts" / name).open("a") as file:
            file.write(late if cut == "row" else late[: len(late) // 2])
    run(config, tmp_path / "parts")
    assert_equal(contents(tmp_path / "parts"), contents(tmp_path / "whole"))


@pytest.mark.more
def test_a_broken_newest_checkpoint_costs_its_interval_alone(compose_tiny, tmp_path):
    config = compose_tiny("budget.env_steps=640", "checkpoint.every_updates=2").config
    run(config, tmp_path / "whole")
    run(config, tmp_path / "parts", 6)
    newest = checkpoint.latest(tmp_path / "parts" / "checkpoints")
    content = bytearray((newest / "optim.safetensors").read_bytes())
    content[-1] ^= 1
    (newest / "optim.safetensors").write_bytes(content)
    result, console = run(config, tmp_path / "parts")
    assert any("ckpt-000000000006 is broken" in warning for warning in console.warnings)
    assert "resumed after update 4, 256 env steps" in console.notes
    assert result["updates"] == 10
    assert_equal(contents(tmp_path / "parts"), contents(tmp_path / "whole"))


@pytest.mark.more
def test_three_and_the_best_checkpoint_are_kept(compose_tiny, tmp_path):
    result, _ = run(compose_tiny("budget.env_steps=1280").config, tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    quality = {row["update"]: row["rollout/mean_return"] for row in rows}
    best = max(quality, key=lambda update: (quality[update], -update))
    kept = {int(path.name[-3:]) for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert kept == {18, 19, 20, best}
    assert result["best_checkpoint"] == {"name": f"ckpt-{best:012d}", "mean_return": quality[best]}


def frozen_config(compose_tiny, *overrides):
    sizes = [f"{key}=4" for key in ("vision.token_dim", "vision.head_dim", "logic.embedding_dim")]
    sizes += [f"policy.{net}_hidden=[4]" for net in ("router", "expert", "critic")]
    sizes += ["vision.hidden_dim=8", "logic.num_heads=1", "logic.output_dim=4"]
    return compose_tiny("vision=state", *sizes, *overrides).config


def test_a_checkpoint_of_the_first_version_goes_on(compose_tiny, tmp_path):
    shutil.copytree(FROZEN / "checkpoint_v1", tmp_path / "run")
    weights = checkpoint.load(tmp_path / "run/checkpoints/ckpt-000000000002").tensors["model"]
    result, console = run(frozen_config(compose_tiny, "budget.env_steps=256"), tmp_path / "run")
    assert result["updates"] == 4
    assert any("of an earlier version, which kept no running games" in text for text in console.warnings)
    # Its games had begun 4, 5, 5 and 4 times; the next ones follow.
    newest = checkpoint.load(checkpoint.latest(tmp_path / "run" / "checkpoints"))
    assert newest.schema == checkpoint.SCHEMA
    assert all(
        place["episode"] >= begun
        for place, begun in zip(newest.state["positions"], (4, 5, 5, 4), strict=True)
    )
    assert newest.tensors["model"].keys() == weights.keys()


@pytest.mark.parametrize("strays", [False, True])
def test_running_games_of_the_second_version_are_still_compared(strays, compose_tiny, tmp_path):
    """Its digests were computed by another rule; each of its games was in its 32nd step.

    Two of the four show other state features now, which lead along known ways, and are given up.
    """
    shutil.copytree(FROZEN / "checkpoint_v2", tmp_path / "run")
    if strays:
        alter_first_action(tmp_path / "run" / "checkpoints" / "ckpt-000000000002")
    config = frozen_config(compose_tiny, *ON_NETHACK, "env.num_workers=0", "budget.env_steps=256")
    result, console = run(config, tmp_path / "run")
    assert result["updates"] == 4
    assert result["lost_episodes"] == 2 + strays
    assert any("lost" in warning for warning in console.warnings)
    newest = checkpoint.load(checkpoint.latest(tmp_path / "run" / "checkpoints"))
    assert newest.schema == checkpoint.SCHEMA
    assert {len(place["digest"]) for place in newest.state["positions"]} == {32}  # by today's rule


def alter_first_action(path):
    """Let game 1 of the checkpoint have begun with action 2; it began with action 9."""
    state = json.loads((path / "state.json").read_bytes())
    place = state["positions"][1]
    assert place["actions"].startswith("09")
    place["actions"] = "02" + place["actions"][2:]
    (path / "state.json").write_text(json.dumps(state))
    reseal(path)


def test_a_checkpoint_of_a_later_version_is_not_guessed_at(compose_tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SCHEMA", checkpoint.SCHEMA + 1)
    run(compose_tiny().config, tmp_path / "run", 1)
    monkeypatch.undo()
    with pytest.raises(StorageError, match="none of the 1 checkpoints"):
        run(compose_tiny().config, tmp_path / "run")


def test_another_architecture_is_refused_key_by_key(compose_tiny, tmp_path):
    run(compose_tiny("fusion=concat").config, tmp_path / "run", 1)
    with pytest.raises(ConfigError) as refused:
        run(compose_tiny("fusion=cross_attn").config, tmp_path / "run")
    message = str(refused.value)
    assert "fusion.query.weight: not in the checkpoint" in message
    assert "vision.head.0.weight: only in the checkpoint" in message
    assert "init_except" in message


@pytest.mark.more
def test_parts_that_are_excepted_stay_fresh(compose_tiny, tmp_path):
    config = compose_tiny("fusion=concat", "eval.games=0").config
    run(config, tmp_path / "parent")
    parent = checkpoint.load(checkpoint.latest(tmp_path / "parent" / "checkpoints")).tensors["model"]
    child = replace(
        compose_tiny("fusion=cross_attn", "seed=3").config,
        init_except=("fusion.", "vision.", "router.", "experts.", "critic."),
    )
    fresh = trainer.Trainer(child, tmp_path / "parent2", None, QuietConsole(), StopFlag())
    own = trainer.Trainer(child, tmp_path / "child", tmp_path / "parent", QuietConsole(), StopFlag())
    for name, value in own.policy.state_dict().items():
        excepted = name.startswith(child.init_except)
        assert torch.equal(value, fresh.policy.state_dict()[name] if excepted else parent[name]), name
    assert any(name.startswith("logic.") for name in parent)
    fresh.close(), own.close()
    with pytest.raises(ConfigError, match="no parameter of this policy begins with 'nothing'"):
        trainer.Trainer(
            replace(child, init_except=("nothing",)),
            tmp_path / "c2",
            tmp_path / "parent",
            QuietConsole(),
            StopFlag(),
        )


@pytest.mark.more
def test_one_checkpoint_can_be_the_start(compose_tiny, tmp_path):
    run(compose_tiny("budget.env_steps=256", "eval.games=0").config, tmp_path / "parent")
    second = tmp_path / "parent" / "checkpoints" / "ckpt-000000000002"
    own = trainer.Trainer(
        compose_tiny("seed=1").config, tmp_path / "child", second, QuietConsole(), StopFlag()
    )
    weights = checkpoint.load(second).tensors["model"]
    assert all(torch.equal(value, weights[name]) for name, value in own.policy.state_dict().items())
    own.close()


@pytest.mark.more
def test_no_process_is_left_after_a_run(compose_tiny, tmp_path):
    before = set(os.listdir("/dev/shm")), set(children())
    run(compose_tiny(*ON_NETHACK, "budget.env_steps=64").config, tmp_path / "run")
    assert (set(os.listdir("/dev/shm")), set(children())) == before
