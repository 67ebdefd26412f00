"""Whole runs of a second: secrets, a jumping clock, and two processes in one directory."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.prepared import Command
from support.settings import TINY

from tedg.config.compose import Composed
from tedg.run import app

SECRET = "hunter2-7f3a9c"


def start(directory: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return Command(
        [sys.executable, "-m", "tedg.train", *TINY, *arguments],
        cwd=directory,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.more
def test_a_secret_of_the_environment_is_nowhere_in_the_run(tmp_path: Path) -> None:
    """Neither in a file nor in its name, with everything that a run can write."""
    process = start(
        tmp_path,
        "run_dir=run",
        "logger=tensorboard",
        "check=default",
        "paths.output_dir=${oc.env:TOKEN}",
        "paths.multirun_dir=${paths.output_dir}/${oc.env:TOKEN,none}",
        "hydra.job.name=${oc.env:TOKEN}",
        TOKEN=SECRET,
    )
    out, err = process.communicate(timeout=200)
    assert process.returncode in (0, 5), err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert names >= {
        "config.yaml",
        "provenance.json",
        "metrics.jsonl",
        "episodes.csv",
        "result.json",
        "check.json",
    }
    assert any(name.startswith("events") for name in names)
    assert any(name.endswith(".safetensors") for name in names)
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path
        assert SECRET not in str(path)
    assert SECRET not in out + err
    assert "${oc.env:TOKEN}" in (tmp_path / "run" / "config.yaml").read_text()
    (session,) = json.loads((tmp_path / "run" / "provenance.json").read_text())["sessions"]
    assert "${oc.env:TOKEN}" in session["command"]


@pytest.fixture
def jumping_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the wall clock jump by up to a day, back and forth, each time that it is read."""

    def install() -> None:
        source, true_time = random.Random(0), time.time

        def jumping() -> float:
            return true_time() + source.uniform(-86_400, 86_400)

        monkeypatch.setattr(time, "time", jumping)
        monkeypatch.setattr(time, "time_ns", lambda: int(jumping() * 1e9))

    return install


@pytest.mark.more
def test_a_jumping_clock_changes_no_result(
    compose_tiny: Callable[..., Composed], jumping_clock: Callable[[], None], tmp_path: Path
) -> None:
    quiet = lambda text: None  # noqa: E731
    app.run(compose_tiny(f"run_dir={tmp_path}/steady"), say=quiet)
    jumping_clock()
    app.run(compose_tiny(f"run_dir={tmp_path}/jumping", "logger=tensorboard"), say=quiet)
    for name in ("metrics.jsonl", "episodes.csv", "result.json"):
        assert (tmp_path / "steady" / name).read_bytes() == (tmp_path / "jumping" / name).read_bytes(), name
    checkpoints = [
        sorted(path.name for path in (tmp_path / run / "checkpoints").iterdir())
        for run in ("steady", "jumping")
    ]
    assert checkpoints[0] == checkpoints[1] != []
    for line in (tmp_path / "jumping" / "timing.jsonl").read_text().splitlines():
        seconds = {key: value for key, value in json.loads(line).items() if key.startswith("time/")}
        assert all(0 <= value < 600 for key, value in seconds.items() if key != "time/steps_per_second"), line


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A command that has begun a long run in `run`."""
    with start(tmp_path, "run_dir=run", "budget.env_steps=100000000") as process:
        try:
            wait_until((tmp_path / "run" / "metrics.jsonl").exists, process)
            yield process
        finally:
            process.kill()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.more
def test_two_commands_and_one_directory(tmp_path: Path, owner: subprocess.Popen[str]) -> None:
    """The later one is told who is there; after the owner's death the run goes on."""
    long = ("run_dir=run", "budget.env_steps=100000000")
    before = (tmp_path / "run" / "provenance.json").read_bytes()
    loser = start(tmp_path, *long)
    _, err = loser.communicate(timeout=100)
    assert loser.returncode == 2
    host = re.escape(socket.gethostname())
    assert re.search(
        rf"^error: run is in use by host {host} pid {owner.pid}; wait for it or stop it$", err, re.M
    )
    assert "Traceback" not in err
    assert (tmp_path / "run" / "provenance.json").read_bytes() == before
    assert owner.poll() is None
    owner.kill()
    owner.wait()
    provenance = tmp_path / "run" / "provenance.json"
    with start(tmp_path, *long) as heir:
        try:
            wait_until(lambda: provenance.read_bytes() != before, heir)
            heir.send_signal(signal.SIGTERM)
            heir.communicate(timeout=100)
        finally:
            heir.kill()
    assert heir.returncode in (143, -signal.SIGTERM)
