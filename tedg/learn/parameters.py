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
        self._bind()

    def move(self, memory: Tensor) -> None:
        """From now on keep the values in `memory`, a tensor of their number."""
        memory.copy_(self.value.detach())
        self.value.data = memory
        self._bind()

    def _bind(self) -> None:
        sizes = [p.numel() for p in self.parts]
        values, gradients = (torch.split(x, sizes) for x in (self.value.detach(), self.gradient))
        for part, value, gradient in zip(self.parts, values, gradients, strict=True):
            part.data = value.view_as(part)
            part.grad = gradient.view_as(part)

    @property
    def gradient(self) -> Tensor:
        """The gradient of everything, one dimension."""
        assert self.value.grad is not None
        return self.value.grad

    def set_gradient(self, summands: Sequence[Tensor]) -> None:
        """Make the gradient the sum of several flat ones, added in their order."""
        self.gradient.copy_(summands[0])
        for other in summands[1:]:
            self.gradient.add_(other)
