"""Sweeps on real SLURM, a cluster of this machine alone: jobs fail, are killed, preempted, cancelled."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.prepared import REPOSITORY
from support.processes import wait_until_gone
from support.settings import ON_NETHACK
from support.sweep_commands import Sweep, table

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(400)]

CLUSTER = REPOSITORY / "tests" / "support" / "slurm_local.sh"
# What becomes of a cell stands in a file named by its seed, and takes place at the 60th state batch that a
# job looks at: in its second update, after a checkpoint. But for `fail`, nothing comes again. A command is
# given the job's id, and a time limit in minutes that leaves it less than the three before which it is told.
MISHAPS = """
import os, signal, subprocess, time
from pathlib import Path
import torch
from tedg.models.fusion import ConcatFusion
from tedg.slurm import own_job

begun = time.monotonic()

class Fusion(ConcatFusion):
    def __init__(self, vision_dim: int, token_dim: int, num_tokens: int, logic_dim: int) -> None:
        super().__init__(vision_dim, token_dim, num_tokens, logic_dim)
        fate = Path(os.environ["FATES"]) / str(torch.initial_seed())
        self.fate = fate.read_text() if fate.exists() else ""
        if "SLURM_RESTART_COUNT" in os.environ:
            self.fate = ""
        self.file, self.calls, self.pause = fate, 0, 0.0

    def forward(self, tokens, h_vis, h_logic, noise):
        self.calls += 1
        fate, self.fate = (self.fate, "") if self.calls == 60 else ("", self.fate)
        if self.calls >= 60 and self.file.with_suffix(".slow").exists():
            time.sleep(float(self.file.with_suffix(".slow").read_text()))
        if fate:
            if fate != "fail":
                self.file.unlink()
            if fate == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if fate in ("raise", "fail"):
                raise LookupError("nobody is at home")
            limit = int(time.monotonic() - begun) // 60 + 3
            subprocess.run(fate.format(own_job(), limit).split(), check=True)
            self.pause = 0.3 if "TimeLimit" in fate else 0.02  # to be there when SLURM acts on it
        time.sleep(self.pause)
        return super().forward(tokens, h_vis, h_logic, noise)
