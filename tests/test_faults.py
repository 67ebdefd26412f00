"""What goes wrong in training: full disks, numbers that are none, figures out of bounds, lost processes."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
import torch
from support.runs import assert_equal, contents, run
from support.settings import ON_NETHACK

from tedg.envs.toys.env import ToyVectorEnv
from tedg.errors import DivergedError, StorageError
from tedg.learn import ppo, shards
from tedg.learn.trainer import Trainer
from tedg.models import policy as policy_module
from tedg.processes import WorkerError
from tedg.signals import StopFlag
from tedg.store import checkpoint
from tedg.watch.console import QuietConsole

# Disks


class FullDisk:
    """Refuses to write checkpoints, the n-th to the m-th time that one is tried."""

    def __init__(self, monkeypatch, refused):
        self.tries, self.refused, self.original = 0, refused, checkpoint._write
        monkeypatch.setattr(checkpoint, "_write", self)

    def __call__(self, path, content):
        if path.name == "model.safetensors":
            self.tries += 1
        if self.tries in self.refused:
            path.write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        self.original(path, content)


@pytest.mark.more
def test_a_disk_that_is_full_for_a_while_is_outlived(compose_tiny, tmp_path, monkeypatch):
    config = compose_tiny("budget.env_steps=640").config
    run(config, tmp_path / "whole")
    FullDisk(monkeypatch, refused=(3, 4))
    _, console = run(config, tmp_path / "run")
    warned = [warning for warning in console.warnings if "No space left" in warning]
    assert ["(1 of 3 times in a row)" in warned[0], "(2 of 3 times in a row)" in warned[1]] == [True, True]
    assert len(warned) == 2
    assert "ckpt-000000000003" in warned[0]
    assert_equal(contents(tmp_path / "run"), contents(tmp_path / "whole"))
    assert not list((tmp_path / "run" / "checkpoints").glob("*.tmp-*"))


@pytest.mark.more
def test_a_disk_that_stays_full_ends_the_run_with_its_last_checkpoint_whole(
    compose_tiny, tmp_path, monkeypatch
):
    config = compose_tiny("budget.env_steps=640").config
    FullDisk(monkeypatch, refused=range(3, 100))
    with pytest.raises(StorageError, match=r"No space left on device \(3 of 3 times in a row\)") as ended:
        run(config, tmp_path / "run")
    assert ended.value.exit_code == 4
    checkpoints = tmp_path / "run" / "checkpoints"
    assert sorted(path.name[-1] for path in checkpoints.iterdir()) == ["1", "2"]
    monkeypatch.undo()
    run(config, tmp_path / "run")
    run(config, tmp_path / "whole")
    assert_equal(contents(tmp_path / "run"), contents(tmp_path / "whole"))


@pytest.mark.more
@pytest.mark.parametrize("last", ["the end", "a stop"])
def test_the_last_save_must_succeed(last, compose_tiny, tmp_path, monkeypatch):
    config = compose_tiny("budget.env_steps=192", "checkpoint.every_updates=100").config
    FullDisk(monkeypatch, refused=(1,))
    with pytest.raises(StorageError, match=r"No space left on device$"):
        run(config, tmp_path / "run", stop_after=2 if last == "a stop" else math.inf)


LIMITED = """
    import resource, sys
    sys.path.insert(0, sys.argv[2])
    from support.settings import LONG_ENOUGH_TO_STOP
    from tedg.train import run
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
    sys.argv = ["train", *LONG_ENOUGH_TO_STOP["toy"], "logger=none", f"paths.output_dir={sys.argv[1]}"]
    sys.exit(run())
