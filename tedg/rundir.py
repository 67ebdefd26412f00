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
LOCK = "lock"


def find(roots: Iterable[Path], run_id: str) -> Path | None:
    """The directory of the run `run_id` in one of `roots`, whatever its readable name; else None."""
    for root in roots:
        for path in sorted(root.glob(f"*-{run_id}")):
            if (path / CONFIG).is_file():
                return path
    return None


def named(root: Path, name: str, run_id: str) -> Path:
    """The directory of a new run below `root`; ConfigError if it would lie anywhere else."""
    path = root / f"{name}-{run_id}"
    if not SLUG.fullmatch(name):
        raise ConfigError(f"name={name}: {SLUG_RULE}")
    if path.resolve() != root.resolve() / path.name:
        raise ConfigError(f"{path} is a link to a place outside of {root}; remove it")
    return path


def make(path: Path) -> None:
    """Create a run directory, or take an existing one; ConfigError if it cannot be or holds other files."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        content = {entry.name for entry in path.iterdir()}
    except OSError as error:
        raise ConfigError(f"run_dir={path}: cannot be made: {error.strerror}") from None
    if content - {LOCK} and CONFIG not in content:
        raise ConfigError(f"run_dir={path}: has files but is no run directory; choose an empty or new one")


@contextmanager
def owned(path: Path) -> Iterator[None]:
    """Keep every other process out of the run directory; ConfigError naming the owner if there is one.

    The lock ends with the process, however that ends. The file stays.
    """
    try:
        file = (path / LOCK).open("a+")
    except OSError as error:
        raise ConfigError(f"run_dir={path}: not writable: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            owner = re.sub(r"[^\w .:-]", "?", file.read(200).strip()) or "another process"
            raise ConfigError(f"{path} is in use by {owner}; wait for it or stop it") from None
        file.truncate(0)
        file.write(f"host {socket.gethostname()} pid {os.getpid()}\n")
        file.flush()
        yield


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if there is no such file. Raises StorageError for anything else."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise StorageError(f"{path} does not hold a JSON object")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object atomically; NaN and infinity, which JSON does not know, become null."""
    write_text(path, json.dumps(_finite(content), indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step that survives a crash: old or new content, never a part. StorageError."""
    unfinished = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with unfinished.open("w") as file:
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
