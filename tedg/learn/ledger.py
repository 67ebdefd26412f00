"""Figures of an update's steps, kept on the device and looked at once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Ledger:
    """A table with a row per step and a column per figure."""

    def __init__(self, rows: int, like: Tensor) -> None:
        """`like` has the device and the dtype of the figures."""
        self._rows, self._like = rows, like
        self._next = torch.zeros(1, dtype=torch.int64, device=like.device)
        self._table: Tensor | None = None
        self.names: list[str] = []

    def tensors(self) -> list[Tensor]:
        """What `note` changes and later calls read."""
        return [self._next] if self._table is None else [self._next, self._table]

    def begin(self) -> None:
        """The next row is the first."""
        self._next.zero_()

    @torch.no_grad()
    def note(self, figures: Mapping[str, Tensor]) -> None:
        """Write the next row: tensors without dimensions, always of the same names."""
        self.names = list(figures)
        row = torch.stack([figure.to(self._like.dtype) for figure in figures.values()])
        if self._table is None:
            self._table = self._like.new_zeros(self._rows, len(row))
        self._table.index_copy_(0, self._next, row.unsqueeze(0))
        self._next += 1

    def read(self) -> dict[str, Tensor]:
        """All rows of each figure, on the CPU; waits for the device."""
        assert self._table is not None
        columns = self._table.cpu().t().contiguous()
        return dict(zip(self.names, columns, strict=True))