"""


@pytest.mark.more
def test_the_systems_own_refusal_to_write_ends_with_4_and_costs_nothing(tmp_path):
    """Metrics meet a limit of the kernel in the middle of a row."""
    here = os.path.dirname(__file__)
    limited = [sys.executable, "-c", textwrap.dedent(LIMITED), str(tmp_path), here, str(600_000)]
    whole = [*limited[:-1], str(10**9)]
    small = [*limited[:-1], str(14_000)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(here), *sys.path])}
    done = subprocess.run(small, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 4, done.stderr
    assert "error: cannot write" in done.stderr
    assert "File too large (3 of 3 times in a row)" in done.stderr
    assert "Traceback" not in done.stderr
    done = subprocess.run(whole, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    (run_dir,) = tmp_path.iterdir()
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [row["update"] for row in rows] == list(range(1, 11))


# Numbers


def with_rewards(monkeypatch, change):
    """The toy with other rewards: `change(rewards, number of the step)`."""
    original, count = ToyVectorEnv.receive, [0]

    def receive(self, group):
        count[0] += 1
        step = original(self, group)
        return replace(step, reward=change(step.reward, count[0]))

    monkeypatch.setattr(ToyVectorEnv, "receive", receive)


def weights(run_dir):
    return checkpoint.load(checkpoint.latest(run_dir / "checkpoints")).tensors


@pytest.mark.more
def test_rewards_that_are_not_numbers_end_the_run_with_its_good_weights(compose_tiny, tmp_path, monkeypatch):
    config = compose_tiny("budget.env_steps=640").config
    run(compose_tiny("budget.env_steps=640").config, tmp_path / "good", stop_after=2)
    with_rewards(monkeypatch, lambda reward, step: reward * (math.nan if step > 64 else 1))
    with pytest.raises(DivergedError, match="loss policy, value is not finite") as diverged:
        run(config, tmp_path / "run")
    assert diverged.value.exit_code == 3
    for group in ("model", "optim", "normaliser", "alignment"):
        good, found = weights(tmp_path / "good")[group], weights(tmp_path / "run")[group]
        assert good.keys() == found.keys()
        for name, value in good.items():
            assert torch.equal(value, found[name]), f"{group} {name}"
    fault = json.loads((tmp_path / "run" / "debug" / "fault.json").read_text())
    assert fault["update"] == 5
    assert fault["fault"] == "loss policy, value is not finite"
    assert fault["settings"]["stage"] == "warmup"
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(rows) == 5


def test_gradients_that_are_not_numbers_change_nothing(compose_tiny, tmp_path, monkeypatch):
    config = compose_tiny("budget.env_steps=192").config
    original, calls = shards.Shards.backward, [0]

    def backward(self, gradients):
        calls[0] += 1
        parts = original(self, gradients)
        if calls[0] == 4:  # the last minibatch of the second update
            parts[0][7] = math.inf
        return parts

    monkeypatch.setattr(shards.Shards, "backward", backward)
    good = {}
    restore = ppo.Learner.restore

    def restored(self, state):
        restore(self, state)
        good.update({name: value.clone() for name, value in self.policy.state_dict().items()})
        assert any(entry["step"] == 2 for entry in self.optimizer.state_dict()["state"].values())

    monkeypatch.setattr(ppo.Learner, "restore", restored)
    result, console = run(config, tmp_path / "run")
    assert result["rollbacks"] == 1
    assert any("update 2: gradient is not finite" in warning for warning in console.warnings)
    saved = checkpoint.load(tmp_path / "run" / "checkpoints" / "ckpt-000000000002").tensors["model"]
    assert good
    assert all(torch.equal(saved[name], value) for name, value in good.items())


@pytest.mark.more
def test_rewards_without_bounds_end_the_run_and_name_the_figure(compose_tiny, tmp_path, monkeypatch):
    with_rewards(monkeypatch, lambda reward, step: reward * (1e12 if step > 64 else 1))
    config = compose_tiny("budget.env_steps=640", "ppo.normalise_rewards=false").config
    with pytest.raises(DivergedError, match=r"loss/value is [\d.e+]+, above ppo.max_value_loss=1e\+09"):
        run(config, tmp_path / "run")


@pytest.mark.more
def test_rewards_times_1e30_end_the_run(compose_tiny, tmp_path, monkeypatch):
    with_rewards(monkeypatch, lambda reward, step: reward * (1e30 if step > 64 else 1))
    config = compose_tiny("budget.env_steps=640", "ppo.normalise_rewards=false").config
    with pytest.raises(DivergedError, match="loss value is not finite"):
        run(config, tmp_path / "run")


@pytest.mark.more
def test_a_policy_that_jumps_is_put_back_and_then_ends_the_run(compose_tiny, tmp_path):
    config = compose_tiny("budget.env_steps=640", "ppo.max_kl=1e-12", "ppo.num_epochs=2").config
    with pytest.raises(DivergedError, match=r"train/kl is [\d.e-]+, above ppo.max_kl=1e-12"):
        run(config, tmp_path / "run")
    tensors = weights(tmp_path / "run")
    fresh = Trainer(config, tmp_path / "fresh", None, QuietConsole(), StopFlag())
    assert all(torch.equal(tensors["model"][n], v) for n, v in fresh.policy.state_dict().items())
    fresh.close()


@pytest.mark.more
def test_a_bundle_that_cannot_be_written_is_a_storage_error(compose_tiny, tmp_path, monkeypatch):
    with_rewards(monkeypatch, lambda reward, step: reward * math.nan)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "debug").write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot write .*debug"):
        run(compose_tiny("budget.env_steps=640").config, tmp_path / "run")


# Processes

STEP_SECONDS = 10  # how long a worker may be silent; the first step may have to compile


@pytest.mark.more
@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGSEGV, signal.SIGSTOP))],
)
def test_a_lost_worker_costs_its_games_and_not_the_run(number, compose_tiny, tmp_path, monkeypatch, started):
    config = compose_tiny(*ON_NETHACK, "budget.env_steps=256", "eval.games=4").config
    config = replace(config, env={**config.env, "num_workers": 2, "step_seconds": STEP_SECONDS})
    struck = []

    def strike(self, rollout, settings):
        if not struck:
            struck.append(started[0].pid)
            started[0].send_signal(number)
        return update(self, rollout, settings)

    update = ppo.Learner.update
    monkeypatch.setattr(ppo.Learner, "update", strike)
    console = QuietConsole()
    (tmp_path / "run").mkdir()
    trainer = Trainer(config, tmp_path / "run", None, console, StopFlag())
    try:
        result = trainer.run()
    finally:
        trainer.close()
    assert (result["lost_processes"], result["lost_episodes"], result["updates"]) == (1, 2, 4)
    (told,) = [text for text in console.warnings if "its games count as cut off" in text]
    assert f"process {struck[0]}" in told
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["lost/processes"] for row in rows] == [0, 1, 1, 1]
    assert (tmp_path / "run" / "episodes.csv").read_text().count(",lost") == 2


@pytest.mark.slow
@pytest.mark.more
def test_a_lost_learner_process_costs_time_alone(compose_tiny, tmp_path, monkeypatch, started):
    sizes = ("ppo.minibatch_size=128", "env.num_envs=16", "budget.env_steps=1024")
    config = compose_tiny("threads=2", *sizes).config
    run(config, tmp_path / "whole")
    started.clear()
    original, calls = shards.Shards.backward, [0]

    def backward(self, gradients):
        calls[0] += 1
        if calls[0] == 4:
            started[0].kill()
            started[0].wait()
        return original(self, gradients)

    monkeypatch.setattr(shards.Shards, "backward", backward)
    result, console = run(config, tmp_path / "run")
    assert result["lost_processes"] == 1
    assert any("learner process 1" in text and "nothing is lost" in text for text in console.warnings)
    found, expected = contents(tmp_path / "run"), contents(tmp_path / "whole")
    for name in ("model.safetensors", "optim.safetensors", "normaliser.safetensors", "episodes.csv"):
        assert found[name] == expected[name], name


@pytest.mark.more
def test_learner_processes_that_die_again_and_again_end_the_run(compose_tiny, tmp_path, monkeypatch):
    sizes = ("ppo.minibatch_size=128", "env.num_envs=16", "budget.env_steps=1024")

    def backward(self, gradients):
        raise WorkerError("learner process 1 was killed")

    monkeypatch.setattr(shards.Shards, "backward", backward)
    monkeypatch.setattr(ppo, "MAX_RESTARTS", 1)
    with pytest.raises(WorkerError) as ended:
        run(compose_tiny("threads=2", *sizes).config, tmp_path / "run")
    assert ended.value.exit_code == 1


def test_a_policy_that_cannot_act_has_diverged(tiny_config, tmp_path, monkeypatch):
    """Its outputs overflow in the second rollout: nothing can be undone, and the message is the usual one."""
    original, calls = policy_module.masked_log_probs, iter(range(10**6))

    def overflowing(logits, mask):
        return original(logits * (1 if next(calls) < 40 else math.inf), mask)

    monkeypatch.setattr(policy_module, "masked_log_probs", overflowing)
    with pytest.raises(DivergedError, match=r"cannot act.*try stage\.learning_rate=") as error:
        run(tiny_config, tmp_path / "run")
    assert error.value.exit_code == 3
    assert "updates" in error.value.result
