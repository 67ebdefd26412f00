"""Tab completion in a bash that evaluates what `-sc install=bash` prints."""

from __future__ import annotations

import os
import pty
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tedg.config.completion import script
from tedg.errors import ConfigError

BINARIES = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A bash at a terminal, with completion installed."""
    folder = tmp_path_factory.mktemp("bash")
    (folder / "mine" / "fusion").mkdir(parents=True)
    (folder / "mine" / "fusion" / "concat_mine.yaml").write_text("defaults: [concat]\n")
    installed = script(["install=bash"])
    assert installed is not None
    (folder / "rc").write_text(
        f"PS1='> '\nPATH={shlex.quote(str(BINARIES))}:$PATH\n{installed}\nbind 'set bell-style none'\n"
        "bind 'set show-all-if-ambiguous on'\nbind 'set enable-bracketed-paste off'\n"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", "COLUMNS": "400"}
        os.execvpe("bash", ["bash", "--noprofile", "--rcfile", str(folder / "rc"), "-i"], environment)
    yield terminal, folder
    os.write(terminal, b"\x03exit\n")
    os.close(terminal)
    os.waitpid(pid, 0)


def typed(terminal: int, line: str, wanted: str) -> str:
    """What stands on the screen after `line` and Tab, once `wanted` is there; all of it after ten seconds."""
    os.write(terminal, b"\x15" + line.encode() + b"\t")
    shown, end = "", time.monotonic() + 10
    while wanted not in shown and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 65536).decode().replace("\r", "").replace("\n", " ")
    os.write(terminal, b"\x15")
    return shown


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("python -m tedg.train fusion=cross_attn_h", "fusion=cross_attn_headgate"),
        ("python -m tedg.train -m fusion=concat,cross_attn_h", "fusion=concat,cross_attn_headgate"),
        (f"{sys.executable} -m tedg.train 'seed=range(2)' ppo.num_s", "ppo.num_steps="),
        ("python -m tedg.train -m fusion=concat,cross_attn eval.", "eval.first_seed="),
        ("python3 -m tedg.train +experiment=v3", "+experiment=v3_vs_v4"),
        ("python -m tedg.train --config-dir mine fusion=concat_mi", "fusion=concat_mine"),
        ("python -m http.server min", "http.server mine/"),  # other modules get files, as before
    ],
)
def test_tab_completes_overrides(shell: tuple[int, Path], line: str, wanted: str) -> None:
    assert wanted in typed(shell[0], line, wanted)


def test_it_can_be_taken_away_again() -> None:
    both = (
        f"{script(['install=bash'])}\n{script(['uninstall=bash'])}\ncomplete -p python; type _tedg_complete"
    )
    done = subprocess.run(["bash", "-c", both], capture_output=True, text=True)
    assert "no completion specification" in done.stderr
    assert "_tedg_complete: not found" in done.stderr


def test_other_shells_are_refused_and_other_requests_are_for_hydra() -> None:
    with pytest.raises(ConfigError, match="-sc install=fish: Tab completion is there for bash"):
        script(["install=fish"])
    assert script(["query=bash"]) is None
    assert script([]) is None
