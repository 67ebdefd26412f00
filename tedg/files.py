"""Files and names of files: read and written whole, and what may be written where. Used by all."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tedg.errors import StorageError

PACKAGE = Path(__file__).resolve().parent
SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
SLUG_RULE = "must be 1 to 80 letters, digits, '.', '_' or '-', the first a letter or digit"
PROBE = "probe"  # directory that is made and removed at once, to see whether one can be


def conf_dir() -> Path:
    """The folder of YAML files: $TEDG_CONF_DIR, else inside the installed package, else of the checkout."""
    named = os.environ.get("TEDG_CONF_DIR")
    if named:
        return Path(named).expanduser().absolute()
    return PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"


def expanded(path: str | Path) -> Path:
    """The path with its `~` as the user's home; one of a user who does not exist stays as it is."""
    return Path(os.path.expanduser(path))


def unwritable(path: Path) -> str | None:
    """Why `path` cannot be made or written as a directory; None if nothing speaks against it.

    Makes a directory in the nearest one that exists and removes it again, because permissions do not show
    that a disk is full or read-only, and do not bind root.
    """
    if "\0" in str(path):
        return "a path has no NUL"
    place = path
    try:
        os.fsencode(path)
        place = path.expanduser().absolute()
        while not place.exists():
            if place.is_symlink():
                return f"{place} is a link to a place that does not exist"
            place = place.parent
        if not place.is_dir():
            return f"{place} is a file, not a directory"
        probe = place / f"{PROBE}.tmp-{os.getpid()}"
        probe.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            probe.rmdir()
    except OSError as error:
        return f"{place} is not writable ({error.strerror}); choose another directory"
    except (RuntimeError, ValueError) as error:  # no such home; text that no file can have as its name
        return f"is no path: {error}"
    return None


def kept_in(experiments: Path, study: str) -> Path:
    """Where results of a study's runs are kept, one folder a run."""
    return experiments / study / "runs"


def leads_outside(path: Path, root: Path) -> bool:
    """Whether `path`, an entry of `root`, is a link to another place."""
    return os.path.realpath(path) != os.path.join(os.path.realpath(root), path.name)


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


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object atomically; NaN and infinity, which JSON does not know, become null."""
    write_text(path, json.dumps(_finite(content), indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step that survives a crash: old or new content, never a part. StorageError."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """As `write_text`."""
    unfinished = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
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
