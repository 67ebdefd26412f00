"""What captured functions read, at places that stay: tensors by name, and a stage's numbers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tedg.learn.stages import ROUTING, Settings
from tedg.shared_memory import part


class Held:
    """Tensors by name. If `fixed`, those given later are copied to where the first ones are."""

    def __init__(self, fixed: bool) -> None:
        self._fixed = fixed
        self.tensors: dict[str, Tensor] = {}

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Hold these and nothing else. ValueError where fixed ones had other names, shapes or types."""
        if not self._fixed:
            self.tensors = dict(tensors)
        elif not self.tensors:
            copies = {name: x.clone(memory_format=torch.contiguous_format) for name, x in tensors.items()}
            self.tensors = copies
        elif _kinds(tensors) != _kinds(self.tensors):
            raise ValueError(f"{_kinds(tensors)} given, where {_kinds(self.tensors)} are held")
        else:
            for name, value in tensors.items():
                self.tensors[name].copy_(value, non_blocking=True)

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Those named `<prefix>.<name>`, by <name>."""
        return part(self.tensors, prefix)


def _kinds(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size]]:
    return {name: (value.dtype, value.shape) for name, value in tensors.items()}


class HeldSettings:
    """Settings of one update after another. If `fixed`, their numbers are tensors that stay where they are.

    So what is annealed changes without changing the functions that read it.
    """

    def __init__(self, fixed: bool, like: Tensor) -> None:
        """`like` has the device and the dtype of losses."""
        self._fixed, self._like = fixed, like
        self._numbers: dict[str, Tensor] = {}
        self._held: Settings | None = None
        self._form: object = None

    def take(self, settings: Settings) -> Settings:
        """The settings for functions to read: the same object until more than a number changes."""
        if not self._fixed:
            return settings
        numbers, form = settings.numbers(), (settings.stage, settings.routing.form)
        if self._held is None or form != self._form:
            self._form = form
            self._numbers = {name: self._place(name) for name in numbers}
            self._held = settings.with_numbers(self._numbers)
        for name, value in numbers.items():
            self._numbers[name].fill_(value)
        return self._held

    def _place(self, name: str) -> Tensor:
        # Near an exponent of 1 all digits count.
        dtype = torch.float64 if name.startswith(ROUTING) else self._like.dtype
        return torch.zeros((), dtype=dtype, device=self._like.device)
