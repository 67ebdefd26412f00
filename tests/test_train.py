"""The command as users call it: a sweep under Hydra, with a job that fails."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from support.prepared import run
from support.settings import TINY

from tedg import train
from tedg.errors import ConfigError, DivergedError, Stopped, TedgError


def command(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-m", "tedg.train", *arguments, *TINY], cwd=directory)


@pytest.mark.more
def test_a_sweep_goes_on_after_a_failed_job_and_says_so_at_its_end(tmp_path: Path) -> None:
    study = tmp_path / "multirun" / "mine"
    jobs = ("-m", "fusion=concat,cross_attn", "stage=warmup", "paths.study=mine")
    first = command(tmp_path, *jobs)
    assert first.returncode == 0, first.stderr
    runs = {path.parent.name.rpartition("-")[0]: path.parent for path in study.glob("*/result.json")}
    assert sorted(runs) == ["concat-warmup-s0", "cross_attn-warmup-s0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["multirun"]
    assert not list(tmp_path.rglob(".hydra"))
    assert sorted(path.stem for path in tmp_path.rglob("*.log")) == sorted(
        path.name for path in runs.values()
    )
    broken, whole = runs["concat-warmup-s0"], runs["cross_attn-warmup-s0"]
    (broken / "result.json").write_text("{")
    (whole / "result.json").unlink()
    again = command(tmp_path, *jobs)
    assert again.returncode == 1
    assert "fusion=concat: failed: " in again.stdout
    assert "result.json cannot be read" in again.stdout
    assert "1 of 2 done, 1 failed" in again.stdout
    assert again.stderr == ""
    assert json.loads((whole / "result.json").read_text())["status"] == "finished"


@pytest.mark.more
def test_hydras_own_sweeper_and_launcher_are_there_as_before(tmp_path: Path) -> None:
    own = ("hydra/sweeper=basic", "hydra/launcher=basic")
    done = command(tmp_path, "-m", "fusion=concat", "seed=0,1", *own)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("multirun/default/*/result.json"))) == 2
    assert not (tmp_path / "multirun/default/study.json").exists()


@pytest.mark.more_than_first(2)
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["hydra/launcher=basic"], "hydra/sweeper=resume cannot use this launcher"),
        (["hydra/sweeper=basic"], "hydra/launcher=local belongs to hydra/sweeper=resume"),
        (["hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs=0: must be 1 or more"),
        (["hydra.sweeper.retries=-1"], "hydra.sweeper.retries=-1: must be 0 or more"),
        (["hydra.job.chdir=true"], "hydra.job.chdir=true: cells of a sweep share the working directory"),
        (["hydra.sweeper.retry=1"], "hydra.sweeper.retry"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_starts(
    overrides: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # which the command sets too
    monkeypatch.setattr(sys, "argv", ["train", "-m", "seed=0,1", *TINY, *overrides])
    assert train.run() == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.rglob("result.json"))


@pytest.mark.parametrize(
    "error",
    [TedgError("text", 7), ConfigError("text"), DivergedError("text", {"updates": 2}), Stopped(143)],
)
def test_errors_pass_between_processes(error: TedgError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), copy.__dict__) == (str(error), error.__dict__)
