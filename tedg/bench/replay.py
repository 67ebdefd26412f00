"""An environment whose games cost nothing, so that acting in it can be measured alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tedg.envs.groups import step_groups
from tedg.envs.observation import Observation, Position, Resumed, Step, VectorEnv


def random_legal(rng: np.random.Generator, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """A random legal action for every row of a mask [B, actions]."""
    # A draw is below 1, so that every legal action is ahead of every illegal one.
    return np.asarray(((1 - rng.random(mask.shape)) * mask).argmax(axis=1), np.int64)


class Replay:
    """Hands out again and again what random legal actions led to in `env`, whatever the actions are now."""

    def __init__(self, env: VectorEnv, num_steps: int, seed: int) -> None:
        """Play `num_steps` in every environment."""
        self.spec, self.num_envs, self.groups = env.spec, env.num_envs, env.groups
        rng = np.random.default_rng(seed)
        self._first = env.reset()
        masks = [self._first.mask[rows] for rows in env.groups]
        self._steps: list[list[Step]] = [[] for _ in env.groups]
        self._given = [0] * len(env.groups)
        for _ in range(num_steps):
            for group, steps in enumerate(self._steps):
                env.send(group, random_legal(rng, masks[group]))
                steps.append(env.receive(group))
                masks[group] = steps[-1].observation.mask

    def reset(self) -> Observation:
        """The first observations."""
        self._given = [0] * len(self.groups)
        return self._first

    def send(self, group: int, actions: npt.NDArray[np.int64]) -> None:
        """Nothing begins."""

    def receive(self, group: int) -> Step:
        """The group's next step, after the last one its first."""
        steps = self._steps[group]
        self._given[group] += 1
        return steps[(self._given[group] - 1) % len(steps)]

    def step(self, actions: npt.NDArray[np.int64]) -> Step:
        """The next step of every group."""
        return step_groups(self, actions)

    def positions(self) -> list[Position]:
        """There are no games: every environment is where it began."""
        return [Position()] * self.num_envs

    def resume(self, positions: Sequence[Position]) -> Resumed:
        """The same as `reset`."""
        return Resumed(self.reset(), [])

    def close(self) -> None:
        """Nothing to release."""
