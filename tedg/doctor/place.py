"""Which directory `--run` means. Imports no torch, so that a mistyped one is answered at once."""

from __future__ import annotations

from pathlib import Path

from tedg.errors import ConfigError
from tedg.spelling import did_you_mean
from tedg.store import rundir

STUDIES = Path("multirun")
SINGLE = Path("outputs")
_CHECKPOINT = "ckpt-"  # with which the name of a checkpoint begins


def place(name: str) -> Path:
    """The directory that is meant. Raises ConfigError, naming the nearest that there are."""
    path = Path(name).expanduser()
    if (
        (path.is_dir() and path.name.startswith(_CHECKPOINT))
        or (path / rundir.CONFIG).exists()
        or (path / rundir.PROVENANCE).exists()
    ):
        return path
    if path.is_dir():
        runs = sorted(one.parent.name for one in path.glob(f"*/{rundir.CONFIG}"))
        inside = f"; it holds runs, name one: {', '.join(runs[:3])}" if runs else ""
        raise ConfigError(f"{path} is no directory of a run and no checkpoint{inside}")
    folders = {path.parent, SINGLE, *(STUDIES.iterdir() if STUDIES.is_dir() else ())}
    known = {str(one) for folder in folders if folder.is_dir() for one in folder.iterdir() if one.is_dir()}
    by_name = {Path(one).name: one for one in known}
    near = did_you_mean(str(path), known, "{}") or by_name.get(did_you_mean(path.name, by_name, "{}"))
    raise ConfigError(f"there is no directory {name}" + (f"; did you mean {near}?" if near else ""))
