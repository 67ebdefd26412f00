"""Checkpoints that are either whole or not there.

A checkpoint is a directory `ckpt-<step>` that holds one safetensors file per group of tensors,
`state.json` for everything else and `manifest.json` with the size and SHA-256 of each file. It is
written under another name, flushed to the disk and renamed, so a crash at any moment leaves the
earlier checkpoints as they were. What is newest or best is found by reading manifests, never by a
pointer. Nothing is ever pickled or unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from tedg.errors import DivergedError, StorageError
from tedg.inert import inert

SCHEMA = 3  # what a run puts into its checkpoints; see `tedg.learn.migrations` for the earlier ones
_MANIFEST = "manifest.json"
_STATE = "state.json"
_GROUP = re.compile(r"([a-z][a-z0-9_]*)\.safetensors")
_PREFIX = "ckpt-"
_WHOLE = re.compile(_PREFIX + r"(\d{12})")
_UNFINISHED = re.compile(_PREFIX + r"\d{12}\.tmp-(\d+)")
_MUST_BE_FINITE = ("model", "optim")

TensorGroups = Mapping[str, Mapping[str, Tensor]]
Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What `load` read: tensors on the CPU by group and name, JSON state, and the manifest."""

    path: Path
    step: int
    schema: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]
    meta: dict[str, Any]


def save(
    directory: Path,
    step: int,
    tensors: TensorGroups,
    state: Mapping[str, Any],
    meta: Mapping[str, Any] | None = None,
    keep: int = 3,
    quality: float | None = None,
) -> Path:
    """Write `directory/ckpt-<step>` atomically, then delete all but the `keep` newest up to it and the best.

    `state` and `meta` (the run's id, versions) must be JSON; string keys only. The best has the highest
    `quality`, and is the earliest such. A step that already has an intact checkpoint is not written again.
    Raises StorageError when the disk refuses, with earlier checkpoints untouched, and DivergedError when
    group `model` or `optim` holds NaN or infinity. One process at a time may save into a directory.
    """
    _require_finite(tensors)
    files = {f"{group}.safetensors": _to_bytes(group, named) for group, named in tensors.items()}
    files[_STATE] = json.dumps(state).encode()
    final = place(directory, step)
    unfinished = directory / f"{final.name}.tmp-{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        clean(directory)
        if final.exists():
            if _fault(final) is None:
                return final
            _remove(final)
        unfinished.mkdir()
        for name, content in files.items():
            _write(unfinished / name, content)
        _write(unfinished / _MANIFEST, _manifest(step, files, meta or {}, quality))
        _sync_directory(unfinished)
        os.rename(unfinished, final)
        _sync_directory(directory)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise StorageError(f"cannot write checkpoint {final}: {error}") from error
    _prune(directory, step, keep)
    return final


def latest(directory: Path, warn: Warn | None = None) -> Path | None:
    """The newest checkpoint whose every file is as its manifest says; None if there never was one.

    Each broken one on the way is named through `warn` (default: standard error). Raises StorageError
    when there are checkpoints and all are broken: to start from scratch then would lose work silently.
    """
    found = finished(directory)
    for path in reversed(found):
        fault = _fault(path)
        if fault is None:
            return path
        (warn or _to_stderr)(f"checkpoint {path.name} is broken and was skipped: {fault}")
    if found:
        raise StorageError(
            f"none of the {len(found)} checkpoints in {directory} can be read; "
            "remove that directory to start from scratch"
        )
    return None


def finished(directory: Path) -> list[Path]:
    """All checkpoints that were written to their end, oldest first; they may be damaged since."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if is_checkpoint(path))


def is_checkpoint(path: Path) -> bool:
    """Whether this is the name of one checkpoint, and it is there."""
    return _WHOLE.fullmatch(path.name) is not None and path.is_dir()


def place(directory: Path, step: int) -> Path:
    """Where the checkpoint of a step lies, whether it is there or not."""
    return directory / f"{_PREFIX}{step:012d}"


def drop_after(directory: Path, step: int) -> None:
    """Remove the checkpoints of later steps. Raises StorageError."""
    for path in finished(directory):
        if _step(path) > step:
            try:
                _remove(path)
            except OSError as error:
                raise StorageError(f"cannot remove {path}: {error.strerror}") from error


def best(directory: Path, until: int | None = None) -> tuple[Path, float] | None:
    """The checkpoint of the highest quality, of those up to step `until`, and that quality; None without any.

    What a manifest says is taken as it is: see `load`.
    """
    found = [
        (quality, -_step(path), path)
        for path in finished(directory)
        if (until is None or _step(path) <= until) and (quality := _quality(path)) is not None
    ]
    if not found:
        return None
    quality, _, path = max(found)
    return path, quality


def load(path: Path) -> Checkpoint:
    """Read one checkpoint, checking every file against the manifest. Raises StorageError if broken."""
    try:
        return _read(path)
    except _BrokenError as error:
        raise StorageError(f"checkpoint {path} is broken: {error}") from error


def clean(directory: Path) -> None:
    """Remove what writers that no longer live left unfinished. Only the run's owner may call it."""
    for path in directory.iterdir() if directory.is_dir() else ():
        match = _UNFINISHED.fullmatch(path.name)
        if match and not _lives(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)


