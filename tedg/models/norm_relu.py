"""Layer normalisation followed by a ReLU, forward and backward in one pass each."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tedg.models import kernels
from tedg.models.formulas import loops_serve

EPS = 1e-5


def norm_relu(
    x: Float[Tensor, "K B H"], gain: Float[Tensor, "K 1 H"], shift: Float[Tensor, "K 1 H"]
) -> Float[Tensor, "K B H"]:
    """relu(gain * (x - mean) / std + shift), mean and std over H (Ba et al. 2016), in `gain`'s precision.

    On the CPU a compiled loop reads each row once. Forward and backward would otherwise be some ten passes
    over tensors that no cache holds.
    """
    if loops_serve(x) and not torch.compiler.is_compiling():
        result: Tensor = _NormReLU.apply(x.to(gain.dtype), gain, shift)  # type: ignore[no-untyped-call]
        return result
    return torch.relu(functional.layer_norm(x, x.shape[-1:], eps=EPS) * gain + shift)


class NormReLU(nn.LayerNorm):
    """The same as a layer, for K = 1."""

    def forward(self, x: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        """relu of the normalised features."""
        return norm_relu(x.unsqueeze(0), self.weight.view(1, 1, -1), self.bias.view(1, 1, -1)).squeeze(0)


class _NormReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
        x = x.contiguous()
        out, mean, inverse = torch.empty_like(x), x.new_empty(x.shape[:2]), x.new_empty(x.shape[:2])
        kernels.norm_relu(
            x.numpy(),
            gain.squeeze(1).numpy(),
            shift.squeeze(1).numpy(),
            EPS,
            *(values.numpy() for values in (out, mean, inverse)),
        )
        ctx.save_for_backward(x, gain, out, mean, inverse)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, ...]:
        x, gain, out, mean, inverse = ctx.saved_tensors
        x_grad, gain_grad, shift_grad = torch.empty_like(x), torch.zeros_like(gain), torch.zeros_like(gain)
        kernels.norm_relu_backward(
            grad_outputs[0].contiguous().numpy(),
            x.numpy(),
            gain.squeeze(1).numpy(),
            *(values.numpy() for values in (out, mean, inverse, x_grad)),
            *(values.squeeze(1).numpy() for values in (gain_grad, shift_grad)),
        )
        return x_grad, gain_grad, shift_grad
