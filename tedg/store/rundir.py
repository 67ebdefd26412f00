"""A run's directory: where it is, who owns it now, and files that are either whole or not there."""

from __future__ import annotations

import fcntl
import os
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from tedg.errors import ConfigError, InUse, StorageError
from tedg.files import SLUG, SLUG_RULE, leads_outside, read_json

CONFIG = "config.yaml"
RESULT = "result.json"  # written last: a run that has it is done
CHECK = "check.json"  # what a check said of the run
PROVENANCE = "provenance.json"
CHECKPOINTS = "checkpoints"
MILESTONES = "milestones"  # weights after so many env steps, one checkpoint each, by that number
WEIGHTS = "model.safetensors"  # in a checkpoint
LOCK = "lock"

# What a writer that died in the middle leaves behind: see `write_text`.
_UNFINISHED = re.compile(r"(config\.yaml|result\.json|check\.json|provenance\.json|probe)\.tmp-\d+")


def find(roots: Iterable[Path], run_id: str) -> Path | None:
    """The directory of the run `run_id` in one of `roots`, whatever its readable name; else None.

    A link out of its root counts only where it leads to this very run, as after a move to another disk.
    """
    for root in roots:
        for path in sorted(root.glob(f"*-{run_id}")):
            if (path / CONFIG).is_file() and (not leads_outside(path, root) or _is_run(path, run_id)):
                return path
    return None


def _is_run(path: Path, run_id: str) -> bool:
    """Whether a directory says that it holds the run. Raises StorageError where it cannot be read."""
    provenance = read_provenance(path)
    return provenance is not None and provenance["run_id"] == run_id


def named(root: Path, name: str, run_id: str) -> Path:
    """The directory of a new run below `root`; ConfigError if it would lie anywhere else."""
    path = root / f"{name}-{run_id}"
    if not SLUG.fullmatch(name):
        raise ConfigError(f"name={name}: {SLUG_RULE}")
    if leads_outside(path, root):
        raise ConfigError(
            f"{path} is a link to a place outside of {root} that does not hold this run; rename the link, or "
            "choose a directory with run_dir"
        )
    return path


def make(path: Path) -> None:
    """Create a run directory, or take an existing one; ConfigError if it cannot be or holds other files.

    What a process left that died before it had written `config.yaml` does not count.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        content = {entry.name for entry in path.iterdir() if not _UNFINISHED.fullmatch(entry.name)}
    except OSError as error:
        raise ConfigError(f"run_dir={path}: cannot be made: {error.strerror}") from None
    if content - {LOCK} and CONFIG not in content:
        raise ConfigError(f"run_dir={path}: has files but is no run directory; choose an empty or new one")


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """No other process begins a run below `root` meanwhile, where its file system has locks."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


@contextmanager
def owned(path: Path) -> Iterator[None]:
    """Keep every other process out of the run directory; InUse naming the owner if there is one.

    The lock ends with the process, however that ends. The file stays. What an earlier owner left unfinished
    is removed.
    """
    try:
        file = (path / LOCK).open("a+", encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"run_dir={path}: not writable: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise InUse(f"{path} is in use by {_named(file.read(200))}; wait for it or stop it") from None
        try:
            file.truncate(0)
            # Unbuffered: closing a file that cannot be flushed would raise a second time.
            os.write(file.fileno(), f"host {socket.gethostname()} pid {os.getpid()}\n".encode())
            _remove_unfinished(path)
        except OSError as error:
            raise StorageError(f"cannot write in {path}: {error.strerror}") from error
        yield


def owner(path: Path) -> str | None:
    """Host and number of the process that owns a run directory now; None if there is none."""
    try:
        with (path / LOCK).open(encoding="utf-8", errors="replace") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _named(file.read(200))
    except OSError:  # no lock, or a file system without any
        return None
    return None


def _named(content: str) -> str:
    return re.sub(r"[^\w .:-]", "?", content.strip()) or "another process"


def _remove_unfinished(path: Path) -> None:
    for entry in path.iterdir():
        if not _UNFINISHED.fullmatch(entry.name):
            continue
        with suppress(FileNotFoundError):  # somebody's probe that is gone already
            entry.rmdir() if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def read_config(run_dir: Path) -> dict[str, Any]:
    """The configuration that a run began with, as it was written. Raises StorageError."""
    path = run_dir / CONFIG
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise StorageError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not isinstance(content.get("eval"), dict):
        raise StorageError(f"{path} is damaged: it holds no configuration of a run")
    return content


def read_provenance(run_dir: Path) -> dict[str, Any] | None:
    """Which run a directory holds, and its sessions so far; None if it holds none. Raises StorageError."""
    path = run_dir / PROVENANCE
    content = read_json(path)
    if content is None:
        return None
    sessions = content.get("sessions")
    listed = isinstance(sessions, list) and sessions and all(isinstance(one, dict) for one in sessions)
    if not listed or not isinstance(content.get("run_id"), str):
        raise StorageError(f"{path} does not say which run this is: it needs a run_id and sessions")
    if "before" in content and not _spent(content["before"]):
        raise StorageError(f"{path} is damaged: before needs env_steps, episodes and budget")
    return content


def _spent(before: Any) -> bool:
    """Whether this says what was spent before a run, as provenance.json does."""
    if not isinstance(before, dict) or before.keys() != {"env_steps", "episodes", "budget"}:
        return False
    budget = before["budget"]
    if not (budget is None or isinstance(budget, dict)):
        return False
    numbers = [before["env_steps"], before["episodes"], *(budget or {}).values()]
    return all(number is None or type(number) is int for number in numbers)
