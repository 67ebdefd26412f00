"""Temporary files end with the processes that need them, however those end, and no others are touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.models import toy
from support.workers import make_games
from torch_geometric.nn import GATConv, MessagePassing

from tedg import scratch

REPOSITORY = Path(__file__).resolve().parent.parent


def run(program, directory, **options):
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(directory)},
        **options,
    )


def folders(directory):
    return sorted(path.name for path in directory.glob("tedg-temporary-*"))


MAKE = """
import os, signal, subprocess, sys, tempfile
from tedg import scratch
with scratch.temporary_files():
    tempfile.mkdtemp(prefix="nle")
    tempfile.NamedTemporaryFile(suffix=".py", delete=False).close()
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("raise ValueError", 1),
        ("sys.exit(3)", 3),
        ("from tedg.startup import leave; leave(75)", 75),
    ],
)
def test_nothing_is_left(end, code, tmp_path):
    with run(MAKE + end, tmp_path, stderr=subprocess.DEVNULL) as process:
        pass
    assert process.returncode == code
    assert list(tmp_path.iterdir()) == []


def test_the_next_process_removes_what_killed_ones_left_and_nothing_else(temporary):
    living = "print(flush=True); input()"
    orphan = (  # holds the folder of its killed parent, as a worker does that is busy with a step
        "lock = scratch.handle()[1]\n"
        "child = subprocess.Popen(['sleep', '60'], pass_fds=[lock])\n"
        "print(child.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    with run(MAKE + "os.kill(os.getpid(), 9)", temporary):
        pass
    (dead,) = folders(temporary)
    others = ["tedg-temporary-results", "tedg-temporary-1234567", "nleabcdefgh", "tedg-games-abcdefgh"]
    for name in others:
        (temporary / name).mkdir()
    (temporary / "tedg-temporary-linktome").symlink_to(temporary / others[0])
    (temporary / "tedg-temporary-fileofme").write_text("")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with run(MAKE + living, temporary, **pipes) as process, run(MAKE + orphan, temporary, **pipes) as parent:
        process.stdout.readline()
        busy = int(parent.stdout.readline())
        parent.wait()
        before = set(folders(temporary))
        assert dead not in before
        assert len(before) == 6  # two made just now, four that only look like one
        own = scratch.folder()
        assert set(folders(temporary)) == before | {os.path.basename(own)}
        assert len(os.listdir(own)) == 0
        process.communicate(b"\n")
        os.kill(busy, signal.SIGKILL)
    assert set(others) <= {path.name for path in temporary.iterdir()}


def test_games_in_this_process_make_their_files_in_the_folder(temporary):
    env = make_games(num_envs=2)
    assert [path.name for path in temporary.iterdir()] == folders(temporary)
    assert {name[:3] for name in os.listdir(scratch.folder())} == {"nle"}
    env.close()
    assert os.listdir(scratch.folder()) == []


def test_code_that_pytorch_geometric_writes_lies_in_the_folder(temporary, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("torch_geometric.nn.conv.gat_conv_GATConv")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("propagate", "edge_updater"):  # what is written there takes their place in the class
        monkeypatch.setattr(GATConv, name, getattr(MessagePassing, name))
    toy()
    assert [path.name for path in temporary.iterdir()] == folders(temporary)
    assert len(list(Path(scratch.folder()).glob("*.py"))) == 2  # beside their bytecode, if Python keeps that
