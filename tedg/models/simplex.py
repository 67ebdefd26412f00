"""Maps from scores to a distribution, from softmax to sparsemax."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

NEWTON_STEPS = 20  # about 8 reach float64's precision for 2 to 200 entries


def sparsemax(z: Float[Tensor, " ..."], dim: int = -1) -> Float[Tensor, " ..."]:
    """Euclidean projection of `z` onto the simplex along `dim` (Martins & Astudillo 2016, algorithm 1).

    Half-precision input is computed and returned in float32, where rows sum to 1. An entry of -inf
    gets exactly 0; a slice of nothing but -inf has no projection and gives NaN.
    """
    rows = at_least_float32(z).movedim(dim, -1)
    projected: Tensor = _Sparsemax.apply(rows)  # type: ignore[no-untyped-call]
    return projected.movedim(-1, dim)


def entmax(z: Float[Tensor, "... n"], alpha: float | Tensor) -> Float[Tensor, "... n"]:
    """alpha-entmax along the last dimension (Peters, Niculae & Martins 2019, arXiv:1905.05702).

    p = [(alpha - 1) z - tau]_+ ^ (1 / (alpha - 1)), with tau such that p sums to 1: softmax for
    alpha = 1, sparsemax for alpha = 2, in between some of both. Half precision becomes float32.
    An alpha that is a tensor (float64, no dimension) must lie between 1 and 2: it is not looked at.
    ValueError for an alpha outside [1, 2].
    """
    z = at_least_float32(z)
    if not isinstance(alpha, Tensor):
        if not 1 <= alpha <= 2:
            raise ValueError(f"alpha must be from 1 to 2, not {alpha}")
        if alpha == 1:
            return torch.softmax(z, dim=-1)
        if alpha == 2:
            return sparsemax(z)
    mapped: Tensor = _Entmax.apply(z, alpha)  # type: ignore[no-untyped-call]
    return mapped


def at_least_float32(z: Tensor) -> Tensor:
    """`z`, in float32 if it was narrower."""
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z


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
        return _weighted_centring((p > 0).to(p.dtype), grad_outputs[0])


class _Entmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, alpha: float | Tensor) -> Tensor:
        # In float64: near alpha = 1 the power below multiplies rounding errors by 1 / (alpha - 1).
        x = (alpha - 1) * (z - z.amax(dim=-1, keepdim=True)).double()
        power = 1 / (alpha - 1)
        # At tau = -1 the largest entry alone has p = 1. The sum is convex and falling in tau, so Newton's
        # steps from there approach the root from one side.
        tau = torch.full_like(x[..., :1], -1.0)
        for _ in range(NEWTON_STEPS):
            base = (x - tau).clamp_min(0)
            excess = base.pow(power).sum(dim=-1, keepdim=True) - 1
            tau = tau + excess / (power * base.pow(power - 1).sum(dim=-1, keepdim=True))
        p = (x - tau).clamp_min(0).pow(power).to(z.dtype)
        ctx.save_for_backward(p)
        ctx.alpha = alpha
        return p

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None]:
        # Jacobian diag(s) - s s^T / sum(s), s = p^(2 - alpha) on the support (proposition 2 of the paper).
        (p,) = ctx.saved_tensors
        s = torch.where(p > 0, p.pow(2 - ctx.alpha), 0).to(p.dtype)
        return _weighted_centring(s, grad_outputs[0]), None


def _weighted_centring(s: Tensor, grad: Tensor) -> Tensor:
    mean = (grad * s).sum(dim=-1, keepdim=True) / s.sum(dim=-1, keepdim=True)
    return s * (grad - mean)
