"""Weighted sums of a table's rows, without writing the gathered rows out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tedg.models.formulas import loops_serve
from tedg.models.kernels import pool_rows, pool_rows_backward


def pooled_rows(
    table: Float[Tensor, "R HC"], rows: Int[Tensor, "N L"], weights: Float[Tensor, "N L H"]
) -> Float[Tensor, "N HC"]:
    """Sum over l of weights[n, l, h] * table[rows[n, l], columns of head h], for H heads side by side.

    On the CPU a compiled loop reads each row where it lies. The gathered rows, [N, L, HC], would be many
    times larger than the table, and forward and backward would read and write them several times.
    """
    if loops_serve(table):
        # Compiled loops know no bfloat16, in which a mixed-precision forward pass may hand them over.
        table, weights = (x.float() if x.dtype == torch.bfloat16 else x for x in (table, weights))
        result: Tensor = _PooledRows.apply(table, rows, weights)  # type: ignore[no-untyped-call]
        return result
    heads = weights.shape[2]
    # The gradient of index_select needs no sorting, as that of indexing does.
    gathered = table.index_select(0, rows.flatten()).view(*rows.shape, heads, -1)
    return (gathered * weights.unsqueeze(3)).sum(1).flatten(1)


class _PooledRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        table, weights = table.contiguous(), weights.contiguous()
        ctx.save_for_backward(table, rows, weights)
        heads = weights.shape[2]
        pooled = table.new_zeros(len(rows), heads, table.shape[1] // heads)
        pool_rows(_by_head(table, heads), rows.numpy(), weights.detach().numpy(), pooled.numpy())
        return pooled.flatten(1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None, Tensor]:
        table, rows, weights = ctx.saved_tensors
        (grad,) = grad_outputs
        heads = weights.shape[2]
        table_grad, weights_grad = torch.zeros_like(table), torch.empty_like(weights)
        pool_rows_backward(
            *(_by_head(table, heads), rows.numpy(), weights.detach().numpy()),
            *(_by_head(grad.contiguous(), heads), _by_head(table_grad, heads), weights_grad.numpy()),
        )
        return table_grad, None, weights_grad


def _by_head(rows: Tensor, heads: int) -> npt.NDArray[np.floating[Any]]:
    return rows.detach().view(len(rows), heads, -1).numpy()
