"""Text from outside is shown and never obeyed: by a terminal, by Rich, by a reader of the files."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf
from rich.console import Console as Terminal

from tedg import train
from tedg.config.compose import compose
from tedg.errors import ConfigError, StorageError
from tedg.files import write_json, write_text
from tedg.inert import inert
from tedg.watch.console import PlainConsole
from tedg.watch.panel import LiveConsole
from tedg.watch.progress import Progress

HOSTILE = [
    "\x1b[31mred\x1b]0;title\x07",
    "back\x08\x08 up\rover\x0b\x0c\x7f",
    "\x9b31m\x85\x90",
    "\u202egnp.exe\u2066\u200f\ufeff",
    "one\u2028two\u2029three",
    "no \udcff text",
    "[bold]b[/] [/nothing] [link=http://x]y[/link] [red",
    "<script>alert(1)</script>&amp;",
    "tab\there\0",
]


def harmless(text: str) -> bool:
    return all(character == "\n" or character.isprintable() for character in text)


@pytest.mark.parametrize("text", HOSTILE)
def test_inert_text_keeps_what_can_be_read(text: str) -> None:
    shown = inert(text)
    assert harmless(shown)
    assert inert(shown) == shown
    assert [c for c in shown if c in text] != []


def test_plain_text_stays_as_it_is() -> None:
    text = "é → ∞ 漢字 ██░ [0, 1]\nnext line <b>"
    assert inert(text) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_log_obeys_nothing(text: str) -> None:
    out = io.StringIO()
    plain = PlainConsole(out)
    plain.start({"run": text, text: "run"})
    plain.warn(text)
    plain.note(text)
    plain.update(Progress(1, text, 1, 1, 0.5, {}, {}))
    plain.close()
    assert harmless(out.getvalue())
    assert out.getvalue().count("\n") == 5  # nothing begins a line of its own
    assert plain.warnings == [text]  # what is written to files is the text itself


@pytest.mark.parametrize("text", HOSTILE)
def test_a_panel_obeys_nothing(text: str) -> None:
    raw = io.StringIO()
    panel = LiveConsole(Terminal(file=raw, width=200, color_system=None))
    panel.start({"run": text, text: "run"})
    panel.warn(text)
    panel.note(text)
    panel.update(Progress(1, text, 1, 1, 0.5, {}, {}))
    panel.close()
    assert harmless(raw.getvalue())
    assert raw.getvalue().count(inert(text)) >= 4


@pytest.mark.parametrize("text", HOSTILE)
def test_files_give_back_the_same_text(text: str, tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"text": text, text: 1})
    assert json.loads((tmp_path / "x.json").read_text()) == {"text": text, text: 1}
    assert harmless((tmp_path / "x.json").read_text())
    write_text(tmp_path / "x.yaml", OmegaConf.to_yaml(OmegaConf.create({"text": text})))
    assert OmegaConf.load(tmp_path / "x.yaml") == {"text": text}


@pytest.mark.parametrize("error", [ConfigError, StorageError, RuntimeError])
def test_an_error_of_a_run_obeys_nothing(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "".join(HOSTILE)

    def fail(*_: Any, say: Any, cell: str) -> None:
        say(hostile)
        raise error(hostile)

    monkeypatch.setattr(
        train, "_flags", lambda: SimpleNamespace(help=False, shell_completion=None, overrides=[])
    )
    monkeypatch.setattr(train, "_refuse_flags", lambda flags: None)
    monkeypatch.setattr(train, "Sources", SimpleNamespace(asked_for=lambda flags: None))
    monkeypatch.setattr(train, "_validate", lambda flags, sources: [None])
    monkeypatch.setattr(train, "from_hydra", lambda cfg, sources: None)
    monkeypatch.setattr(train, "start", lambda flags, sources, job, sweep: job(None))
    hydra = SimpleNamespace(mode=train.RunMode.MULTIRUN, job=SimpleNamespace(num=0))
    monkeypatch.setattr(train.HydraConfig, "get", lambda: hydra)
    monkeypatch.setattr("tedg.run.app.run", fail)
    assert train.run() == {ConfigError: 2, StorageError: 4, RuntimeError: 1}[error]
    out, err = capsys.readouterr()
    assert harmless(out + err)
    assert "\\x1b[31mred" in out
    assert "\\x1b[31mred" in err
    assert "1 of 1 jobs failed" in err


def test_a_bug_that_raises_a_value_error_is_no_wrong_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        train, "_flags", lambda: SimpleNamespace(help=False, shell_completion=None, overrides=[])
    )
    monkeypatch.setattr(train, "_refuse_flags", lambda flags: None)
    monkeypatch.setattr(train, "Sources", SimpleNamespace(asked_for=lambda flags: None))
    monkeypatch.setattr(train, "_validate", lambda flags, sources: [None])

    def fail(*_: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(train, "start", fail)
    assert train.run() == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.more
@pytest.mark.parametrize("flag", ["--\x1b[31m", "seed=\x1b[31m", "paths.study='\x1b[31m'", "\u202e=1"])
def test_the_command_obeys_nothing(flag: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tedg.train", flag], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert harmless(done.stderr + done.stdout)
    assert inert(flag)[-5:].strip("'") in done.stderr


def test_names_in_a_hypergraph_are_shown_inert(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a\x1b[31m\u202e.json"
    path.write_text(json.dumps({"version": "1", "x\x1b[31m": 1, "atoms": [{"name": "\x9b[bold]\x07"}]}))
    with pytest.raises(ConfigError) as error:
        compose([f"env.hypergraph='{path}'"])
    assert "\x9b" in str(error.value)  # the message has it ...
    monkeypatch.setattr(sys, "argv", ["tedg-train", f"env.hypergraph='{path}'"])
    assert train.run() == 2
    told = capsys.readouterr().err
    assert inert(str(error.value)) in told
    assert harmless(told)  # ... and the terminal does not
    assert os.path.exists(path)
