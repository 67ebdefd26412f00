"""study.json, what a sweep prints, and `python -m tedg.study`; without processes."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.sweeps import FakeLauncher, jobs

from tedg.errors import StorageError
from tedg.files import write_json
from tedg.store import rundir
from tedg.store.study import add_to_study, read_study
from tedg.study.__main__ import run
from tedg.sweep import drive, scheduler
from tedg.sweep.drive import Sweep


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "TICK_SECONDS", 0)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder of a study whose four cells are done, failed, diverged and lost."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "multirun" / "mine"
    assert begin(folder)[0] == 1
    capsys.readouterr()
    return folder


def begin(folder: Path, **fates: list[str]) -> tuple[int, FakeLauncher]:
    """Its sweep: the exit code, and what was started."""
    given = {"seed=1": ["1 LookupError"] * 2, "seed=2": ["diverged"], "seed=3": ["killed"] * 2}
    launcher = FakeLauncher(2, given | {f"seed={key[1:]}": value for key, value in fates.items()})
    own = jobs(folder.parent.parent, seeds=4)
    asked = Sweep(own, ["seed=range(4)", "name=it"], 1, lambda cells, at_once: launcher)
    return drive.sweep(asked), launcher


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """Exit code, and what is printed: read as JSON where that was asked for."""
    code = run(arguments)
    out = capsys.readouterr().out
    return code, json.loads(out) if "--json" in arguments else out


def test_a_sweep_says_whose_each_line_is_and_ends_with_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _ = begin(tmp_path / "multirun" / "mine")
    out = capsys.readouterr().out
    first, *rest = out.splitlines()
    lines, _, end = "\n".join(rest).partition("\ncell ")
    assert first.endswith("mine: 0 of 4 done, 4 queued")
    assert all(line.startswith(("[seed=", "sweep: ")) for line in lines.splitlines())
    assert [line.split()[:3] for line in end.splitlines()[1:5]] == [
        ["seed=0", "0", "done"],
        ["seed=1", "1", "failed"],
        ["seed=2", "2", "diverged"],
        ["seed=3", "3", "lost"],
    ]
    assert "seed=1: failed: LookupError: told" in end
    assert "1 of 4 done, 1 failed, 1 lost, 1 diverged" in end
    assert out.endswith("-m tedg.train -m 'seed=range(4)' name=it\n")
    assert code == 1


def test_the_same_command_does_what_is_missing_and_the_study_adds_up(study: Path) -> None:
    before = {cell["label"]: cell for cell in read_study(study)["cells"].values()}
    assert {label: (cell["state"], cell["attempts"]) for label, cell in before.items()} == {
        "seed=0": ("done", 1),
        "seed=1": ("failed", 2),
        "seed=2": ("diverged", 1),
        "seed=3": ("lost", 2),
    }
    code, launcher = begin(study, s1=[], s3=["killed"])
    assert (code, launcher.started) == (3, ["seed=1", "seed=3", "seed=3"])
    after = {cell["label"]: cell for cell in read_study(study)["cells"].values()}
    assert [cell["attempts"] for cell in after.values()] == [1, 3, 1, 4]
    assert after["seed=3"]["seconds"] == 4
    assert len(read_study(study)["commands"]) == 1


def test_two_sweeps_in_one_study_leave_each_others_cells(tmp_path: Path) -> None:
    add_to_study(tmp_path, "one", {"a": {"state": "done", "seed": 1}})
    add_to_study(tmp_path, "two", {"b": {"state": "lost"}})
    add_to_study(tmp_path, "one", {"a": {"state": "failed"}})
    assert read_study(tmp_path) == {
        "commands": ["two", "one"],
        "cells": {"a": {"state": "failed", "seed": 1}, "b": {"state": "lost"}},
    }
    (tmp_path / "study.json").write_text('{"cells": []}')
    with pytest.raises(StorageError, match=r"study\.json is damaged"):
        read_study(tmp_path)


def test_list_and_show(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = told(capsys, "list")
    assert code == 0
    assert out.splitlines()[1].split()[:2] == ["mine", "4"]
    code, listed = told(capsys, "list", "--json")
    assert listed[0]["states"] == {"done": 1, "failed": 1, "diverged": 1, "lost": 1}
    code, out = told(capsys, "show", "mine")
    assert "what is missing is done by: " in out
    code, shown = told(capsys, "show", "mine", "--json")
    assert [cell["label"] for cell in shown["cells"]] == [f"seed={n}" for n in range(4)]
    assert shown["cells"][2]["reason"] == "NaN everywhere"


def test_show_believes_the_runs_and_not_a_driver_that_died(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {cell["label"]: name for name, cell in read_study(study)["cells"].items()}
    (study / names["seed=1"]).mkdir()
    states = {"seed=0": "running", "seed=1": "running", "seed=3": "running"}
    add_to_study(study, "x", {names[label]: {"state": state} for label, state in states.items()})
    shutil.copytree(study / names["seed=0"], study / "other-warmup-s9-0123456789")  # in no study.json
    with rundir.owned(study / names["seed=1"]):
        _, shown = told(capsys, "show", "mine", "--json")
    found = {cell["label"]: cell["state"] for cell in shown["cells"]}
    assert found == {
        "seed=0": "done",
        "seed=1": "running",
        "seed=2": "diverged",
        "seed=3": "lost",
        "other-warmup-s9-0123456789": "done",
    }


def test_failed_shows_the_ends_of_logs(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {cell["label"]: name for name, cell in read_study(study)["cells"].items()}
    (study / "logs").mkdir(exist_ok=True)
    text = "".join(f"line {n}\n" for n in range(100)) + "\x1b]0;renamed\x07 the last\n"
    (study / "logs" / f"{names['seed=1']}.log").write_text(text)
    _, out = told(capsys, "failed", "mine")
    assert "seed=1: failed: LookupError: told" in out
    assert "line 80\n" not in out
    assert "line 81\n" in out
    assert "\\x1b]0;renamed\\x07 the last" in out
    assert "seed=0" not in out
    _, listed = told(capsys, "failed", "mine", "--json")
    assert [cell["label"] for cell in listed] == ["seed=1", "seed=2", "seed=3"]
    assert len(listed[0]["log_end"]) == 20


def test_retry_goes_on_or_begins_anew(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[list[str], Any]] = []

    def fake(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        called.append((command, options["cwd"]))
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(subprocess, "run", fake)
    assert run(["retry", "mine", "seed=1"]) == 3
    command, cwd = called[0]
    assert command[1:4] == ["-m", "tedg.train", "-m"]
    assert command[-1] == "seed=1"
    assert cwd == os.getcwd()
    (diverged,) = [cell for cell in read_study(study)["cells"].values() if cell["state"] == "diverged"]
    assert run(["retry", "mine", diverged["run_id"]]) == 3
    assert not Path(diverged["directory"]).exists()
    assert Path(f"{diverged['directory']}.diverged-1/result.json").exists()
    assert run(["retry", "mine", "seed=0"]) == 2
    assert "is done; to train it anew" in capsys.readouterr().err
    assert len(called) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "mien"], "there is no study mien in multirun; did you mean mine?"),
        (["retry", "mine", "seed=11"], "mine has no cell 'seed=11'; did you mean seed=1?"),
        (["retry", "mine", ""], "'' fits 4 cells of mine: seed=0; seed=1; seed=2; seed=3; say more"),
        (["list", "--root", "nowhere"], "there is no folder nowhere; --root names"),
    ],
)
def test_refusals_say_what_would_be_right(
    arguments: list[str], said: str, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert said in capsys.readouterr().err


def test_prune_asks_and_keeps_what_is_needed(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = read_study(study)["cells"]
    directories = {cell["label"]: Path(cell["directory"]) for cell in cells.values()}
    for directory in directories.values():
        (directory / "checkpoints" / "ckpt-1").mkdir(parents=True)
        (directory / "checkpoints" / "ckpt-1" / "model").write_bytes(bytes(5000))
    for answer, code in (("n\n", 2), ("", 2)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        assert run(["prune", "mine"]) == code
    assert "1 finished cells of mine, 4.9 KiB? Nothing can begin" in capsys.readouterr().err
    child = {"label": "child", "state": "waiting", "parent": directories["seed=0"].name}
    add_to_study(study, "x", {"child": child})
    assert told(capsys, "prune", "mine", "--yes", "--json") == (0, {"cells": [], "bytes": 0})
    write_json(study / "study.json", {"commands": [], "cells": cells})
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert told(capsys, "prune", "mine") == (0, "1 cells, 4.9 KiB freed\n")
    assert [label for label, place in directories.items() if not (place / "checkpoints").exists()] == [
        "seed=0"
    ]


def test_it_is_fast_because_it_imports_little() -> None:
    code = "import sys, tedg.study.__main__; print({'torch', 'numpy', 'hydra', 'rich'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
