"""Results that are kept with a study: what is kept, and that such runs are done without their directories."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.settings import FASTEST, TINY
from support.stand_ins import FakeTraining, Lines
from support.sweeps import FakeLauncher, add_games, jobs, sweep, with_games

from tedg.config.compose import Composed, compose_all
from tedg.errors import CheckFailed, ConfigError, StorageError
from tedg.files import read_json, write_json
from tedg.run import app
from tedg.store import rundir
from tedg.store.games import read_games
from tedg.study.__main__ import run
from tedg.sweep import drive, scheduler
from tedg.sweep.cell import Cell, State
from tedg.sweep.drive import Sweep
from tedg.sweep.plan import plan
from tedg.sweep.scheduler import settle_known

REPOSITORY = Path(__file__).resolve().parent.parent
CHAIN = "stage=warmup,transition,finetune"
WARMUP, TRANSITION, FINETUNE = (f"stage={name}" for name in ("warmup", "transition", "finetune"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(scheduler, "TICK_SECONDS", 0)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def chain(here: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Path]:
    """Where the three runs of a chain are kept, by label; their own directories are gone."""
    cells, _ = sweep(jobs(here, CHAIN), FakeLauncher(4))
    for cell in cells.values():
        add_games(cell.directory, 2)
    assert run(["keep", "mine"]) == 0
    assert "3 kept; " in capsys.readouterr().out
    shutil.rmtree("multirun")
    return {label: here / "experiments/mine/runs" / cell.directory.name for label, cell in cells.items()}


def again(here: Path, labels: str = CHAIN) -> tuple[dict[str, Cell], list[str]]:
    """The same sweep: its cells, and what was started."""
    asked = [with_games(job, 2) for job in jobs(here, labels)]
    launcher = FakeLauncher(4)
    cells, _ = sweep(asked, launcher)
    return cells, launcher.started


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    run([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def test_what_is_kept_is_done_and_nothing_is_trained(
    here: Path, chain: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    cells, started = again(here)
    assert started == []
    assert [(cell.state, cell.kept, cell.score) for cell in cells.values()] == [
        (State.DONE, place, 2.0) for place in chain.values()
    ]
    asked = [with_games(job, 2) for job in jobs(here, CHAIN)]
    assert drive.sweep(Sweep(asked, [CHAIN], 1, lambda cells, at_once: FakeLauncher(0))) == 0
    out = capsys.readouterr().out
    assert f"of these, 3 are known by results that are kept in {here}/experiments/mine/runs\n" in out
    assert out.count("done (kept)") == 3
    # The study knows them with its own folder and without.
    for _ in range(2):
        shown = told(capsys, "show", "mine")["cells"]
        assert [(cell["state"], Path(cell["kept"]).name, cell["score"]) for cell in shown] == [
            ("done", cell["name"], 2.0) for cell in shown
        ]
        assert {cell["name"] for cell in shown} == {place.name for place in chain.values()}
        assert told(capsys, "list")[0]["states"] == {"done": 3}
        shutil.rmtree("multirun", ignore_errors=True)
    assert run(["retry", "mine", shown[0]["run_id"]]) == 2
    assert "to train it anew, remove that" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missing", "started"),
    [
        ([WARMUP], [WARMUP]),
        ([TRANSITION], [WARMUP, TRANSITION]),
        ([FINETUNE], [WARMUP, TRANSITION, FINETUNE]),
        ([WARMUP, TRANSITION], [WARMUP, TRANSITION]),
    ],
)
def test_a_parent_is_trained_again_only_for_a_child_that_needs_its_weights(
    missing: list[str], started: list[str], here: Path, chain: dict[str, Path]
) -> None:
    for label in missing:
        shutil.rmtree(chain[label])
    cells, found = again(here)
    assert found == started
    assert [str(cell.state) for cell in cells.values()] == ["done"] * 3
    for label, cell in cells.items():
        assert cell.directory.name == chain[label].name  # the same runs, whatever was trained
        assert (cell.kept is None) == (label in started)


def test_a_sweep_says_why_it_trains_what_is_kept(
    here: Path, chain: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(chain[TRANSITION])
    asked = [with_games(job, 2) for job in jobs(here, CHAIN)]
    assert drive.sweep(Sweep(asked, [CHAIN], 1, lambda cells, at_once: FakeLauncher(2))) == 0
    why = (
        f"its result is kept in {chain[WARMUP]} without weights, which {TRANSITION} needs: it is trained anew"
    )
    assert f"[{WARMUP}] {why}" in capsys.readouterr().out


def test_a_parent_whose_own_parent_is_not_there_is_no_other_run(here: Path, chain: dict[str, Path]) -> None:
    cells, started = again(here, "stage=transition,finetune")
    assert started == []
    assert [cell.kept for cell in cells.values()] == [chain[TRANSITION], chain[FINETUNE]]
    shutil.rmtree(chain[FINETUNE])
    cells, started = again(here, "stage=transition,finetune")
    assert started == []  # with fresh weights it would be another run
    assert [str(cell.state) for cell in cells.values()] == ["failed", "blocked"]
    assert "began from its parent stage: let the sweep have that too" in cells[TRANSITION].reason


DAMAGES: dict[str, tuple[str, Callable[[str], str]]] = {
    "cut": ("result.json", lambda text: text[:-20]),
    "of another run": (
        "result.json",
        lambda text: re.sub(r'"run_id": "\w+"', '"run_id": "0123456789"', text),
    ),
    "without a status": ("result.json", lambda text: text.replace("finished", "")),
    "begun as another": ("provenance.json", lambda text: re.sub(r'"run_id": "\w+"', '"run_id": "01"', text)),
    "no configuration": ("config.yaml", lambda text: ""),
    "a game less": ("games.csv", lambda text: text[: text[:-1].rindex("\n") + 1]),
    "an update less": ("metrics.jsonl", lambda text: ""),  # which earlier versions kept
    "a check that says nothing": ("check.json", lambda text: "{}"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_named_and_never_count(
    damage: str, here: Path, chain: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    name, change = DAMAGES[damage]
    path = chain[WARMUP] / name
    path.write_text(change(path.read_text() if path.exists() else ""))
    cells, started = again(here)
    assert (started, cells[WARMUP].state) == ([], State.FAILED)
    assert str(path) in cells[WARMUP].reason
    assert "bring the file back, or remove" in cells[WARMUP].reason
    shown = {cell["name"]: cell for cell in told(capsys, "show", "mine")["cells"]}
    assert shown[path.parent.name]["state"] == "failed"
    with pytest.raises(StorageError, match=re.escape(str(path))):
        app.run(jobs(here, CHAIN)[0], FakeTraining(), Lines())


def test_a_single_run_of_the_study_is_done_too(here: Path, chain: dict[str, Path]) -> None:
    warmup, _, finetune = (with_games(replace(job, sweep=False), 2) for job in jobs(here, CHAIN))
    said, training = Lines(), FakeTraining()
    found = app.run(finetune, training, said)
    assert (found.run_dir, found.trained, training.calls) == (chain[FINETUNE], False, [])
    assert said.has(f"its result is kept in {chain[FINETUNE]}; nothing to do")
    with pytest.raises(ConfigError, match=r"not 3 held-out games of policy; .* paths\.experiments_dir=null"):
        app.run(with_games(warmup, 5), training, said)
    assert (training.calls, (here / "outputs").exists()) == ([], False)
    shutil.rmtree(chain[FINETUNE])
    assert app.run(finetune, training, said).values["parent"] is None
    assert said.has(f"(its result is kept in {chain[TRANSITION]}, without weights); to make it: ")
    assert said.has("paths.experiments_dir=null")
    paths = replace(warmup.config.paths, experiments_dir=None)
    assert app.run(replace(warmup, config=replace(warmup.config, paths=paths)), training, said).trained


def test_a_check_is_told_where_it_was_kept(
    here: Path, chain: dict[str, Path], compose_tiny: Callable[..., Composed]
) -> None:
    checked = compose_tiny("+experiment=check", "budget.env_steps=null").config.check
    job = with_games(jobs(here, CHAIN)[0], 2)
    job = replace(job, config=replace(job.config, check=checked))
    with pytest.raises(ConfigError, match="and not a check; ask for no more"):
        app.run(job, FakeTraining(), Lines())
    write_json(chain[WARMUP] / "check.json", {"passed": False})
    with pytest.raises(CheckFailed):
        app.run(job, FakeTraining(), Lines())
    cells, _ = sweep([job], FakeLauncher(0))
    assert [(cell.state, cell.check_failed) for cell in cells.values()] == [(State.DONE, True)]


def test_keep_overwrites_no_other_result_and_says_what_it_does(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fates = {"seed=1": ["diverged"], "seed=2": ["1 ValueError"] * 9}
    cells, _ = sweep(jobs(here, seeds=4), FakeLauncher(4, fates))
    directories = [cell.directory for cell in cells.values()]
    names = [directory.name for directory in directories]
    add_games(directories[0], 2)
    add_games(directories[3], 2)
    provenance = read_json(directories[0] / "provenance.json") or {}
    command = (
        f"/opt/my python/bin/python -m tedg.train paths.output_dir={here}/outputs 'x=[~me/a,file:///b/c d]'"
    )
    start = {"command": command, "directory": "/opt/my python"}
    write_json(
        directories[0] / "provenance.json", {**provenance, "parent_dir": "/a/b/c-1", "sessions": [start]}
    )
    shutil.copytree(directories[1], f"{directories[1]}.diverged-1")
    (directories[2] / "config.yaml").parent.mkdir()
    (directories[2] / "config.yaml").write_text("eval: {}\n")

    def kept() -> dict[str, str]:
        return {one["name"]: one["what"] for one in told(capsys, "keep", "mine")}

    rest = {names[2]: "not done", f"{names[1]}.diverged-1": "moved aside"}
    with rundir.owned(directories[3]):
        assert kept() == rest | {names[0]: "kept", names[1]: "kept", names[3]: "in use"}
    folder = here / "experiments/mine/runs"
    everything = {path: path.read_bytes() for path in folder.rglob("*.*")}
    assert {path.name for path in everything if path.parent.name == names[0]} == {
        *("config.yaml", "provenance.json", "result.json", "games.csv", "record.json")
    }
    (session,) = (read_json(folder / names[0] / "provenance.json") or {})["sessions"]
    shown = ".../bin/python -m tedg.train paths.output_dir=.../outputs 'x=[.../a,file:.../c d]'"
    assert (session["command"], session["directory"]) == (shown, "...")
    assert not any(word in content for content in everything.values() for word in (b"/opt", b"/a/", b"/tmp"))
    assert kept() == rest | {names[0]: "kept already", names[1]: "kept already", names[3]: "kept"}
    assert {path: path.read_bytes() for path in everything} == everything
    # More games of the same run are added; the same run with another end is not taken, and neither is less.
    add_games(directories[0], 3)
    add_games(directories[3], 2, score=5.0)
    assert run(["keep", "mine"]) == 1
    out = capsys.readouterr().out
    assert (
        f"{names[3]}: differs: {folder.relative_to(here) / names[3]} has held-out games of policy that" in out
    )
    assert "1 updated" in out
    assert len((read_games(folder / names[0]) or {})["policy"]) == 3
    add_games(directories[0], 2)
    write_json(
        directories[3] / "result.json", {**(read_json(directories[3] / "result.json") or {}), "env_steps": 9}
    )
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    assert kept() == rest | {names[0]: "differs", names[1]: "kept already", names[3]: "differs"}
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


@pytest.mark.more
def test_a_study_goes_on_elsewhere(here: Path) -> None:
    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=here,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    train = ("tedg.train", "-m", *TINY, *FASTEST, "stage=warmup,transition", "paths.study=mine")
    python(*train)
    python("tedg.study", "keep", "mine")
    found = here.glob("experiments/mine/runs/*/result.json")
    kept = {
        path.parent.name: path for path in sorted(found, key=lambda path: "transition" in path.parent.name)
    }
    assert len(kept) == 2
    shutil.rmtree(here / "multirun")
    cells = plan(compose_all(train[2:], True))
    settle_known(cells, lambda cell, text: None)
    assert [(cell.state, cell.kept) for cell in cells] == [
        (State.DONE, Path(*p.parts[-5:-1])) for p in kept.values()
    ]
    (child,) = [name for name in kept if "transition" in name]
    shutil.rmtree(kept[child].parent)
    assert "without weights, which stage=transition needs: it is trained anew" in python(*train)
    results = {path.parent.name: read_json(path) for path in here.glob("multirun/mine/*/result.json")}
    assert results.keys() == kept.keys()
    assert [(result or {})["total_env_steps"] for _, result in sorted(results.items())] == [256, 128]
    assert "1 kept already, 1 kept;" in python("tedg.study", "keep", "mine")
