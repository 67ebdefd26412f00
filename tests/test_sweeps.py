"""Sweeps as users start them: cells are killed, fail, leave or diverge, and drivers are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.processes import alive, wait_until_gone
from support.settings import FASTEST, ON_NETHACK, TINY
from support.sweep_commands import Sweep, table

from tedg.store import checkpoint

pytestmark = pytest.mark.more

# What is promised of sweeps as such is shown on NetHack as well.
on_both = pytest.mark.parametrize(
    "game",
    [
        pytest.param((), id="toy"),
        pytest.param((*ON_NETHACK, "env.num_workers=0"), id="nethack", marks=pytest.mark.slow),
    ],
)


@pytest.fixture
def make_sweep(tmp_path: Path) -> Iterator[Callable[..., Sweep]]:
    made: list[Sweep] = []

    def make(*overrides: str, **variables: str) -> Sweep:
        made.append(Sweep(tmp_path, *overrides, **variables))
        return made[-1]

    yield make
    for sweep in made:
        for process in sweep.processes:
            process.kill()
            process.communicate()


@on_both
def test_a_sweep_ends_whatever_fails_on_the_way(
    make_sweep: Callable[..., Sweep], game: tuple[str, ...]
) -> None:
    sweep = make_sweep("seed=range(12)", *game)
    fates = {0: "kill once", 1: "kill once", 2: "kill", 3: "raise", 4: "exit once", 5: "nan"}
    for seed, fate in fates.items():
        sweep.fate(seed, fate)
    driver = sweep.start()
    sweep.wait_for(lambda: len(list(sweep.study.glob("*/result.json"))) >= 2)
    driver.kill()
    driver.wait()
    assert wait_until_gone(sweep.pids()) == []  # cells save and end when their driver dies
    finished = {path: path.stat().st_mtime_ns for path in sweep.study.glob("*/result.json")}
    assert 2 <= len(finished) < 12
    code, output = sweep.run()
    expected = {f"seed={n}": "done" for n in range(12)} | {"seed=3": "failed", "seed=5": "diverged"}
    assert code == 1, output
    assert "Traceback" not in output
    # The driver's death has cost nobody a retry, so the one that is killed again and again is lost once more.
    assert sweep.states() == table(output) == expected | {"seed=2": table(output)["seed=2"]}
    assert table(output)["seed=2"] in ("lost", "done")
    assert "seed=3: failed: LookupError: nobody is at home" in output
    assert all(path.stat().st_mtime_ns == before for path, before in finished.items())
    for seed in (2, 3):
        (sweep.root / "fates" / str(seed)).unlink()
    code, output = sweep.run()
    assert (code, sweep.states()) == (3, expected | {"seed=3": "done"}), output
    code, output = sweep.run()
    assert code == 3
    assert table(output) == sweep.states()
    for name, log in sweep.logs().items():
        assert log.count("status finished") == ("-s5-" not in name), log
    raised = next(log for name, log in sweep.logs().items() if "-s3-" in name)
    assert "goes on from its newest checkpoint" in raised


@pytest.mark.slow
def test_cells_are_what_single_runs_are(make_sweep: Callable[..., Sweep]) -> None:
    sweep = make_sweep("seed=0,1")
    sweep.fate(1, "kill once")
    assert sweep.run()[0] == 0
    for seed in (0, 1):
        settings = [*TINY, *FASTEST, "fusion._target_=mishaps.Fusion", "budget.env_steps=256", f"seed={seed}"]
        alone = subprocess.run(
            [sys.executable, "-m", "tedg.train", *settings], cwd=sweep.root, env=sweep.variables, timeout=100
        )
        assert alone.returncode == 0
        (run,) = sweep.study.glob(f"*-s{seed}-*")
        for name in ("metrics.jsonl", "episodes.csv", "games.csv"):
            assert (sweep.root / "outputs" / run.name / name).read_bytes() == (run / name).read_bytes()


@on_both
def test_two_drivers_share_a_study(make_sweep: Callable[..., Sweep], game: tuple[str, ...]) -> None:
    sweep = make_sweep("seed=range(5)", "hydra.launcher.n_jobs=2", *game)
    drivers = [sweep.start(), sweep.start()]
    for driver in drivers:
        code, output = sweep.end(driver)
        assert code == 0, output
        assert set(table(output).values()) == {"done"}
    assert sweep.states() == {f"seed={n}": "done" for n in range(5)}
    assert [log.count("status finished") for log in sweep.logs().values()] == [1] * 5


@on_both
def test_stages_are_trained_in_order_though_a_warmup_is_killed(
    make_sweep: Callable[..., Sweep], game: tuple[str, ...]
) -> None:
    sweep = make_sweep("stage=finetune,transition,warmup", "seed=0,1", *game)
    sweep.fate(1, "kill once")
    sweep.fate(0, "raise")
    code, output = sweep.run()
    assert code == 1, output
    assert table(output) == {
        **{f"stage={stage} seed=1": "done" for stage in ("warmup", "transition", "finetune")},
        "stage=warmup seed=0": "failed",
        "stage=transition seed=0": "blocked",
        "stage=finetune seed=0": "blocked",
    }
    assert "stage=transition seed=0: blocked: its parent stage=warmup seed=0 is failed" in output
    (sweep.root / "fates" / "0").unlink()
    code, output = sweep.run()
    assert code == 0, output
    provenance = {
        path.parent.name: json.loads(path.read_text()) for path in sweep.study.glob("*/provenance.json")
    }
    for name, own in provenance.items():
        before = {"transition": "warmup", "finetune": "transition"}.get(name.split("-")[1])
        seed = name.split("-")[2]
        if before is None:
            assert own["parent"] is None
            continue
        (parent,) = [path for path in provenance if path.startswith(f"concat-{before}-{seed}-")]
        assert own["parent"] == provenance[parent]["run_id"]
        begun = (sweep.study / name / "config.yaml").stat().st_mtime_ns
        assert begun >= (sweep.study / parent / "result.json").stat().st_mtime_ns


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR2, 75)],
    ids=["TERM", "INT", "USR2"],
)
def test_a_signal_to_the_driver_saves_all_cells(
    number: int, code: int, make_sweep: Callable[..., Sweep], tmp_path: Path
) -> None:
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\n')
    (tmp_path / "scontrol").chmod(0o755)
    job = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "17"}
    sweep = make_sweep("seed=range(4)", "hydra.launcher.n_jobs=2", "budget.env_steps=1000000", **job)
    driver = sweep.start()
    sweep.wait_for(lambda: len({path.parent for path in sweep.study.glob("*/checkpoints/ckpt-0*")}) == 2)
    driver.send_signal(number)
    found, output = sweep.end(driver)
    assert found == code, output
    assert wait_until_gone(sweep.pids(), 0) == []
    states = sweep.states()
    assert states == {"seed=0": "stopped", "seed=1": "stopped", "seed=2": "queued", "seed=3": "queued"}
    assert table(output) == states
    (line,) = [
        line for line in output.splitlines() if line.startswith("the same command does what is missing")
    ]
    assert "seed=range(4)" in line.replace("'", "")
    for run in sweep.study.glob("*-s[01]-*"):
        saved = checkpoint.latest(run / "checkpoints")
        assert saved is not None
        assert int(saved.name[-12:]) == (run / "metrics.jsonl").read_bytes().count(b"\n")
    assert (tmp_path / "called").exists() == (code == 75)
    if code == 75:
        assert (tmp_path / "called").read_text() == "requeue 17\n"


def test_cells_save_and_end_when_their_driver_is_killed(make_sweep: Callable[..., Sweep]) -> None:
    sweep = make_sweep("seed=0,1", "hydra.launcher.n_jobs=2", "budget.env_steps=1000000")
    driver = sweep.start()
    sweep.wait_for(lambda: len({path.parent for path in sweep.study.glob("*/checkpoints/ckpt-0*")}) == 2)
    driver.kill()
    assert wait_until_gone(sweep.pids()) == []
    for run in sweep.study.glob("*-s[01]-*"):
        saved = checkpoint.latest(run / "checkpoints")
        assert saved is not None
        assert int(saved.name[-12:]) == (run / "metrics.jsonl").read_bytes().count(b"\n")
    assert all("stopped, state saved" in log for log in sweep.logs().values())


def test_a_second_signal_ends_the_sweep_at_once(make_sweep: Callable[..., Sweep]) -> None:
    sweep = make_sweep("seed=0,1", "ppo.num_steps=8192", "budget.env_steps=1000000")  # an update takes long
    driver = sweep.start()
    sweep.wait_for(lambda: len(list(sweep.study.glob("*/episodes.csv"))) == 2)
    driver.send_signal(signal.SIGTERM)
    time.sleep(1)
    assert alive(driver.pid)
    start = time.monotonic()
    driver.send_signal(signal.SIGTERM)
    code, output = sweep.end(driver)
    assert (code, time.monotonic() - start < 3) == (143, True), output
    assert wait_until_gone(sweep.pids(), 5) == []


def test_cells_have_cores_of_their_own_and_are_forked(make_sweep: Callable[..., Sweep]) -> None:
    sweep = make_sweep("seed=0,1,2", "threads=null", SLURM_JOB_ID="17")
    assert sweep.run()[0] == 0
    for seed in range(3):
        seen = sweep.seen(seed)
        assert (len(seen["cores"]), seen["OMP_NUM_THREADS"]) == (1, "1")
        assert (seen["forked"], seen["group"]) == (True, True)
        assert seen["SLURM_JOB_ID"] is None  # the driver alone asks SLURM for anything


def test_a_driver_with_threads_starts_new_interpreters_and_gpus_are_shared_out(
    make_sweep: Callable[..., Sweep],
) -> None:
    gpus = {"CUDA_VISIBLE_DEVICES": "3,GPU-5", "THREADED": "1"}
    sweep = make_sweep("seed=range(3)", "device=auto", "hydra.launcher.jobs_per_gpu=2", **gpus)
    code, output = sweep.run()
    assert code == 0, output
    assert [sweep.seen(seed)["CUDA_VISIBLE_DEVICES"] for seed in range(3)] == ["3", "GPU-5", "3"]
    assert not any(sweep.seen(seed)["forked"] for seed in range(3))
