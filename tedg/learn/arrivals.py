"""Observations of one group of games on their way to the policy's device."""

from __future__ import annotations

import torch
from torch import Tensor

from tedg.envs.observation import Observation
from tedg.shared_memory import Layout


class Arrivals:
    """Shows the policy one observation after another; if `fixed`, all at the same place.

    On a GPU a whole observation is one piece of pinned memory, and one copy.
    """

    def __init__(self, inputs: tuple[str, ...], device: torch.device, fixed: bool) -> None:
        """`inputs` names the fields that the policy reads."""
        self._inputs, self._device, self._fixed = inputs, device, fixed
        self._packed: _Packed | None = None

    def take(self, observation: Observation) -> Observation:
        """Tensors of an observation of numpy arrays, always of the same shapes.

        Fixed ones hold it until the next call, before which the device must have read them.
        """
        shown = observation.select(self._inputs)
        if not self._fixed:
            return shown.to(self._device)
        if self._packed is None:
            self._packed = _Packed(shown, self._device)
        return self._packed.take(shown)


class _Packed:
    def __init__(self, like: Observation, device: torch.device) -> None:
        layout = Layout.of(dict(like.items()))
        self._host = torch.zeros(layout.size, dtype=torch.uint8, pin_memory=device.type == "cuda")
        self._bytes = torch.zeros(layout.size, dtype=torch.uint8, device=device)
        self._arrays = layout.over(self._host.numpy())
        self._observation = Observation(
            **{name: _view(self._bytes, place, self._arrays[name]) for name, place in layout.offsets.items()}
        )

    def take(self, observation: Observation) -> Observation:
        for name, array in self._arrays.items():
            array[...] = getattr(observation, name)
        self._bytes.copy_(self._host, non_blocking=True)
        return self._observation


def _view(memory: Tensor, place: int, like: object) -> Tensor:
    own = torch.as_tensor(like)
    return memory[place : place + own.nbytes].view(own.dtype).view(own.shape)
