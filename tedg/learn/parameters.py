"""All trainable parameters of a module in one piece of memory, with one gradient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


class FlatParameters:
    """Moves parameters into one tensor, so that clipping and the optimiser touch one tensor, not dozens.

    Each parameter becomes a view of `value`, its gradient a view of `value.grad`; names, shapes and
    state_dict of their module stay as they are.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        """ValueError when there is nothing to train or the parameters differ in dtype or device."""
        self.parts = list(parameters)
        if len({(p.dtype, p.device) for p in self.parts}) != 1:
            raise ValueError("a policy needs trainable parameters, all of one dtype on one device")
        self.value = nn.Parameter(torch.cat([p.detach().flatten() for p in self.parts]))
        self.value.grad = torch.zeros_like(self.value)
        sizes = [p.numel() for p in self.parts]
        values, gradients = (torch.split(x, sizes) for x in (self.value.detach(), self.value.grad))
        for part, value, gradient in zip(self.parts, values, gradients, strict=True):
            part.data = value.view_as(part)
            part.grad = gradient.view_as(part)

    @property
    def gradient(self) -> Tensor:
        """The gradient of everything, one dimension."""
        assert self.value.grad is not None
        return self.value.grad

    def set_gradient(self, summands: Sequence[Sequence[Tensor]]) -> None:
        """Make the gradient the sum of several, each one tensor per parameter, added in their order."""
        flat = [torch.cat([part.flatten() for part in summand]) for summand in summands]
        self.gradient.copy_(flat[0])
        for other in flat[1:]:
            self.gradient.add_(other)
