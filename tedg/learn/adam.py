"""Adam on one tensor, with a state that stays where it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Adam(torch.optim.Adam):
    """torch's Adam (Kingma & Ba 2015) on the tensor of all parameters.

    Captured functions read and write its state where it is, so it is there from the start, and what is given
    back is copied to its place.
    """

    def __init__(self, value: nn.Parameter, eps: float, captured: bool) -> None:
        """The learning rate is 0 until it is set; `captured`: a captured function calls `step`."""
        self._rate: torch.Tensor | None = torch.zeros((), device=value.device) if captured else None
        rate = 0.0 if self._rate is None else self._rate
        super().__init__([value], lr=rate, eps=eps, fused=True, capturable=captured)
        memory = {name: torch.zeros_like(value.detach()) for name in ("exp_avg", "exp_avg_sq")}
        self.state[value] = {"step": torch.zeros((), device=value.device), **memory}

    def set_rate(self, rate: float) -> None:
        """The learning rate from now on."""
        if self._rate is None:
            self.param_groups[0]["lr"] = rate
        else:
            self._rate.fill_(rate)

    def tensors(self) -> list[torch.Tensor]:
        """Everything that a step changes, besides the parameters."""
        return [tensor for own in self.state.values() for tensor in own.values()]

    def state_dict(self) -> dict[str, Any]:
        """As torch's; the learning rate is a number, whatever it is kept in."""
        state = super().state_dict()
        groups = [{**group, "lr": float(group["lr"])} for group in state["param_groups"]]
        return {**state, "param_groups": groups}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the values; settings are those of now. An optimiser that has taken no step may have none."""
        for number, own in enumerate(self.state.values()):
            given = state_dict["state"].get(number)
            for name, tensor in own.items():
                tensor.zero_() if given is None else tensor.copy_(given[name])
