"""What every command says of itself reads well on a terminal of eighty columns."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WIDTH = 80
_INNER = (
    "tedg.bench.child",
    "tedg.hypergraph.earlier.convert",
    "tedg.store.wandb_process",
)  # started by other commands


def commands() -> list[str]:
    """Modules that `python -m` runs."""
    files = [path for path in (ROOT / "tedg").rglob("*.py") if '__name__ == "__main__"' in path.read_text()]
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)
    return sorted({name.removesuffix(".__main__") for name in names} - {*_INNER})


def help_of(name: str, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """The lines that `--help` prints."""
    there = ROOT / Path(*name.split("."))
    place = {"tedg.hypergraph.convert": _INNER[1]}.get(name, f"{name}.__main__" if there.is_dir() else name)
    module = importlib.import_module(place)
    sys.argv[1:] = [*words, "--help"]
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert not ended.value.code
    return capsys.readouterr().out.splitlines()


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setattr(sys, "argv", ["x"])
    monkeypatch.setattr("signal.signal", lambda *_: None)  # a command may take over Ctrl-C


@pytest.mark.parametrize("name", commands())
def test_help_fits_a_terminal_and_says_how_a_command_is_called_and_ends(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = help_of(name, capsys)
    assert [line for line in lines if len(line) > WIDTH] == []
    text = "\n".join(lines)
    assert f"usage: python -m {name}" in text
    assert re.search(r"^exit codes:\n  0 +\S", text, re.M)
    codes = [int(code) for code in re.findall(r"^  (\d+)[, \d]*  ", text.partition("exit codes:")[2], re.M)]
    assert codes == sorted(codes)
    assert len(codes) > 1


@pytest.mark.parametrize("word", ["list", "show", "failed", "retry", "keep", "prune", "watch"])
def test_help_of_each_command_about_studies(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = help_of("tedg.study", capsys, word)
    assert [line for line in lines if len(line) > WIDTH] == []
    assert lines[0].startswith(f"usage: python -m tedg.study {word}")
    assert any(line.endswith(".") for line in lines)  # a sentence says what it does


def test_make_help_fits_and_names_every_target() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if len(line) > WIDTH] == []
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M)
    assert [line.split()[1] for line in lines] == targets
    assert len({line.index(line.split(maxsplit=2)[2]) for line in lines}) == 1  # one column
