"""Which of a range of numbers occur in a batch, and where."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from tedg.models.formulas import loops_serve
from tedg.models.kernels import number_distinct

MAX_FIXED = 1 << 14  # numbers up to which computing with all of them is cheaper than finding those that occur


def distinct(values: Int[Tensor, "*shape"], limit: int) -> tuple[Int[Tensor, " D"], Int[Tensor, "*shape"]]:
    """The D numbers that occur, ascending, and for every entry of `values` its place among them.

    `values` are from 0 to limit - 1, the results int64. Numbers are marked, not sorted, which suits small
    limits. Where shapes should not follow from values all numbers count as occurring, so that D is `limit`,
    unless that is above MAX_FIXED.
    """
    if loops_serve(values):
        numbers = torch.empty(limit, dtype=torch.int64)
        places = torch.empty(values.shape, dtype=torch.int64)
        count = number_distinct(values.reshape(-1).numpy(), numbers.numpy(), places.view(-1).numpy())
        return numbers[:count], places
    values = values.long()
    if limit <= MAX_FIXED:
        return torch.arange(limit, device=values.device), values
    present = torch.zeros(limit, dtype=torch.bool, device=values.device)
    present.index_fill_(0, values.flatten(), True)
    return present.nonzero().squeeze(1), (present.cumsum(0) - 1)[values]
