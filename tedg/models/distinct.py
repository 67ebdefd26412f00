"""Which of a range of numbers occur in a batch, and where."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from tedg.models.formulas import loops_serve
from tedg.models.kernels import number_distinct


def distinct(values: Int[Tensor, "*shape"], limit: int) -> tuple[Int[Tensor, " D"], Int[Tensor, "*shape"]]:
    """The D numbers that occur, ascending, and for every entry of `values` its place among them.

    `values` are from 0 to limit - 1, the results int64. Numbers are marked, not sorted, which suits small
    limits. Where shapes may not follow from values all numbers count as occurring: D is `limit`.
    """
    if loops_serve(values):
        numbers = torch.empty(limit, dtype=torch.int64)
        places = torch.empty(values.shape, dtype=torch.int64)
        count = number_distinct(values.reshape(-1).numpy(), numbers.numpy(), places.view(-1).numpy())
        return numbers[:count], places
    return torch.arange(limit, device=values.device), values.long()
