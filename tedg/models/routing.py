"""How router logits become the experts' shares alpha: softmax, or sparsemax with exact zeros."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Routing(Protocol):
    """A stateless map from router logits to a distribution over experts."""

    def __call__(
        self, logits: Float[Tensor, "B K"], temperature: Float[Tensor, " B"] | float
    ) -> Float[Tensor, "B K"]:
        """Rows on the simplex; a lower temperature is closer to one-hot."""
        ...


class Softmax:
    """alpha = softmax(z / T): every expert keeps a positive share."""

    def __call__(
        self, logits: Float[Tensor, "B K"], temperature: Float[Tensor, " B"] | float
    ) -> Float[Tensor, "B K"]:
        """Rows on the simplex, float32 or wider. ValueError for a temperature that is not positive."""
        return torch.softmax(_scaled(logits, temperature), dim=-1)


class Sparsemax:
    """alpha = the point of the simplex nearest to z / T (Martins & Astudillo 2016, arXiv:1602.02068).

    A row is one-hot exactly when its two largest logits are at least T apart; such a row gives its
    logits no gradient.
    """

    def __call__(
        self, logits: Float[Tensor, "B K"], temperature: Float[Tensor, " B"] | float
    ) -> Float[Tensor, "B K"]:
        """Rows on the simplex, float32 or wider. ValueError for a temperature that is not positive."""
        return sparsemax(_scaled(logits, temperature), dim=-1)


def sparsemax(z: Float[Tensor, " ..."], dim: int = -1) -> Float[Tensor, " ..."]:
    """Euclidean projection of `z` onto the simplex along `dim` (Martins & Astudillo 2016, algorithm 1).

    Half-precision input is computed and returned in float32, where rows sum to 1. An entry of -inf
    gets exactly 0; a slice of nothing but -inf has no projection and gives NaN.
    """
    rows = _at_least_float32(z).movedim(dim, -1)
    projected: Tensor = _Sparsemax.apply(rows)  # type: ignore[no-untyped-call]
    return projected.movedim(-1, dim)


class _Sparsemax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        # The projection is invariant to a shift; without the largest entry the sums cannot overflow.
        z = z - z.amax(dim=-1, keepdim=True)
        ordered = z.sort(dim=-1, descending=True).values
        sums = ordered.cumsum(dim=-1)
        rank = torch.arange(1, z.shape[-1] + 1, device=z.device, dtype=z.dtype)
        size = (1 + rank * ordered > sums).sum(dim=-1, keepdim=True)
        threshold = (sums.gather(-1, size - 1) - 1) / size
        p = (z - threshold).clamp_min(0)
        ctx.save_for_backward(p)
        return p

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Tensor:
        # Jacobian diag(s) - s s^T / |S| with s the indicator of the support (equation 12 of the paper).
        (p,) = ctx.saved_tensors
        (grad,) = grad_outputs
        support = (p > 0).to(grad.dtype)
        mean = (grad * support).sum(dim=-1, keepdim=True) / support.sum(dim=-1, keepdim=True)
        return support * (grad - mean)


def _at_least_float32(z: Tensor) -> Tensor:
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z


def _scaled(logits: Tensor, temperature: Tensor | float) -> Tensor:
    logits = _at_least_float32(logits)
    if isinstance(temperature, Tensor):
        return logits / temperature.to(logits.dtype).unsqueeze(-1)
    if not temperature > 0:
        raise ValueError(f"routing temperature must be positive, not {temperature}")
    return logits / temperature
