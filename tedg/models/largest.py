"""The k largest of several scores, and the softmax that keeps only these."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tedg.models.formulas import loops_serve
from tedg.models.kernels import keep_largest

FEW = 512  # entries up to which comparing all pairs is faster than selecting


@torch.no_grad()
def largest(scores: Float[Tensor, "... T"], k: int) -> Bool[Tensor, "... T"]:
    """True at the k largest entries along the last dimension; of equal ones the first are taken."""
    if k >= scores.shape[-1]:
        return torch.ones_like(scores, dtype=torch.bool)
    values = scores.detach()
    if loops_serve(values) and values.shape[-1] <= FEW:
        kept = torch.empty(values.shape, dtype=torch.bool)
        rows = values.reshape(-1, values.shape[-1])
        rows = rows.float() if rows.dtype == torch.bfloat16 else rows  # which compiled loops do not know
        keep_largest(rows.numpy(), k, kept.view(rows.shape).numpy())
        return kept
    # topk promises no order among equals, so it gives only the k-th value, and ties are settled here.
    lowest = values.topk(k, dim=-1, sorted=False).values.amin(dim=-1, keepdim=True)
    above, tied = values > lowest, values == lowest
    return above | (tied & (tied.cumsum(dim=-1) <= k - above.sum(dim=-1, keepdim=True)))


def softmax_of_largest(
    scores: Float[Tensor, "... T"], k: int, by: Float[Tensor, "... T"] | None = None
) -> Float[Tensor, "... T"]:
    """Softmax over the k largest of the scores, or those at the k largest of `by`; 0 for the others."""
    if k >= scores.shape[-1]:
        return torch.softmax(scores, dim=-1)
    kept = largest(scores if by is None else by, k)
    if loops_serve(scores) and not torch.compiler.is_compiling():
        weights: Tensor = _SoftmaxOfKept.apply(scores, kept)  # type: ignore[no-untyped-call]
        return weights
    return torch.softmax(scores.where(kept, -torch.inf), dim=-1)


class _SoftmaxOfKept(torch.autograd.Function):
    """The gradient follows from the softmax alone: it is 0 for the score of every weight that is 0."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, kept: Tensor) -> Tensor:
        weights = torch.softmax(scores.where(kept, -torch.inf), dim=-1)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None]:
        (weights,) = ctx.saved_tensors
        scaled = grad_outputs[0] * weights
        return torch.addcmul(scaled, weights, scaled.sum(dim=-1, keepdim=True), value=-1), None
