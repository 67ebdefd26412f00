"""The tensors in which the processes of a learner meet, in one piece of memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_ALIGNMENT = 64  # bytes; no two tensors share a line of the processor's cache


@dataclass(frozen=True, slots=True)
class Layout:
    """Names, shapes and dtypes of tensors that lie one after the other."""

    entries: tuple[tuple[str, tuple[int, ...], torch.dtype], ...]

    @staticmethod
    def of(tensors: Mapping[str, Tensor]) -> Layout:
        """A place for a copy of each."""
        return Layout(tuple((name, tuple(t.shape), t.dtype) for name, t in tensors.items()))

    @property
    def size(self) -> int:
        """Bytes that `over` needs."""
        return sum(_padded(shape, dtype) for _, shape, dtype in self.entries)

    def over(self, buffer: Any) -> dict[str, Tensor]:
        """The tensors in a writable buffer: the same ones in every process that maps the same memory."""
        tensors = {}
        offset = 0
        for name, shape, dtype in self.entries:
            count = math.prod(shape)
            flat = (
                torch.frombuffer(buffer, dtype=dtype, count=count, offset=offset)
                if count
                else torch.empty(0, dtype=dtype)
            )
            tensors[name] = flat.view(shape)
            offset += _padded(shape, dtype)
        return tensors


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix` and a dot, by the rest of their names."""
    start = f"{prefix}."
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}


def _padded(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    size = math.prod(shape) * dtype.itemsize
    return -(-size // _ALIGNMENT) * _ALIGNMENT
