"""Frees the disk of what finished cells do not need any more."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tedg.errors import StorageError
from tedg.store.rundir import CHECKPOINTS, owned
from tedg.study.cells import checkpoint_bytes


def prunable(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cells that are done and have checkpoints, but for those whose weights another one still needs."""
    needed = {cell["parent"] for cell in cells if cell["state"] != "done"}
    return [
        cell
        for cell in cells
        if cell["state"] == "done" and cell["name"] not in needed and checkpoint_bytes(cell)
    ]


def prune(cells: Sequence[dict[str, Any]]) -> int:
    """Remove the checkpoints of these cells; the bytes that this frees. Raises InUse and StorageError."""
    freed = 0
    for cell in cells:
        directory = Path(cell["directory"])
        with owned(directory):
            before = checkpoint_bytes(cell)
            try:
                shutil.rmtree(directory / CHECKPOINTS)
            except OSError as error:
                raise StorageError(f"{directory / CHECKPOINTS} cannot be removed: {error.strerror}") from None
            freed += before
    return freed
