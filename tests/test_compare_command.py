"""`python -m tedg.compare` on studies that lie on the disk."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support.comparing import two
from support.records import arm, write

from tedg.compare import same
from tedg.compare.__main__ import run
from tedg.compare.find import find
from tedg.errors import ConfigError

pytestmark = pytest.mark.usefixtures("quick_figures")


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(same, "resplit", partial(same.resplit, times=500))
    root = ["--root", f"{tmp_path}/multirun", "--experiments", f"{tmp_path}/experiments"]
    write(tmp_path / "experiments/kept/runs", two())
    write(tmp_path / "multirun/many", arm("concat", 50 + 9 * np.sin(np.arange(20.0))))
    assert run(["kept", *root]) == 0
    assert "primary: cross_attn is better than concat" in capsys.readouterr().out
    assert run([f"{tmp_path}/experiments/kept", *root]) == 0
    assert "primary: cross_attn is better than concat" in capsys.readouterr().out
    assert run(["kept", *root, "--power", "--detect", "2"]) == 0
    assert "cross_attn - concat" in capsys.readouterr().out
    assert run(["many", *root, "--by", "fusion", "--aa", "concat", "--json", f"{tmp_path}/aa.json"]) == 0
    rate = json.loads((tmp_path / "aa.json").read_text())["false_positives"]
    assert rate["studies"] == 500
    assert rate["rate"] < 0.08
    for arguments, told in (
        (["non"], "there is no study non"),
        (["many"], "what are the arms? say --by"),
        (["many", "--by", "fusoin"], "have no such group or key; did you mean fusion?"),
        (["many", "--by", "fusion"], "there is one arm only, concat"),
        (["kept", "--baseline", "cross"], "--baseline cross: no run has it; did you mean cross_attn?"),
        (["kept", "--metric", "scor"], "--metric scor: must be one of score, return, length, depth"),
        (["kept", "--aa", "concat"], "10 runs with these games cannot be split"),
        (["kept", "--power"], "--detect POINTS"),
        (["kept", "--by", "seed"], "--by seed: runs are paired by their seeds"),
        (["kpet"], f"there is no study kpet in {tmp_path}/multirun; did you mean kept?"),
    ):
        assert run([arguments[0], *root, *arguments[1:]]) == 2
        assert told in capsys.readouterr().err
    for flag, value, told in (
        ("--detect", "much", "much is no positive number"),
        ("--cap", "0", "0 is no positive number of steps"),
        ("--at", "soon", "soon is no positive number of steps"),
    ):
        with pytest.raises(SystemExit, match="2"):
            run(["kept", flag, value])
        assert capsys.readouterr().err.endswith(f"argument {flag}: {told}\n")
    # The report is not lost with its file, and an earlier file is replaced.
    assert run(["kept", *root, "--json", f"{tmp_path}/nowhere/out.json"]) == 4
    printed = capsys.readouterr()
    assert "primary: cross_attn is better than concat" in printed.out
    assert "error: cannot write" in printed.err
    assert run(["kept", *root, "--json", f"{tmp_path}/aa.json"]) == 0
    digest = json.loads((tmp_path / "aa.json").read_text())["plan"]["digest"]
    assert f"plan {digest[:10]}; stop: fixed" in capsys.readouterr().out


def test_runs_of_a_study_and_kept_ones_of_its_name_are_taken_together(tmp_path: Path) -> None:
    root, kept = tmp_path / "multi run", tmp_path / "experiments"
    write(kept / "mine/runs", two()[:12])
    write(root / "mine", two()[8:])
    study = find(root, "mine", kept)
    assert len(study.records) == 20
    assert study.notes == (f"the runs are 8 of {kept}/mine/runs and 12 of {root}/mine",)
    assert study.place == f"'{root}/mine'"
    assert len(study.no_weights) == 20
    next((root / "mine").glob("cross_attn-s9-*/")).joinpath("checkpoints").mkdir()
    assert len(find(root, "mine", kept).no_weights) == 19
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty has no finished run to compare"):
        find(tmp_path, "empty", kept)


def test_cells_without_a_result_are_unfinished_and_runs_without_a_record_are_said(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write(folder, two())
    first = next(folder.glob("concat-s0-*"))
    (first / "record.json").unlink()
    begun = folder / "concat-s10-0123456789"
    begun.mkdir()
    (begun / "config.yaml").write_text("eval: {}")
    (begun / "provenance.json").write_text("{}")
    study = find(tmp_path, "mine", tmp_path / "experiments")
    assert len(study.records) == 19
    assert study.unfinished == ("concat-s10-0123456789 (stopped)",)
    assert study.notes[0].startswith("a run is left out: ")
    assert first.name in study.notes[0]
