"""The run's tables on disk: metrics and timings per update, one row per training episode.

Files grow by whole lines. A line without its newline was torn by a crash: readers skip it, writers
remove it, and a resumed run drops the rows after its checkpoint before it adds its own.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_type_hints

from tedg.envs.observation import EpisodeEnd
from tedg.errors import StorageError
from tedg.store.metrics import renamed

# Without the cause of death, which the first version did not have: a resumed run goes on with its own table.
_OF_EPISODES = {name: kind for name, kind in get_type_hints(EpisodeEnd).items() if name != "cause"}
_EPISODE_TYPES: dict[str, type] = {"update": int, "env_steps": int, **_OF_EPISODES}
EPISODE_COLUMNS = tuple(_EPISODE_TYPES)


class MetricsLog:
    """Appends one JSON object per update, with the system before `flush` returns to the caller.

    Numbers that JSON cannot hold (NaN, infinities) become null. Raises StorageError when the file
    cannot be written; the rows are kept then, for the next `flush`.
    """

    def __init__(self, path: Path) -> None:
        self._file = _Lines(path)

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row for the next `flush`; it must hold the integer `update`.

        Values are plain or zero-dimensional numbers.
        """
        plain = {key: _plain(value) for key, value in row.items()}
        if not isinstance(plain.get("update"), int):
            raise ValueError("a row of metrics needs the integer `update`")
        self._file.add(json.dumps(plain, allow_nan=False).encode() + b"\n")

    def flush(self) -> None:
        """Write the rows that were added."""
        self._file.flush()

    def truncate_after(self, update: int) -> None:
        """Drop the rows of later updates; the bytes of the others stay as they are."""
        self._file.keep(lambda line: _update(self._file.path, line) <= update)

    def sync(self) -> None:
        """Force what was appended to the disk itself, so that it outlives a power cut."""
        self._file.sync()


class EpisodesLog:
    """Appends one CSV row per training episode: `EPISODE_COLUMNS`, rewards and scores in raw game units.

    Raises StorageError when the file cannot be written, or begins with another header; rows are kept then,
    for the next `flush`.
    """

    def __init__(self, path: Path) -> None:
        self._file = _Lines(path)
        header = _csv_line(EPISODE_COLUMNS)
        if not (lines := _whole_lines(path)):
            self._file.add(header)
            self._file.flush()
        elif lines[0] != header:
            raise StorageError(f"{path}: the first line is not {header.decode().strip()}")

    def add(self, update: int, env_steps: int, episodes: Iterable[EpisodeEnd]) -> None:
        """Take the episodes that ended in one update's rollout, `env_steps` being the total after it."""
        rows = [
            _csv_line((update, env_steps, *(_plain(getattr(episode, name)) for name in _OF_EPISODES)))
            for episode in episodes
        ]
        self._file.add(b"".join(rows))

    def flush(self) -> None:
        """Write the rows that were added."""
        self._file.flush()

    def truncate_after(self, update: int) -> None:
        """Drop the rows of later updates; the bytes of the others stay as they are."""
        with _damage(self._file.path):
            self._file.keep(
                lambda line: line.startswith(b"update,") or int(line.partition(b",")[0]) <= update
            )

    def sync(self) -> None:
        """Force what was appended to the disk itself, so that it outlives a power cut."""
        self._file.sync()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All whole rows, oldest first, by the names of today; a null is None.

    StorageError names a line that is not JSON.
    """
    return [renamed(_parse(path, line)) for line in _whole_lines(path)]


def read_episodes(path: Path) -> list[dict[str, Any]]:
    """All whole rows as `EPISODE_COLUMNS`, numbers as numbers, oldest first. StorageError for other rows."""
    with _damage(path):
        text = b"".join(_whole_lines(path)).decode()
        return [
            {name: kind(value) for (name, kind), value in zip(_EPISODE_TYPES.items(), row, strict=True)}
            for row in list(csv.reader(io.StringIO(text)))[1:]
        ]


class _Lines:
    """A file that grows by whole lines; it is open only while something is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = 0  # of the whole lines
        self._waiting = b""
        with _storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        self.keep(lambda _: True)

    def add(self, content: bytes) -> None:
        self._waiting += content

    def flush(self) -> None:
        if not self._waiting:
            return
        with _storage_errors(self.path), self.path.open("r+b") as file:
            if file.seek(0, os.SEEK_END) > self._size:
                file.truncate(self._size)  # a part of a line is left of an earlier try
            file.seek(self._size)
            file.write(self._waiting)
            file.flush()
            self._size, self._waiting = self._size + len(self._waiting), b""

    def keep(self, wanted: Callable[[bytes], bool]) -> None:
        """Replace the file by its wanted whole lines, atomically; untouched if that is all of it."""
        content = b"".join(line for line in _whole_lines(self.path) if wanted(line))
        with _storage_errors(self.path):
            self._size = len(content)
            if self._size == self.path.stat().st_size:
                return
            other = self.path.with_name(f"{self.path.name}.tmp")
            with other.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(other, self.path)

    def sync(self) -> None:
        self.flush()
        with _storage_errors(self.path), self.path.open("ab") as file:
            os.fsync(file.fileno())


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusals into an error with the file's name and the exit code for storage."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error


def _whole_lines(path: Path) -> list[bytes]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    return content[: content.rfind(b"\n") + 1].splitlines(keepends=True)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what a damaged row raises into an error with the file's name."""
    try:
        yield
    except (ValueError, csv.Error) as error:
        raise StorageError(f"{path} has a damaged row: {error}") from error


def _update(path: Path, line: bytes) -> int:
    update = _parse(path, line).get("update")
    if not isinstance(update, int):
        raise StorageError(f"{path} has a damaged line, {line[:60]!r}: no integer `update`")
    return update


def _parse(path: Path, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{path} has a damaged line, {line[:60]!r}: {error}") from error
    return row


def _csv_line(values: Iterable[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def _plain(value: Any) -> Any:
    """A JSON value: array and tensor scalars unpacked, NaN and infinities as None."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
