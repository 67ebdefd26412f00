"""The command as users call it: a sweep under Hydra, with a job that fails."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from support.settings import TINY

from tedg.errors import ConfigError, DivergedError, Stopped, TedgError


def command(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tedg.train", *arguments, *TINY],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.more
def test_a_sweep_goes_on_after_a_failed_job_and_says_so_at_its_end(tmp_path: Path) -> None:
    study = tmp_path / "multirun" / "mine"
    jobs = ("-m", "fusion=concat,cross_attn", "stage=warmup", "paths.study=mine")
    first = command(tmp_path, *jobs)
    assert first.returncode == 0, first.stderr
    runs = {path.name.rpartition("-")[0]: path for path in study.iterdir() if path.is_dir()}
    assert sorted(runs) == ["concat-warmup-s0", "cross_attn-warmup-s0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["multirun"]
    assert not list(tmp_path.rglob(".hydra"))
    assert not list(tmp_path.rglob("*.log"))
    broken, whole = runs["concat-warmup-s0"], runs["cross_attn-warmup-s0"]
    (broken / "result.json").write_text("{")
    (whole / "result.json").unlink()
    again = command(tmp_path, *jobs)
    assert again.returncode == 4
    assert "result.json cannot be read" in again.stderr
    assert "1 of 2 jobs failed" in again.stderr
    assert "Traceback" not in again.stderr
    assert json.loads((whole / "result.json").read_text())["status"] == "finished"


@pytest.mark.parametrize(
    "error",
    [TedgError("text", 7), ConfigError("text"), DivergedError("text", {"updates": 2}), Stopped(143)],
)
def test_errors_pass_between_processes(error: TedgError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), copy.__dict__) == (str(error), error.__dict__)
