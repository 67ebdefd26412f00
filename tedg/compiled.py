"""The decorator of the compiled kernels, with a cache on disk that notices changes in any of their files."""

from __future__ import annotations

import hashlib
import inspect
import os
import stat
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from numba import config, njit

from tedg.files import PACKAGE

F = TypeVar("F", bound=Callable[..., Any])


@cache
def _cache_directory(folder: Path) -> Path | None:
    """The cache's folder for the present version of the sources that kernels in `folder` take constants from.

    None where nothing can be written. The sources are the folder itself and tedg/envs, whose sizes and tables
    the network's kernels may use.

    Numba recompiles a function when its own file changes, but not when a constant or the order of a named
    tuple's fields changes in another file. That would make kernels write to the wrong columns, silently.
    """
    digest = hashlib.sha256()
    for source in sorted({*folder.glob("*.py"), *(PACKAGE / "envs").glob("*.py")}):
        digest.update(source.read_bytes())
    name = f"kernels-{digest.hexdigest()[:16]}"
    if config.CACHE_DIR:
        return Path(config.CACHE_DIR) / name
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    shared = Path(tempfile.gettempdir()) / f"tedg-{os.getuid()}"
    places = [folder / "__pycache__", Path(home) / "tedg" / folder.name, shared / folder.name]
    return next((place / name for place in places if _usable(place / name)), None)


def _usable(place: Path) -> bool:
    """Whether kernels can be kept there and come from nobody else: numba reads pickles, which run code."""
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=place):
            pass
        for own in (place, place.parent, place.parent.parent):
            status = own.stat()
            if status.st_mode & stat.S_IWOTH or status.st_uid not in (os.getuid(), 0):
                return False
    except OSError:
        return False
    return True


def kernel(function: F) -> F:
    """Compile `function` at its first call from Python, without the GIL, and keep the code on disk.

    It is kept beside the sources, else in the user's cache, else in the folder of temporary files.
    """
    return _compiled(function, no_cfunc_wrapper=True)


def vector_kernel(function: F) -> F:
    """The same, for loops over real numbers: sums may be added up in another order, several at a time."""
    return _compiled(function, no_cfunc_wrapper=True, fastmath={"reassoc", "contract"})


def kernel_part(function: F) -> F:
    """The same as `kernel` for functions that only kernels call; they compile faster."""
    return _compiled(function, no_cfunc_wrapper=True, no_cpython_wrapper=True)


def _compiled(function: F, **options: Any) -> F:
    plain: Any = inspect.unwrap(function)  # tests wrap the functions of modules whose types they check
    directory = _cache_directory(Path(plain.__code__.co_filename).parent)
    usual = config.CACHE_DIR
    config.CACHE_DIR = str(directory or "")
    try:
        compiled: F = njit(cache=directory is not None, nogil=True, error_model="numpy", **options)(plain)
    finally:
        config.CACHE_DIR = usual
    return compiled
