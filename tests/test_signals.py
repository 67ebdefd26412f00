"""Signals to real runs: they save at the next update, end with the right code, and go on afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.prepared import Command
from support.processes import alive, children, wait_until_gone
from support.settings import LONG_ENOUGH_TO_STOP

from tedg.store import checkpoint

REPOSITORY = Path(__file__).resolve().parent.parent
LONG = "budget.env_steps=10000000"


class Training:
    """`python -m tedg.train` in a process group of its own."""

    def __init__(self, root, environment="toy", variables=None, overrides=()):
        self.root = root
        given = [*LONG_ENOUGH_TO_STOP[environment], "checkpoint.every_updates=1000", LONG, *overrides]
        self.process = Command(
            [sys.executable, "-m", "tedg.train", *given, f"paths.output_dir={root / 'runs'}"],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **(variables or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    @property
    def run_dir(self):
        (found,) = (self.root / "runs").iterdir()
        return found

    def rows(self):
        files = list((self.root / "runs").glob("*/metrics.jsonl"))
        return files[0].read_bytes().count(b"\n") if files else 0

    def wait_for_updates(self, count=2):
        end = time.monotonic() + 120
        while self.rows() < count:
            assert self.process.poll() is None, self.process.stdout.read()
            assert time.monotonic() < end
            time.sleep(0.05)

    def end(self, seconds=30):
        output, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode, output


@pytest.fixture
def training(tmp_path):
    started = []

    def start(**settings):
        started.append(Training(tmp_path, **settings))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        one.process.stdout.close()


@pytest.mark.more
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR2, 75)],
    ids=["SIGTERM", "SIGINT", "SIGUSR2"],
)
def test_a_signal_to_all_processes_saves_and_stops(number, code, training):
    one = training()
    one.wait_for_updates()
    os.killpg(one.process.pid, number)
    found, output = one.end()
    assert found == code, output
    assert "Traceback" not in output
    assert "stopped, state saved in" in output
    assert f"go on with: {sys.executable} -m tedg.train" in output
    saved = checkpoint.latest(one.run_dir / "checkpoints")
    assert int(saved.name[-12:]) == one.rows() >= 2
    assert not (one.run_dir / "result.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 75)]
)
def test_so_do_runs_of_nethack_with_workers(number, code, training):
    one = training(environment="nethack")
    one.wait_for_updates()
    workers = children(one.process.pid)
    assert len(workers) == 3  # two play, one learns
    os.killpg(one.process.pid, number)
    found, output = one.end()
    assert found == code, output
    assert "Traceback" not in output
    assert "lost" not in output
    assert wait_until_gone(workers) == []
    saved = checkpoint.load(checkpoint.latest(one.run_dir / "checkpoints"))
    assert len(saved.state["positions"]) == 8
    assert saved.step == one.rows()


@pytest.mark.more
def test_a_second_signal_ends_it_at_once(training):
    one = training(overrides=["ppo.num_steps=4096"])  # an update takes long
    end = time.monotonic() + 120
    while not list((one.root / "runs").glob("*/episodes.csv")):
        assert time.monotonic() < end
        time.sleep(0.05)
    one.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert alive(one.process.pid)
    start = time.monotonic()
    one.process.send_signal(signal.SIGTERM)
    found, output = one.end()
    assert (found, time.monotonic() - start < 2) == (143, True), output


def fake_scontrol(folder, code=0):
    folder.mkdir()
    program = folder / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\necho "not today" >&2\nexit {code}\n')
    program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "4711"}


@pytest.mark.more
@pytest.mark.parametrize("code", [0, 1])
def test_slurm_is_asked_to_run_it_again(code, training, tmp_path):
    one = training(variables=fake_scontrol(tmp_path / "bin", code))
    one.wait_for_updates()
    one.process.send_signal(signal.SIGUSR1)
    found, output = one.end()
    assert found == 75
    assert (tmp_path / "bin" / "calls").read_text() == "requeue 4711\n"
    expected = "could not be put back into the queue: not today" if code else "was put back into the queue"
    assert f"job 4711 {expected}" in output


@pytest.mark.more
def test_so_it_is_when_nobody_reads_the_output_any_more(training, tmp_path):
    one = training(variables=fake_scontrol(tmp_path / "bin"))
    one.wait_for_updates()
    one.process.stdout.close()
    one.process.send_signal(signal.SIGUSR2)
    assert one.process.wait(30) == 75
    assert (tmp_path / "bin" / "calls").read_text() == "requeue 4711\n"


@pytest.mark.more
def test_slurm_is_left_alone_after_other_signals(training, tmp_path):
    one = training(variables=fake_scontrol(tmp_path / "bin"))
    one.wait_for_updates()
    one.process.send_signal(signal.SIGTERM)
    assert one.end()[0] == 143
    assert not (tmp_path / "bin" / "calls").exists()


@pytest.mark.more
def test_under_submitit_sigterm_saves_and_the_run_goes_on(training):
    one = training(variables={"SUBMITIT_EXECUTOR": "slurm"})
    one.wait_for_updates()
    one.process.send_signal(signal.SIGTERM)
    end = time.monotonic() + 30
    while checkpoint.latest(one.run_dir / "checkpoints") is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    one.wait_for_updates(one.rows() + 2)
    assert one.process.poll() is None


@pytest.mark.more
def test_a_killed_run_leaves_no_process(training):
    one = training(environment="nethack")
    one.wait_for_updates(1)
    workers = children(one.process.pid)
    shared = set(os.listdir("/dev/shm"))
    one.process.kill()
    one.process.wait()
    assert len(workers) == 3
    assert wait_until_gone(workers) == []
    assert set(os.listdir("/dev/shm")) <= shared
