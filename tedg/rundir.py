"""A run's directory: where it is, who owns it now, and files that are either whole or not there."""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tedg.config import SLUG, SLUG_RULE
from tedg.errors import ConfigError, StorageError

CONFIG = "config.yaml"
RESULT = "result.json"  # written last: a run that has it is done
CHECK = "check.json"  # what a check said of the run
PROVENANCE = "provenance.json"
CHECKPOINTS = "checkpoints"
WEIGHTS = "model.safetensors"  # in a checkpoint
LOCK = "lock"
PROBE = "probe"  # directory that is made and removed at once, to see whether one can be

# What a writer that died in the middle leaves behind: see `write_text`.
_UNFINISHED = re.compile(r"(config\.yaml|result\.json|check\.json|provenance\.json|probe)\.tmp-\d+")


def find(roots: Iterable[Path], run_id: str) -> Path | None:
    """The directory of the run `run_id` in one of `roots`, whatever its readable name; else None.

    A link out of its root is no run directory of it.
    """
    for root in roots:
        for path in sorted(root.glob(f"*-{run_id}")):
            if (path / CONFIG).is_file() and not leads_outside(path, root):
                return path
    return None


def named(root: Path, name: str, run_id: str) -> Path:
    """The directory of a new run below `root`; ConfigError if it would lie anywhere else."""
    path = root / f"{name}-{run_id}"
    if not SLUG.fullmatch(name):
        raise ConfigError(f"name={name}: {SLUG_RULE}")
    if leads_outside(path, root):
        raise ConfigError(f"{path} is a link to a place outside of {root}; remove it")
    return path


def leads_outside(path: Path, root: Path) -> bool:
    """Whether `path`, an entry of `root`, is a link to another place."""
    return os.path.realpath(path) != os.path.join(os.path.realpath(root), path.name)


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
def owned(path: Path) -> Iterator[None]:
    """Keep every other process out of the run directory; ConfigError naming the owner if there is one.

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
            owner = re.sub(r"[^\w .:-]", "?", file.read(200).strip()) or "another process"
            raise ConfigError(f"{path} is in use by {owner}; wait for it or stop it") from None
        try:
            file.truncate(0)
            # Unbuffered: closing a file that cannot be flushed would raise a second time.
            os.write(file.fileno(), f"host {socket.gethostname()} pid {os.getpid()}\n".encode())
            _remove_unfinished(path)
        except OSError as error:
            raise StorageError(f"cannot write in {path}: {error.strerror}") from error
        yield


def _remove_unfinished(path: Path) -> None:
    for entry in path.iterdir():
        if not _UNFINISHED.fullmatch(entry.name):
            continue
        with suppress(FileNotFoundError):  # somebody's probe that is gone already
            entry.rmdir() if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if there is no such file. Raises StorageError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise StorageError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise StorageError(f"{path} does not hold a JSON object")
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
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object atomically; NaN and infinity, which JSON does not know, become null."""
    write_text(path, json.dumps(_finite(content), indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step that survives a crash: old or new content, never a part. StorageError."""
    unfinished = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error.strerror}") from error


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
