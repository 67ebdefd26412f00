"""Evidence that a run really learns: counted optimiser steps, and parameters that moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LEAST_SHARE_MOVED = 0.5  # weights of inputs that are always zero stay, most others move


@dataclass(frozen=True, slots=True)
class Learnt:
    """Where learning stands."""

    gradient_steps: int
    parameters: Tensor  # [P] a copy of all of them

    @classmethod
    def of(cls, parameters: Iterable[Tensor], optimizer_state: Mapping[str, Any]) -> Learnt:
        """From a policy's parameters and the `state_dict` of its Adam, whose own count is taken."""
        counts = (int(state["step"]) for state in optimizer_state["state"].values())
        return cls(max(counts, default=0), torch.cat([p.detach().flatten() for p in parameters]))

    def gradient_steps_since(self, before: Learnt) -> int:
        """Optimiser steps since `before`. Raises RuntimeError unless most parameters moved to finite ones."""
        if not bool(torch.isfinite(self.parameters).all()):
            raise RuntimeError("parameters are not finite")
        share = float((self.parameters != before.parameters).float().mean())
        if share < LEAST_SHARE_MOVED:
            raise RuntimeError(f"only {share:.0%} of the parameters were trained")
        return self.gradient_steps - before.gradient_steps