class _BrokenError(Exception):
    """A checkpoint on the disk is not what its writer wrote."""


def _require_finite(tensors: TensorGroups) -> None:
    for group in _MUST_BE_FINITE:
        for name, tensor in tensors.get(group, {}).items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise DivergedError(f"not saved: {group} tensor {name} is not finite")


def _to_bytes(group: str, named: Mapping[str, Tensor]) -> bytes:
    if not _GROUP.fullmatch(f"{group}.safetensors"):
        raise ValueError(f"not a name for a group of tensors: {group!r}")
    # Copies, because safetensors refuses tensors that share memory, such as tied weights.
    return safetensors.torch.save({k: v.detach().cpu().clone().contiguous() for k, v in named.items()})


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _manifest(step: int, files: Mapping[str, bytes], meta: Mapping[str, Any], quality: float | None) -> bytes:
    listed = {name: {"sha256": _digest(content), "bytes": len(content)} for name, content in files.items()}
    body = {"schema": SCHEMA, "step": step, "files": listed, "meta": dict(meta), "quality": quality}
    return json.dumps({**body, "sha256": _own_digest(body)}, indent=1).encode()


def _quality(path: Path) -> float | None:
    try:
        manifest = json.loads((path / _MANIFEST).read_bytes())
        quality = manifest.get("quality") if manifest["sha256"] == _own_digest(manifest) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None  # broken: `latest` says so when it matters
    return quality if isinstance(quality, float) else None


def _own_digest(manifest: Mapping[str, Any]) -> str:
    body = {key: value for key, value in manifest.items() if key != "sha256"}
    return _digest(json.dumps(body, sort_keys=True).encode())


def _read(path: Path) -> Checkpoint:
    try:
        manifest = json.loads((path / _MANIFEST).read_bytes())
        if manifest["sha256"] != _own_digest(manifest):
            raise _BrokenError(f"{_MANIFEST} was altered")
        schema, step = manifest["schema"], manifest["step"]
        if schema not in range(1, SCHEMA + 1):
            raise _BrokenError(f"schema {schema}, this version reads 1 to {SCHEMA}")
        if step != _step(path):
            raise _BrokenError(f"its manifest is that of step {step}")
        tensors: dict[str, dict[str, Tensor]] = {}
        state: dict[str, Any] | None = None
        for name, expected in manifest["files"].items():
            group = _GROUP.fullmatch(name)
            if group is None and name != _STATE:
                raise _BrokenError(f"{name} is not a kind of file that checkpoints hold")
            content = (path / name).read_bytes()
            if len(content) != expected["bytes"]:
                raise _BrokenError(f"{name} has {len(content)} bytes instead of {expected['bytes']}")
            if _digest(content) != expected["sha256"]:
                raise _BrokenError(f"{name} was altered")
            if group is None:
                state = json.loads(content)
            else:
                tensors[group[1]] = safetensors.torch.load(content)
        if state is None:
            raise _BrokenError(f"no {_STATE}")
        return Checkpoint(path, step, schema, tensors, state, dict(manifest["meta"]))
    except OSError as error:
        raise _BrokenError(f"{Path(error.filename or path).name}: {error.strerror}") from error
    except (
        *(ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError),
        safetensors.SafetensorError,
    ) as error:
        raise _BrokenError(f"{type(error).__name__}: {error}") from error


def _fault(path: Path) -> str | None:
    try:
        _read(path)
    except _BrokenError as error:
        return str(error)
    return None


def _prune(directory: Path, step: int, keep: int) -> None:
    # One beyond `step` is a broken one that this run fell back from; it must not push out good ones.
    past = [path for path in finished(directory) if _step(path) <= step]
    spared = best(directory, until=step)
    with suppress(OSError):  # a leftover costs space, the new checkpoint is safe
        for path in past[: -max(keep, 1)]:
            if spared is None or path != spared[0]:
                _remove(path)


def _step(path: Path) -> int:
    return int(path.name.removeprefix(_PREFIX))


def _remove(path: Path) -> None:
    # Renamed first: a half-deleted directory must not look like a checkpoint.
    doomed = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    os.rename(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lives(pid: int) -> bool:
    # An own leftover is from an earlier process with the same id, as in containers.
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _to_stderr(message: str) -> None:
    print(inert(message), file=sys.stderr)