"""


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[str]:
    """Its configuration file; all of it is gone afterwards."""
    if "slurm" not in request.config.getoption("markexpr"):
        pytest.skip("starts daemons; make test-slurm runs it")
    # Not in pytest's own folder, which is private: munge refuses it.
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        started = subprocess.run([CLUSTER, "start", folder], stdout=subprocess.PIPE, text=True, timeout=300)
        if started.returncode == 3:
            pytest.skip(started.stdout.strip())
        assert started.returncode == 0
        yield f"{folder}/slurm.conf"
        subprocess.run([CLUSTER, "stop", folder], check=True, timeout=60)


class Jobs(Sweep):
    """`python -m tedg.train -m hydra/launcher=slurm` in one place, again and again."""

    mishaps = MISHAPS

    def __init__(self, root: Path, cluster: str, *overrides: str) -> None:
        root.mkdir(exist_ok=True)
        on_slurm = ("hydra/launcher=slurm", "hydra.launcher.poll_seconds=1")
        super().__init__(root, *on_slurm, *overrides, SLURM_CONF=cluster)
        self.delayed: dict[str, float] = {}

    def ask(self, *command: str) -> str:
        done = subprocess.run(command, env=self.variables, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout

    def slow(self, seed: int, pause: float) -> None:
        """Every state batch takes longer, until the file is gone."""
        (self.root / "fates" / f"{seed}.slow").write_text(str(pause))

    def let_go(self) -> None:
        """A requeued job waits for two minutes. Earlier than after some seconds, SLURM would not trust it."""
        now = time.monotonic()
        for line in self.ask("squeue", "--noheader", "--array", "--format=%i %r").splitlines():
            job, reason = line.split(" ", 1)
            if reason == "BeginTime" and now - self.delayed.setdefault(job, now) > 8:
                del self.delayed[job]
                self.ask("scontrol", "update", f"jobid={job}", "StartTime=now", "TimeLimit=10")

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        end = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < end:
            self.let_go()
            time.sleep(0.5)
        if process.poll() is None:
            process.kill()
        return super().end(process)

    def jobs(self) -> dict[str, str]:
        """Job of each cell, as study.json has it."""
        path = self.study / "study.json"
        cells = json.loads(path.read_text())["cells"] if path.exists() else {}
        return {cell["label"]: cell["job"] for cell in cells.values() if cell.get("job")}

    def starts(self) -> dict[str, int]:
        """How often each cell was begun or gone on with."""
        return {name: log.count("\n--- ") + log.startswith("--- ") for name, log in self.logs().items()}


@pytest.fixture
def make_jobs(cluster: str, tmp_path: Path) -> Iterator[Callable[..., Jobs]]:
    made: list[Jobs] = []

    def make(*overrides: str) -> Jobs:
        made.append(Jobs(tmp_path / "slurm", cluster, *overrides))
        return made[-1]

    yield make
    for sweep in made:
        for process in sweep.processes:
            process.kill()
            process.communicate()
        print(*(f"{name}\n{log}" for name, log in sweep.logs().items()), sep="\n")
        sweep.ask("scancel", "--me")


def test_jobs_end_as_local_cells_whatever_happens_to_them(
    make_jobs: Callable[..., Jobs], tmp_path: Path
) -> None:
    settings = [*ON_NETHACK, "env.num_workers=0", "budget.env_steps=512", "seed=range(5)"]
    sweep = make_jobs(*settings, "hydra.launcher.time=0:10:00", "hydra.launcher.signal_delay_s=180")
    preempted, requeued = "scancel --signal=USR2 {}", "scontrol requeue {}"
    out_of_time = "scontrol update jobid={} TimeLimit={}"
    # The last of an array has a number that stands for all of them.
    for seed, fate in enumerate(["raise", "kill", out_of_time, requeued, preempted]):
        sweep.fate(seed, fate)
    (tmp_path / "local").mkdir()
    local = Sweep(tmp_path / "local", *settings)
    (local.root / "mishaps.py").write_text(MISHAPS)
    driver = sweep.start()
    assert local.run()[0] == 0
    code, output = sweep.end(driver)
    assert code == 0, output
    assert table(output) == {f"seed={seed}": "done" for seed in range(5)}
    assert "seed=0] failed: LookupError: nobody is at home; it will go on" in output
    assert "seed=1] lost: its job" in output
    cells = json.loads((sweep.study / "study.json").read_text())["cells"].values()
    assert [cell["attempts"] for cell in cells] == [2, 2, 1, 1, 1]  # SLURM's own requeues cost none
    for run in local.study.glob("*-s?-*"):
        log = sweep.logs()[run.name]
        assert "goes on from its newest checkpoint" in log
        assert log.count("status finished") == 1
        for name in ("metrics.jsonl", "episodes.csv", "games.csv"):
            assert (sweep.study / run.name / name).read_bytes() == (run / name).read_bytes(), (run.name, name)
        own, other = (Path(folder, "checkpoints") for folder in (sweep.study / run.name, run))
        newest = max(path.name for path in other.iterdir())
        weights = f"{newest}/model.safetensors"
        assert (own / weights).read_bytes() == (other / weights).read_bytes()


def test_jobs_go_on_without_drivers_and_are_submitted_once(make_jobs: Callable[..., Jobs]) -> None:
    sweep = make_jobs("seed=range(3)", "hydra.launcher.n_jobs=2")
    for seed in range(3):
        sweep.slow(seed, 2)
    first = sweep.start()
    sweep.wait_for(lambda: len(list(sweep.study.glob("*/metrics.jsonl"))) == 2)
    jobs = sweep.jobs()
    shown = study(sweep, "show")
    assert f"running (job {jobs['seed=0']})" in shown
    assert f"pending (job {jobs['seed=2']}, JobArrayTaskLimit)" in shown
    sweep.ask("scancel", jobs["seed=1"])
    sweep.wait_for(lambda: sweep.states()["seed=1"] == "lost")
    assert study(sweep, "failed").startswith(f"seed=1: lost: its job {jobs['seed=1']} was cancelled\n")
    first.send_signal(signal.SIGINT)
    code, output = sweep.end(first)
    assert code == 130
    assert "2 jobs go on in SLURM without this command" in output
    assert "-m tedg.study watch multirun/mine\nto cancel them: scancel --me --name=tedg-mine\n" in output
    assert set(sweep.starts().values()) == {1}
    before = sweep.jobs()
    drivers = [sweep.start(), sweep.start()]
    sweep.wait_for(lambda: sweep.jobs()["seed=1"] != before["seed=1"])
    for seed in range(3):
        (sweep.root / "fates" / f"{seed}.slow").unlink()
    outputs = [sweep.end(driver) for driver in drivers]
    for code, output in outputs:
        assert (code, set(table(output).values())) == (0, {"done"}), output
    assert f"[seed=0] is in SLURM already as job {before['seed=0']}\n" in outputs[0][1] + outputs[1][1]
    assert sweep.jobs() == {**before, "seed=1": sweep.jobs()["seed=1"]}
    assert [count for name, count in sorted(sweep.starts().items())] == [1, 2, 1]


@pytest.mark.slow
def test_chains_go_on_when_their_driver_is_killed(make_jobs: Callable[..., Jobs]) -> None:
    sweep = make_jobs("stage=transition,warmup")
    driver = sweep.start()
    sweep.wait_for(lambda: len(sweep.jobs()) == 2)
    driver.kill()
    wait_until_gone([driver.pid], 5)
    watched = study(sweep, "watch")
    assert "2 cells: 2 done" in watched
    provenance = [json.loads(path.read_text()) for path in sweep.study.glob("*/provenance.json")]
    parents = {own["run_id"]: own["parent"] for own in provenance}
    assert sum(parent is None for parent in parents.values()) == 1
    assert set(parents) >= {parent for parent in parents.values() if parent is not None}
    code, output = sweep.run()
    assert (code, set(table(output).values())) == (0, {"done"}), output
    assert set(sweep.starts().values()) == {1}


@pytest.mark.slow
def test_children_follow_another_attempt_and_are_blocked_after_the_last(
    make_jobs: Callable[..., Jobs],
) -> None:
    sweep = make_jobs("stage=warmup,transition", "seed=0,1", "hydra.sweeper.retries=1")
    sweep.fate(0, "raise")
    sweep.fate(1, "fail")
    code, output = sweep.run()
    assert code == 1, output
    assert table(output) == {
        "stage=warmup seed=0": "done",
        "stage=transition seed=0": "done",
        "stage=warmup seed=1": "failed",
        "stage=transition seed=1": "blocked",
    }
    assert "stage=transition seed=1: blocked: its parent stage=warmup seed=1 is failed" in output
    assert sorted(sweep.starts().values()) == [1, 2, 2]  # a child never begins without its parent's weights
    assert sweep.ask("squeue", "--noheader") == ""


def test_what_sbatch_refuses_is_one_line(make_jobs: Callable[..., Jobs]) -> None:
    code, output = make_jobs("seed=0,1", "hydra.launcher.partition=nowhere").run()
    said = (
        "invalid partition specified: nowhere; Batch job submission failed: Invalid partition name specified"
    )
    assert (code, output.splitlines()[-1]) == (2, f"error: hydra/launcher=slurm: sbatch: {said}")


def study(sweep: Jobs, what: str) -> str:
    """What `python -m tedg.study` prints."""
    return sweep.ask(sys.executable, "-m", "tedg.study", what, str(sweep.study))
