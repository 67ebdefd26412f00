"""hydra/sweeper=optuna: what is drawn, what each end means, and that the total is kept whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from support.settings import FASTEST, TINY
from support.sweeps import FakeLauncher, jobs

from tedg import train
from tedg.config.compose import Composed, compose_all, search_space
from tedg.config.search import SearchSettings, Space, space_of
from tedg.config.sources import Sources
from tedg.config.typed import Faults
from tedg.errors import ConfigError, InUse, StorageError
from tedg.files import read_json, write_json
from tedg.store import rundir
from tedg.study.__main__ import run as study_command
from tedg.sweep import scheduler
from tedg.sweep.cell import Cell
from tedg.sweep.drive import Sweep
from tedg.sweep.launcher import Ended, Progress
from tedg.sweep.search import search

SETTINGS = SearchSettings(8, "mean_score", "random", 0, 1, 0.25)


class Killed(BaseException):
    """Stands for SIGKILL of the driver."""


class Seeds(FakeLauncher):
    """Runs whose held-out score is their seed, and whose curve is that too."""

    def __init__(self, fates: dict[int, list[str]], room: int = 1, ends_until_killed: int = -1) -> None:
        super().__init__(room)
        self.by_seed, self.left = fates, ends_until_killed
        self.stopped_cells: list[Cell] = []

    def start(self, cell: Cell) -> None:
        seed = cell.composed.config.seed
        self.fates[cell.label] = list(self.by_seed.get(seed, ["running", "running", "done"]))
        super().start(cell)

    def news(self) -> Iterator[Progress | Ended]:
        pruned, self.stopped_cells = self.stopped_cells, []
        self._running = [cell for cell in self._running if cell not in pruned]
        for one in chain([Ended(cell, 130, seconds=1) for cell in pruned], super().news()):
            if isinstance(one, Ended):
                if self.left == 0:
                    raise Killed
                self.left -= 1
            yield (
                replace(one, score=float(one.cell.composed.config.seed)) if isinstance(one, Progress) else one
            )

    def stop_cell(self, cell: Cell) -> None:
        self.stopped_cells.append(cell)

    def _end(self, cell: Cell, fate: str) -> Ended:
        if self.left == 0:
            return Ended(cell, None)
        end = super()._end(cell, fate)
        result = read_json(cell.directory / rundir.RESULT)
        if result is not None:
            seed = cell.composed.config.seed
            row = {"games": 2, "mean_score": seed, "standard_error": 0, "median_score": -seed}
            write_json(cell.directory / rundir.RESULT, {**result, "evaluation": {"policy": row}})
        return end


def space(*lines: str) -> Space:
    faults = Faults()
    made = space_of(None, [], OverridesParser.create().parse_overrides(list(lines)), faults)  # type: ignore[arg-type]
    assert not faults.lines
    assert made is not None
    return made


@pytest.fixture
def find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Search over seeds below `tmp_path`; the exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scheduler, "TICK_SECONDS", 0)

    def compose(self: Space, drawn: Sequence[str]) -> Composed:
        seed = int(drawn[0].removeprefix("seed="))
        if seed == 13:
            raise ConfigError("seed=13: brings bad luck")
        return jobs(tmp_path, seeds=seed + 1)[seed]

    monkeypatch.setattr(Space, "compose", compose)

    def find(launcher: Seeds, seeds: str = "range(0,30)", **settings: Any) -> int:
        asked = Sweep(jobs(tmp_path), ["seed=x"], 1, lambda cells, at_once: launcher)
        return search(asked, space(f"seed={seeds}"), replace(SETTINGS, **settings))

    return find


def trials(folder: Path) -> list[Any]:
    storage = JournalStorage(JournalFileBackend(str(folder / "search.journal")))
    return storage.get_all_trials(storage.get_study_id_from_name("search"))


def ends(folder: Path) -> dict[Any, list[str]]:
    """By seed, how its trials ended."""
    found: dict[Any, list[str]] = {}
    for trial in trials(folder):
        found.setdefault(trial.params["seed"], []).append(f"{trial.state.name} {trial.user_attrs.get('end')}")
    return found


def test_a_stopped_search_leaves_its_trials_to_the_next_command(find: Any, tmp_path: Path) -> None:
    launcher = Seeds({}, room=2)
    start = launcher.start

    def start_and_stop(cell: Cell) -> None:
        start(cell)
        if len(launcher.started) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    launcher.start = start_and_stop  # type: ignore[method-assign]
    assert find(launcher, prune_after=None) == 130
    folder = tmp_path / "multirun" / "mine"
    begun = [trial.number for trial in trials(folder) if trial.state.name == "RUNNING"]
    assert begun
    again = Seeds({}, room=2)
    assert find(again, prune_after=None) == 0
    names = tuple(f"trial={number} " for number in begun)
    assert again.started[: len(begun)] == [label for label in launcher.started if label.startswith(names)]
    assert [trial.state.name for trial in trials(folder)] == ["COMPLETE"] * 8


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_search_killed_again_and_again_is_the_search_that_ran_through(
    sampler: str, find: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "multirun" / "mine"
    whole = {"sampler": sampler}
    assert find(Seeds({}), **whole) == 0
    expected = [(trial.params, trial.state.name, trial.value) for trial in trials(folder)]
    assert len(expected) == 8
    best = max(value for _, state, value in expected if state == "COMPLETE")
    told = capsys.readouterr().out
    assert f"mean_score {best:g}: seed={best:g}\n" in told
    assert f"-m tedg.train -m seed={best:g}\n" in told
    folder.rename(tmp_path / "before")
    for left in (0, 2, 1):
        with pytest.raises(Killed):
            find(Seeds({}, ends_until_killed=left), **whole)
        with (folder / "search.journal").open("ab") as file:
            file.write(b'{"op_code": 4, "wor')  # killed in the middle of a line
    *done, begun = [trial.state.name for trial in trials(folder)]
    assert (set(done) <= {"COMPLETE", "PRUNED"}, begun) == (True, "RUNNING")
    last = Seeds({})
    assert find(last, **whole) == 0
    assert [(trial.params, trial.state.name, trial.value) for trial in trials(folder)] == expected
    assert last.started[0].startswith(f"trial={len(done)} ")
    assert find(Seeds({}, room=0), **whole) == 0  # nothing is started again
    assert find(Seeds({}), n_trials=9, **whole) == 0
    assert len(trials(folder)) == 9


def test_every_end_of_a_cell_is_one_of_its_trial(
    find: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "multirun" / "mine"
    fates = {11: ["diverged"], 12: ["1 ValueError"] * 2}
    launcher = Seeds(fates)
    assert find(launcher, "choice(10,11,12,13)", n_trials=16) == 1
    found = ends(folder)
    kinds = {10: "COMPLETE done", 11: "FAIL diverged", 12: "FAIL failed", 13: "FAIL invalid"}
    assert {int(seed): set(states) for seed, states in found.items()} == {n: {kinds[n]} for n in kinds}
    assert sum(map(len, found.values())) == 16
    # Drawn again, a run is not trained again; only what failed had its retry.
    assert sorted(label.split("=")[-1] for label in launcher.started) == ["10", "11", "12", "12"]
    told = capsys.readouterr().out
    for reason in (
        "diverged: NaN everywhere",
        "failed: ValueError: told",
        "invalid: seed=13: brings bad luck",
    ):
        assert reason in told
    cells = json.loads((folder / "study.json").read_text())["cells"].values()
    assert sorted(cell["state"] for cell in cells) == ["diverged", "done", "failed"]


def test_a_trial_below_the_median_is_stopped_and_stays_so(find: Any, tmp_path: Path) -> None:
    folder = tmp_path / "multirun" / "mine"
    assert find(Seeds({}), "range(0,30)", startup_trials=1) == 0
    seen: list[float] = []
    for trial in trials(folder):
        score = trial.params["seed"]
        below = bool(seen) and score < sorted(seen)[(len(seen) - 1) // 2]
        if below:
            assert trial.state.name == "PRUNED"
        if trial.state.name == "COMPLETE":
            seen.append(score)
        elif trial.intermediate_values:  # else drawn a second time
            assert max(trial.intermediate_values) == 5  # a quarter of twenty places
    pruned = len({trial.params["seed"] for trial in trials(folder) if trial.state.name == "PRUNED"})
    assert pruned > 0
    assert len(seen) > 1
    cells = json.loads((folder / "study.json").read_text())["cells"].values()
    assert sum(cell["state"] == "pruned" for cell in cells) == pruned


def test_what_was_pruned_is_not_trained_on_by_the_next_command(find: Any, tmp_path: Path) -> None:
    assert find(Seeds({}), "choice(3,9)", n_trials=4) == 0
    assert ends(tmp_path / "multirun" / "mine").keys() == {"9", "3"}
    later = Seeds({})
    assert find(later, "choice(3,9)", n_trials=12) == 0
    assert not [label for label in later.started if label.endswith("=3")]
    assert set(ends(tmp_path / "multirun" / "mine")["3"]) == {"PRUNED pruned"}


def test_another_search_in_the_same_folder_is_refused(find: Any, tmp_path: Path) -> None:
    assert find(Seeds({}), n_trials=1) == 0
    with pytest.raises(
        ConfigError, match=r"another search: seed was range\(0,30\) and is 1,2; choose another"
    ):
        find(Seeds({}), "1,2")
    with pytest.raises(ConfigError, match=r"objective was mean_score and is median_score"):
        find(Seeds({}), objective="median_score")
    (tmp_path / "multirun" / "mine" / "search.journal").write_text("{}\n{}\n")
    with pytest.raises(StorageError, match=r"search.journal is damaged"):
        find(Seeds({}))


def test_a_folder_is_searched_by_one_command_at_a_time(find: Any, tmp_path: Path) -> None:
    lock = tmp_path / "multirun" / "mine" / "search.lock"
    lock.parent.mkdir(parents=True)
    hold = f"import fcntl; f = open({str(lock)!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(InUse, match="another command searches in"):
            find(Seeds({}))
        other.communicate(b"\n")
    assert find(Seeds({}), n_trials=1) == 0


def test_the_objective_may_be_another_figure(find: Any, tmp_path: Path) -> None:
    assert find(Seeds({}), objective="median_score", n_trials=3, prune_after=None) == 0
    assert all(trial.value == -trial.params["seed"] for trial in trials(tmp_path / "multirun" / "mine"))


def test_values_are_drawn_as_hydra_writes_them() -> None:
    made = space(
        *("a=choice(x,'b c',[1,2])", "b=range(1,10,3)", "c=range(2,0.5,-0.5)", "d=interval(0,1)"),
        *("e=tag(log,int,interval(1,64))", "f=int(interval(2,5))", "g=7", "+h=shuffle(range(3))"),
    )
    a, b, c, d, e, f, h = made.dimensions
    assert made.fixed == ("g=7",)
    assert a.texts == ("x", r"b\ c", "[1,2]")
    assert (b.low, b.high, b.step, b.line(4)) == (1, 7, 3, "b=4")  # the end is left out, as everywhere
    assert [c.line(value) for value in (c.low, c.high)] == ["c=1.0", "c=2.0"]
    assert (d.line(0.123456), d.line(0.99999)) == ("d=0.1235", "d=1.0")
    assert (e.low, e.high, e.log, f.low, f.high, h.key, h.line(2)) == (1, 64, True, 2, 5, "+h", "+h=2")
    assert isinstance(e.low, int)
    faults = Faults()
    wrong = {
        "a=tag(lag,interval(1,2))": "the tag lag has no meaning here",
        "b=tag(log,choice(1,2))": "the tag log has no meaning here",
        "c=interval(2,1)": "the lower one first",
        "d=tag(log,interval(0,1))": "numbers above 0",
        "e=tag(int,interval(0.5,2))": "whole numbers",
        "f=range(3,1)": "has no value",
        "g=range(1,3,0)": "its step is 0",
    }
    assert space_of(None, [], OverridesParser.create().parse_overrides(list(wrong)), faults) is None  # type: ignore[arg-type]
    assert len(faults.lines) == len(wrong)
    for line, (override, reason) in zip(faults.lines, wrong.items(), strict=True):
        assert line.startswith(override)
        assert reason in line


@pytest.mark.more_than_first(1)
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            [
                "seed=1,2",
                *(f"hydra.sweeper.{wrong}" for wrong in ("sampler=tpf", "n_trials=0", "prune_after=1")),
            ],
            ["sampler=tpf: must be one of tpe, random; did you mean tpe?", "n_trials=0", "prune_after=1"],
        ),
        (
            ["fusion=concat,cros_attn", "ppo.num_epochs=interval(1,4)"],
            ["fusion=cros_attn: must be one of", "ppo.num_epochs=2.146: must be a whole number"],
        ),
        (
            ["fusion.gate.keep=interval(0.1,1)", "fusion=concat,cross_attn"],
            ["with fusion=concat have no such key"],
        ),
        (["threads=1,2", "seed=0,1"], ["threads does not count in a run"]),
        (["seed=1,2", "eval.games=0"], ["eval.games=0: a search needs held-out games"]),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_starts(
    overrides: list[str],
    said: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["train", "-m", "hydra/sweeper=optuna", *TINY, *overrides])
    assert train.run() == 2
    told = capsys.readouterr().err
    for part in said:
        assert part in told
    assert not list(tmp_path.rglob("*.journal"))


@pytest.mark.more
def test_a_value_may_go_with_some_others_only() -> None:
    """16,384 samples per gradient step are too many for the shortest rollout of the fewest games."""
    sizes = ["env.num_envs=32,256", "ppo.num_steps=16,64", "ppo.minibatch_size=256,16384"]
    made = compose_all(["hydra/sweeper=optuna", *sizes], multirun=True)
    assert {job.config.ppo.minibatch_size for job in made} == {256, 16384}
    found = search_space(["hydra/sweeper=optuna", *sizes], Sources.own())
    assert found is not None
    with pytest.raises(ConfigError, match=r"^ppo\.minibatch_size=16384: "):
        found.compose(["env.num_envs=32", "ppo.num_steps=16", "ppo.minibatch_size=16384"])


@pytest.mark.more
def test_a_killed_search_ends_with_as_many_trials_as_asked_and_prunes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [*TINY, *FASTEST, "env=probe", "env.max_episode_steps=5", "budget.env_steps=1280"]
    own = ["hydra/sweeper=optuna", "hydra.sweeper.startup_trials=1", "hydra.sweeper.prune_after=0"]
    given = [
        "env/game=two_step,masked",
        "seed=range(9)",
        "hydra.sweeper.n_trials=3",
        "hydra.launcher.n_jobs=1",
    ]
    command = [sys.executable, "-m", "tedg.train", "-m", *settings, *own, *given, "paths.study=found"]
    folder = tmp_path / "multirun" / "found"
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log) as driver,
    ):
        end = time.monotonic() + 120
        while not list(folder.glob("*/checkpoints/ckpt-0*")):
            assert driver.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        driver.kill()
    assert [trial.state.name for trial in trials(folder)] == ["RUNNING"]

    def run(line: str | list[str]) -> str:
        done = subprocess.run(
            line, shell=isinstance(line, str), cwd=tmp_path, capture_output=True, text=True, timeout=200
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        return done.stdout

    told = run(command)
    found = trials(folder)
    assert [trial.state.name for trial in found] == ["COMPLETE", "PRUNED", "PRUNED"]
    runs = [Path(trial.user_attrs["directory"]) for trial in found]
    assert [(tmp_path / path / rundir.RESULT).exists() for path in runs] == [True, False, False]
    assert "goes on from its newest checkpoint" in (folder / "logs" / f"{runs[0].name}.log").read_text()
    assert study_command(["show", "found", "--root", str(tmp_path / "multirun"), "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [cell["state"] for cell in cells] == ["done", "pruned", "pruned"]
    assert "all 1 cells are done" in run(told.partition("to train it again: ")[2].splitlines()[0])
