"""Runs of the toy are killed with SIGKILL at random moments, and end as if they had not been."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KILL_LOOP = Path(__file__).parent / "kill_loop.py"


def kill_runs(tmp_path, *arguments):
    command = [sys.executable, str(KILL_LOOP), "--directory", str(tmp_path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.more
def test_kills_change_nothing(tmp_path):
    told = kill_runs(tmp_path, "--env", "toy", "--fork", "--kills", "8")
    assert "8 kills, " in told
    assert "all byte-equal" in told
    assert "in a checkpoint's writing" in told


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nor_do_kills_of_nethack(tmp_path):
    assert "all byte-equal" in kill_runs(tmp_path, "--env", "nethack", "--kills", "20")
