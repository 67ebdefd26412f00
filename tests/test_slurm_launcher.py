"""hydra/launcher=slurm without SLURM: its keys, what it submits, and what it makes of what squeue says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.sweeps import finish, jobs

from hydra_plugins.tedg_sweeps.slurm_launcher import SlurmLauncherConf
from tedg import slurm, train
from tedg.errors import ConfigError
from tedg.files import write_json
from tedg.signals import StopFlag
from tedg.slurm import Job
from tedg.store.study import STUDY, job_report
from tedg.study.cells import cells as cells_of
from tedg.sweep import slurm_job, slurm_launcher
from tedg.sweep.cell import Cell, State
from tedg.sweep.drive import _entry
from tedg.sweep.plan import plan
from tedg.sweep.scheduler import Scheduler, settle_known
from tedg.sweep.slurm_settings import parameters, time_limit


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("4:00:00", 14400), ("30:00", 1800), ("1-12", 129600), ("2-03:04", 183840), ("0-00:00:30", 30)],
)
def test_times_are_slurms(text: str, seconds: int) -> None:
    assert time_limit(text) == seconds


@pytest.mark.parametrize("text", ["14400", "4h", "0:00", "", "1-", "-1:00"])
def test_other_times_are_refused(text: str) -> None:  # 14400 is what YAML makes of 4:00:00
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\.time="):
        time_limit(text)


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """The keys of the launcher, on a machine that has SLURM's commands."""
    for name in ("sbatch", "srun", "squeue", "scontrol", "scancel"):
        (tmp_path / "bin" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "bin" / name).touch(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return lambda **given: {**vars(SlurmLauncherConf()), **given}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n_jobs": 0}, "n_jobs=0: must be 1 or more"),
        ({"poll_seconds": 0.0}, "poll_seconds=0.0: must be above 0"),
        ({"time": "3:59", "signal_delay_s": 120}, "signal_delay_s=120: at most half of time=3:59"),
        ({"additional_parameters": {"array": "0-3"}}, "additional_parameters.array: tedg sets it itself"),
        ({"additional_parameters": {"cpus-per-task": 2}}, "cpus-per-task: set cpus_per_task beside it"),
    ],
)
def test_keys_that_cannot_be_are_refused(
    given: dict[str, Any], said: str, keys: Callable[..., dict[str, Any]]
) -> None:
    with pytest.raises(ConfigError) as refused:
        parameters(keys(**given))
    assert said in str(refused.value)


