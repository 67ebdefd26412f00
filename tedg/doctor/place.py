"""Which directory `--run` means. Imports no torch, so that a mistyped one is answered at once."""

from __future__ import annotations

from pathlib import Path

from tedg.files import expanded
from tedg.run.find import find_run
from tedg.store import rundir

_CHECKPOINT = "ckpt-"  # with which the name of a checkpoint begins


def place(name: str) -> Path:
    """A checkpoint, or a run however damaged it is. Raises ConfigError, naming the nearest that there are."""
    path = expanded(name)
    if (path.is_dir() and path.name.startswith(_CHECKPOINT)) or (path / rundir.PROVENANCE).exists():
        return path
    return find_run(name)
