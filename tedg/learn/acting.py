"""What the policy is asked while games are played: actions of a group of them, and values of states."""

from __future__ import annotations

import torch
from torch import Tensor

from tedg.envs.observation import Observation
from tedg.learn.arrivals import Arrivals
from tedg.learn.capture import Capture, Function
from tedg.learn.held import Held
from tedg.learn.stages import Settings
from tedg.models.policy import ActionAndValue, MoEPolicy


class Actor:
    """Sees the observations of one group of games and draws their actions."""

    def __init__(
        self, policy: MoEPolicy, device: torch.device, generator: torch.Generator, capture: Capture
    ) -> None:
        """`generator` is of `device`."""
        self._policy, self._generator, self._capture = policy, generator, capture
        self._arrivals = Arrivals(policy.inputs, device, capture.fixed)
        self._race = torch.empty(0, dtype=next(policy.parameters()).dtype, device=device)
        self._settings: Settings | None = None
        self._function: Function | None = None
        self._acted: ActionAndValue | None = None
        self.shown = Observation()  # tensors, what the next actions answer

    def see(self, observation: Observation) -> None:
        """Show what the next actions are to answer, numpy arrays."""
        self.shown = self._arrivals.take(observation)

    def act(self, settings: Settings) -> ActionAndValue:
        """One action per game, drawn under held settings; valid until the next call."""
        if settings is not self._settings or self._function is None:
            self._settings, self._function = settings, self._capture(self._decide, list)
        shape = (len(self.shown), self._policy.experts.num_actions)
        if self._race.shape != shape:
            self._race = self._race.new_empty(shape)
        self._race.exponential_(generator=self._generator)
        self._function()
        assert self._acted is not None
        return self._acted

    def _decide(self) -> None:
        assert self._settings is not None
        temperature = full(len(self.shown), self._settings.temperature, self._race)
        routing = self._settings.routing
        self._acted = self._policy.get_action_and_value(self.shown, routing, temperature, race=self._race)


class Valuer:
    """Values of states; where the function is captured, as many at a time as it saw first."""

    def __init__(self, policy: MoEPolicy, capture: Capture) -> None:
        self._policy, self._capture = policy, capture
        self._held = Held(capture.fixed)
        self._settings: Settings | None = None
        self._function: Function | None = None
        self._value: Tensor | None = None
        self._rows = 0

    def value(self, observation: Observation, settings: Settings) -> Tensor:
        """V [B] of B states under held settings, tensors on the policy's device."""
        if settings is not self._settings or self._function is None:
            self._settings, self._function = settings, self._capture(self._evaluate, list)
        if not self._rows or not self._capture.fixed:
            self._rows = len(observation)
        found = []
        for first in range(0, len(observation), self._rows):
            rows = torch.arange(first, first + self._rows, device=observation.mask.device)
            # The last state stands for those that are missing.
            part = observation[rows.clamp_max(len(observation) - 1)]
            self._held.take(dict(part.items()))
            self._function()
            assert self._value is not None
            found.append(self._value.clone())
        return torch.cat(found)[: len(observation)]

    def _evaluate(self) -> None:
        assert self._settings is not None
        observation = Observation(**self._held.tensors)
        self._value = self._policy(observation, self._settings.routing, self._settings.temperature).value


def full(rows: int, number: float | Tensor, like: Tensor) -> Tensor:
    """[rows] of one number, with the dtype and the device of `like`."""
    if isinstance(number, Tensor):
        return number.to(like.dtype).expand(rows)
    return torch.full((rows,), number, dtype=like.dtype, device=like.device)