@pytest.mark.parametrize("launcher", ["slurm", "site"])
def test_a_machine_without_slurm_is_refused_in_one_line(
    launcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    asked = ["tedg.train", "-m", f"hydra/launcher={launcher}", "seed=0,1", "env=fake", "eval.games=0"]
    monkeypatch.setattr("sys.argv", asked)
    assert train.run() == 2
    assert capsys.readouterr().err == (
        "error: hydra/launcher=slurm: there is no sbatch on this machine; start the sweep on a login node, "
        "or take hydra/launcher=local\n"
    )
    assert list(tmp_path.iterdir()) == []


class Cluster:
    """Stands for SLURM and submitit: keeps what is submitted; the states of its jobs are set by a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any]) -> None:
        self.jobs: dict[str, Job] = {}
        self.submitted: list[tuple[list[str], str | None]] = []  # directories, dependency
        self.refuses: str | None = None
        self._parameters = parameters(keys)
        monkeypatch.setattr(slurm, "jobs", lambda: dict(self.jobs))
        monkeypatch.setattr(slurm_launcher, "SlurmExecutor", lambda folder: Executor(self))

    def launcher(self) -> slurm_launcher.SlurmLauncher:
        return slurm_launcher.SlurmLauncher(self._parameters, None, 0)

    def set(self, job: str, state: str) -> None:
        self.jobs[job] = Job("tedg-mine", state, "")

    def ends(self, cell: Cell, state: str, **told: Any) -> None:
        """As its job would leave it."""
        if state == "COMPLETED":
            finish(cell)
        path = job_report(cell.composed.root, cell.directory.name)
        path.parent.mkdir(exist_ok=True)
        write_json(path, {"job": cell.job, "seconds": 3.0, **told})
        self.set(cell.job, state)


class Executor:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._given = cluster, {}

    def update_parameters(self, **given: Any) -> None:
        self._given = given

    def map_array(self, function: object, errands: list[slurm_job.Errand]) -> list[Any]:
        cluster = self._cluster
        if cluster.refuses is not None:
            raise slurm_launcher.FailedJobError(cluster.refuses)
        number = len(cluster.submitted) + 1
        cluster.submitted.append(([e.directory.name for e in errands], self._given.get("dependency")))
        names = [f"{number}_{n}" for n in range(len(errands))] if len(errands) > 1 else [str(number)]
        for name in names:
            cluster.set(name, "PENDING")
        return [type("Submitted", (), {"job_id": name}) for name in names]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, keys: Callable[..., dict[str, Any]]) -> Cluster:
    return Cluster(monkeypatch, keys())


class Driver:
    """A sweep on the cluster, a turn at a time."""

    def __init__(self, root: Path, cluster: Cluster, *overrides: str, seeds: int = 1) -> None:
        self.cells = plan(jobs(root, *overrides, seeds=seeds))
        self.cells[0].composed.root.mkdir(parents=True, exist_ok=True)
        settle_known(self.cells, lambda cell, text: None)
        self.notices: list[str] = []
        self.launcher, self.stop = cluster.launcher(), StopFlag()
        notice = lambda cell, text: self.notices.append(text)  # noqa: E731
        self.scheduler = Scheduler(self.cells, self.launcher, 1, notice)

    def turns(self, number: int = 3) -> bool:
        return [self.scheduler.step(self.stop) for _ in range(number)][-1]

    def states(self) -> list[str]:
        return [str(cell.state) for cell in self.cells]


@pytest.fixture
def drive(tmp_path: Path, cluster: Cluster) -> Callable[..., Driver]:
    return lambda *overrides, seeds=1: Driver(tmp_path, cluster, *overrides, seeds=seeds)


def test_cells_are_one_array_and_children_depend_on_their_parents(
    drive: Callable[..., Driver], cluster: Cluster
) -> None:
    driver = drive("stage=transition,warmup", seeds=2)
    driver.turns()
    children, parents = driver.cells[:2], driver.cells[2:]
    assert [cell.job for cell in parents] == ["1_0", "1_1"]
    assert [dependency for _, dependency in cluster.submitted] == [None, "afterok:1_0", "afterok:1_1"]
    cluster.ends(parents[0], "COMPLETED", code=0)
    cluster.ends(parents[1], "FAILED", code=1, kind="LookupError", message="nobody")
    driver.turns()
    # Seed 1 is tried again, and its child with it.
    assert driver.states() == ["pending", "pending", "done", "pending"]
    assert [dependency for _, dependency in cluster.submitted[3:]] == [None, "afterok:4"]
    cluster.ends(parents[1], "FAILED", code=1, kind="LookupError", message="nobody")
    cluster.ends(children[0], "COMPLETED", code=0)
    assert not driver.turns()
    assert driver.states() == ["done", "blocked", "done", "failed"]
    assert (parents[1].attempts, children[1].attempts) == (2, 0)


def test_ends_of_jobs_are_what_they_and_slurm_say(drive: Callable[..., Driver], cluster: Cluster) -> None:
    driver = drive(seeds=4)
    driver.turns()
    killed, cancelled, silent, requeued = driver.cells
    cluster.ends(killed, "OUT_OF_MEMORY")
    cluster.ends(cancelled, "CANCELLED", code=75)
    del cluster.jobs[silent.job]
    cluster.set(requeued.job, "RUNNING")
    driver.turns(1)
    assert killed.reason == ""  # its last words may come a moment later
    driver.turns(1)
    assert killed.reason == "its job 1_0 has ended as OUT_OF_MEMORY"
    assert silent.reason.startswith("its job 1_2 has ended as gone; see ")
    assert driver.states() == ["pending", "lost", "pending", "running"]
    cluster.set(requeued.job, "PENDING")
    driver.turns()
    assert (requeued.state, requeued.attempts) == (State.PENDING, 1)
    assert [cell.attempts for cell in driver.cells] == [2, 1, 2, 1]
    assert cancelled.reason == "its job 1_1 was cancelled"
    assert "is in the queue again, and will go on from its newest checkpoint" in driver.notices


def test_jobs_are_submitted_once_by_any_number_of_commands(
    drive: Callable[..., Driver], cluster: Cluster
) -> None:
    chain = ("stage=warmup,transition",)
    first = drive(*chain)
    first.turns()
    second, third = drive(*chain), drive(*chain)
    second.turns()
    third.turns()
    assert len(cluster.submitted) == 2
    assert [cell.job for cell in third.cells] == ["1", "2"]
    assert third.notices == ["is in SLURM already as job 1", "is in SLURM already as job 2"]
    cluster.ends(first.cells[0], "FAILED", code=1)
    for driver in (second, third, first):
        driver.turns()
    assert len(cluster.submitted) == 4
    assert {tuple(cell.job for cell in driver.cells) for driver in (first, second, third)} == {("3", "4")}
    cluster.jobs["3"] = cluster.jobs["3"]._replace(name="another", state="RUNNING")
    fourth = drive(*chain)
    fourth.turns()
    assert fourth.cells[0].job == "5"  # that number is no longer this study's


def test_a_job_that_came_since_squeue_was_asked_is_known(
    drive: Callable[..., Driver], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = drive(), drive()
    answer = slurm.jobs

    def late() -> dict[str, Job]:
        """What SLURM knew before the other command submitted, in the turn in which this one does."""
        known = answer()
        if second.launcher._batch:
            monkeypatch.setattr(slurm, "jobs", answer)
            first.turns()
        return known

    monkeypatch.setattr(slurm, "jobs", late)
    second.turns()
    assert len(cluster.submitted) == 1
    assert second.notices == ["is in SLURM already as job 1"]


def test_a_driver_that_is_stopped_leaves_the_jobs(drive: Callable[..., Driver], cluster: Cluster) -> None:
    driver = drive(seeds=2)
    driver.turns()
    cluster.set("1_0", "RUNNING")
    driver.turns()
    driver.stop.requested = True
    assert not driver.turns(1)
    assert driver.states() == ["running", "pending"]


def test_what_sbatch_refuses_ends_the_first_submission_only(
    drive: Callable[..., Driver], cluster: Cluster
) -> None:
    cluster.refuses = "sbatch: error: invalid partition specified: nowhere\nsbatch: error: no jobs"
    driver = drive(seeds=1)
    with pytest.raises(ConfigError, match=r"sbatch: invalid partition specified: nowhere; no jobs$"):
        driver.turns()
    assert driver.states() == ["queued"]
    cluster.refuses = None
    driver = drive(seeds=2)
    driver.turns()
    cluster.ends(driver.cells[0], "FAILED", code=1)
    cluster.refuses = "sbatch: error: Socket timed out"
    driver.turns(6)
    assert driver.notices.count("cannot be submitted: Socket timed out; trying again") == 1
    cluster.refuses = None
    driver.turns()
    assert driver.cells[0].job == "2"


def test_a_child_does_not_begin_without_its_parents_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = jobs(tmp_path)
    monkeypatch.setattr(slurm_job, "train_cell", lambda *given: pytest.fail("it began"))
    errand = slurm_job.Errand(
        job, tmp_path / "run", tmp_path / "log", tmp_path / "it.json", tmp_path / "parent"
    )
    report = slurm_job.ReportFile(errand.report, "7")
    assert slurm_job._train(errand, report) == 2
    report.close(2)
    told = json.loads(errand.report.read_text())
    assert (told["job"], told["code"]) == ("7", 2)
    assert "is not finished" in told["message"]


def test_seconds_add_up_over_the_starts_of_a_job(tmp_path: Path) -> None:
    path = tmp_path / "it.json"
    write_json(path, {"job": "7", "seconds": 100.0, "code": 75})
    slurm_job.ReportFile(path, "7")
    told = json.loads(path.read_text())
    assert 100 <= told["seconds"] < 110
    assert "code" not in told
    slurm_job.ReportFile(path, "8")
    assert json.loads(path.read_text())["seconds"] < 10


def test_a_study_shows_what_slurm_says_of_its_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drive: Callable[..., Driver], cluster: Cluster
) -> None:
    driver = drive(seeds=4)
    driver.turns()
    folder = driver.cells[0].composed.root
    content = json.loads((folder / STUDY).read_text())
    for entry in content["cells"].values():
        entry |= {"state": "pending", "directory": str(folder / "x")}
    write_json(folder / STUDY, content)
    cluster.ends(driver.cells[0], "RUNNING", env_steps=64)
    cluster.jobs["1_1"] = Job("tedg-mine", "PENDING", "QOSMaxCpuPerUserLimit")
    cluster.ends(driver.cells[2], "FAILED", code=1, message="LookupError: nobody")
    del cluster.jobs["1_3"]
    found = {cell["job"]: (cell["state"], cell["reason"]) for cell in cells_of(folder, tmp_path)}
    assert found == {
        "1_0": ("running", "job 1_0"),
        "1_1": ("pending", "job 1_1, QOSMaxCpuPerUserLimit"),
        "1_2": ("failed", "LookupError: nobody"),
        "1_3": ("lost", "its job 1_3 is gone"),
    }
    monkeypatch.setattr(slurm, "jobs", lambda: None)
    assert {cell["state"] for cell in cells_of(folder, tmp_path)} == {"pending"}


def test_squeue_is_read_as_it_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "squeue").write_text(
        "#!/bin/sh\necho '12_3|PENDING|Priority|tedg-a|b'\necho '9|RUNNING|None|x'\n"
    )
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.jobs() == {"12_3": Job("tedg-a|b", "PENDING", "Priority"), "9": Job("x", "RUNNING", "")}
    (tmp_path / "squeue").write_text("#!/bin/sh\nexit 1\n")
    assert slurm.jobs() is None


@pytest.mark.parametrize(("array", "asked"), [({}, "17"), ({"JOB": "12", "TASK": "3"}, "12_3")])
def test_a_task_of_an_array_requeues_itself_alone(
    array: dict[str, str], asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    for name, value in array.items():
        monkeypatch.setenv(f"SLURM_ARRAY_{name}_ID", value)
    said: list[str] = []
    slurm.requeue(said.append)
    assert (tmp_path / "called").read_text() == f"requeue {asked}\n"
    assert said == [f"job {asked} was put back into the queue"]


def test_a_cell_that_is_trained_here_has_its_job_no_longer(drive: Callable[..., Driver]) -> None:
    driver = drive()
    driver.turns()
    (cell,) = driver.cells
    assert "job" not in _entry(cell)
    cell.state, cell.job = State.RUNNING, ""
    assert _entry(cell)["job"] == ""
