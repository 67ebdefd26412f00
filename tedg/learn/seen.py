"""States that a policy met in its held-out games, and those that followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tedg.envs.observation import Observation, Step
from tedg.models.policy import MoEPolicy

EVERY, MOST = 16, 64  # every sixteenth step of all games at once, until there are 64
_ALSO = ("state", "atoms")  # that are kept of a state whether or not the policy reads them


@dataclass(frozen=True, slots=True)
class Seen:
    """B states, and what followed each."""

    before: Observation
    after: Observation
    goes_on: Any  # [B] bool; False where the game ended, so that `after` is of another one

    def __len__(self) -> int:
        return len(self.before)

    def to(self, device: torch.device | str) -> Seen:
        """Tensors on `device`."""
        goes_on = torch.as_tensor(self.goes_on).to(device)
        return Seen(self.before.to(device), self.after.to(device), goes_on)


class Watch:
    """Told of every step of a vector of games, it keeps some of them."""

    def __init__(self, policy: MoEPolicy) -> None:
        self._fields = tuple(dict.fromkeys((*policy.inputs, *_ALSO)))
        self._kept: list[Seen] = []
        self._steps = 0

    def __call__(self, shown: Observation, step: Step) -> None:
        """One step of all games, which had shown `shown`."""
        if self._steps % EVERY == 0 and len(self._kept) < MOST:
            goes_on = np.ones(len(shown), np.bool_)
            goes_on[step.final_index] = False
            self._keep(shown, step.observation, goes_on)
        self._steps += 1

    def alone(self, shown: Observation) -> None:
        """Keep states that nothing followed."""
        self._keep(shown, shown, np.zeros(len(shown), np.bool_))

    def _keep(self, before: Observation, after: Observation, goes_on: Any) -> None:
        self._kept.append(Seen(before.select(self._fields), after.select(self._fields), goes_on))

    def seen(self) -> Seen:
        """Everything kept, as one batch of numpy arrays."""
        return Seen(
            Observation.concatenate([one.before for one in self._kept]),
            Observation.concatenate([one.after for one in self._kept]),
            np.concatenate([one.goes_on for one in self._kept]),
        )
