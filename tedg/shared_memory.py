"""Arrays in one piece of memory, for processes that map it to meet in. Imports no torch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

_ALIGNMENT = 64  # bytes; no two arrays share a line of the processor's cache

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Layout:
    """Names, shapes and dtypes of arrays that lie one after the other."""

    entries: tuple[tuple[str, tuple[int, ...], np.dtype[Any]], ...]

    @staticmethod
    def of(arrays: Mapping[str, npt.NDArray[Any]]) -> Layout:
        """A place for a copy of each."""
        return Layout(tuple((name, array.shape, array.dtype) for name, array in arrays.items()))

    @property
    def size(self) -> int:
        """Bytes that `over` needs."""
        return sum(_padded(shape, dtype) for _, shape, dtype in self.entries)

    @property
    def offsets(self) -> dict[str, int]:
        """Where each array begins, in bytes."""
        sizes = [_padded(shape, dtype) for _, shape, dtype in self.entries]
        begins = itertools.accumulate(sizes[:-1], initial=0)
        return dict(zip((name for name, _, _ in self.entries), begins, strict=True))

    def over(self, buffer: Any) -> dict[str, npt.NDArray[Any]]:
        """The arrays in a writable buffer: the same ones in every process that maps the same memory."""
        offsets = self.offsets
        return {name: np.ndarray(shape, dtype, buffer, offsets[name]) for name, shape, dtype in self.entries}


def part(arrays: Mapping[str, T], prefix: str) -> dict[str, T]:
    """Those whose names begin with `prefix` and a dot, by the rest of their names."""
    start = f"{prefix}."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def _padded(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    size = math.prod(shape) * dtype.itemsize
    return -(-size // _ALIGNMENT) * _ALIGNMENT
