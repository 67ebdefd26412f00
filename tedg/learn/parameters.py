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
        values, gradients = self._split(self.value.detach()), self._split(self.value.grad)
        for part, value, gradient in zip(self.parts, values, gradients, strict=True):
            part.data, part.grad = value, gradient

    def move(self, memory: Tensor) -> None:
        """From now on keep the values in `memory`, a tensor of their number."""
        memory.copy_(self.value.detach())
        self.value.data = memory
        for part, value in zip(self.parts, self._split(memory), strict=True):
            part.data = value

    def _split(self, flat: Tensor) -> list[Tensor]:
        pieces = torch.split(flat, [p.numel() for p in self.parts])
        return [piece.view_as(part) for piece, part in zip(pieces, self.parts, strict=True)]

    @property
    def gradient(self) -> Tensor:
        """The gradient of everything, one dimension."""
        assert self.value.grad is not None
        return self.value.grad

    def gradients(self, parameters: Iterable[nn.Parameter]) -> list[Tensor]:
        """The gradients of some of the parameters; they stay valid, and change with every step."""
        return [p.grad for p in parameters if p.grad is not None]

    def set_gradient(self, summands: Sequence[Tensor]) -> None:
        """Make the gradient the sum of several flat ones, added in their order."""
        self.gradient.copy_(summands[0])
        for other in summands[1:]:
            self.gradient.add_(other)
