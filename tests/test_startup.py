"""Signals while a command is still importing: libraries swallow the exceptions that Python makes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tedg import startup, streams

REPOSITORY = Path(__file__).resolve().parent.parent

SWALLOWS = """
import time
print("importing", flush=True)
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass
"""


@pytest.mark.parametrize(
    ("command", "library", "number", "code"),
    [
        ("tedg.train", "hydra", signal.SIGINT, 130),
        ("tedg.train", "hydra", signal.SIGUSR2, 75),
        ("tedg.smoke", "numpy", signal.SIGTERM, 143),
        ("tedg.bench", "rich", signal.SIGTERM, 143),
        ("tedg.hypergraph.convert", "yaml", signal.SIGINT, 130),
    ],
)
def test_a_signal_during_an_import_that_swallows_exceptions(command, library, number, code, tmp_path):
    (tmp_path / f"{library}.py").write_text(SWALLOWS)
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    (tmp_path / "scontrol").chmod(0o755)
    variables = {
        "PYTHONPATH": f"{tmp_path}:{REPOSITORY}",
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "17",
    }
    with subprocess.Popen(
        [sys.executable, "-m", command],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(number)
        try:
            output, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == code, output
    assert (tmp_path / "called").exists() == (code == 75)
    assert output == ("job 17 was put back into the queue\n" if code == 75 else "")


@pytest.mark.parametrize(
    ("argv", "original", "count"),
    [
        (["-m"], ["python", "-u", "-m", "tedg.train", "seed=1"], 4),
        (["/usr/bin/tedg-train"], ["python", "/usr/bin/tedg-train"], 4),
        (["-m"], ["python", "-m", "tedg.smoke"], 2),
        (["/usr/bin/tedg-bench"], ["python", "/usr/bin/tedg-bench"], 2),
        (["-c"], ["python", "-c", "import tedg"], 0),
        (["/usr/bin/pytest"], ["python", "-m", "pytest", "tedg.train"], 0),
        (["tedg-trainer.py"], ["python", "tedg-trainer.py"], 0),
        ([], ["program"], 0),
        ([""], ["python"], 0),
    ],
)
def test_only_commands_of_ours_are_touched(argv, original, count, monkeypatch):
    handled, secured = [], []
    monkeypatch.setattr(signal, "signal", lambda number, handler: handled.append(number))
    monkeypatch.setattr(streams, "secure", lambda: secured.append(True))
    startup.begin_command(argv, original)
    assert (len(handled), bool(secured)) == (count, count > 0)


def test_sigterm_that_only_announces_is_no_reason_to_leave(monkeypatch):
    left = []
    monkeypatch.setattr(startup, "leave", left.append)
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    startup._leave(signal.SIGTERM, None)
    assert left == []
    startup._leave(signal.SIGINT, None)
    assert left == [130]
