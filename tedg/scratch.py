"""A folder for the temporary files of this process and its children, which ends with the last of them.

NetHack's games and PyTorch Geometric write files of their own, and a process that is killed leaves them. Each
process of a run holds a lock on the folder. The last one to end removes it; where that one is killed too, the
next process that makes such a folder finds it unlocked and removes it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tedg.startup import before_leaving

_PREFIX = "tedg-temporary-"
_NAME = re.compile(re.escape(_PREFIX) + "[a-z0-9_]{8}")

Handle = tuple[str, int | None]  # a folder and the open file that locks it; None where nothing can be locked


class _Held:
    """This process's hold on a folder; let go at the end of the process."""

    def __init__(self, path: str, lock: int | None) -> None:
        self.path, self.lock = path, lock
        # Finalizers run in reverse order: what is in the folder is given up before the folder is.
        self.let_go = weakref.finalize(self, _let_go, path, lock)
        before_leaving.append(self.let_go)


_held: dict[str, _Held] = {}  # by the directory for temporary files that the folder lies in


def folder() -> str:
    """The folder of this process, made at the first call; those of dead processes are removed then."""
    base = tempfile.gettempdir()
    if any(base == held.path for held in _held.values()):  # inside `temporary_files`
        return base
    if base not in _held or not os.path.isdir(_held[base].path):
        _remove_left(base)
        _held[base] = _Held(*_make(base))
    return _held[base].path


def handle() -> Handle:
    """What a child needs to hold the folder too; it must inherit the file."""
    path = folder()
    return path, next(held.lock for held in _held.values() if held.path == path)


def adopt(given: Handle) -> None:
    """In a child: hold its parent's folder."""
    path, lock = given
    if lock is not None:
        os.set_inheritable(lock, False)
    _held[tempfile.gettempdir()] = _Held(path, lock)


@contextmanager
def temporary_files() -> Iterator[None]:
    """Temporary files that anything makes meanwhile lie in the folder."""
    before, tempfile.tempdir = tempfile.tempdir, folder()
    try:
        yield
    finally:
        tempfile.tempdir = before


def _make(base: str) -> Handle:
    while True:
        path = tempfile.mkdtemp(prefix=_PREFIX, dir=base)
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:  # a file system without locks, where nobody else can take it for left either
            os.close(lock)
            return path, None
        if _is(path, lock):
            return path, lock
        os.close(lock)  # another process took it for left, in the moment before it was locked


def _let_go(path: str, lock: int | None) -> None:
    if lock is None:
        shutil.rmtree(path, ignore_errors=True)
        return
    os.close(lock)
    _remove_if_left(path)


def _remove_left(base: str) -> None:
    with suppress(OSError), os.scandir(base) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name):
                _remove_if_left(entry.path)


def _remove_if_left(path: str) -> None:
    """Remove a folder that no process holds. One of another user cannot be opened."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is(path, lock) and os.fstat(lock).st_uid == os.geteuid():
            shutil.rmtree(path, ignore_errors=True)
    except OSError:
        return
    finally:
        os.close(lock)


def _is(path: str, file: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except OSError:
        return False
