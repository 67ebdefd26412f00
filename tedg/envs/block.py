"""NetHack games side by side in one process, with everything a policy reads computed for all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tedg.envs.actions import NUM_ACTIONS
from tedg.envs.features import STATE_DIM, SYMBOLIC_STATE
from tedg.envs.games import Games
from tedg.envs.memory import GameMemory
from tedg.envs.observation import EnvSpec, Observation, Position
from tedg.envs.observer import Observer
from tedg.envs.rewards import EXPLORATION, TASKS
from tedg.envs.seeds import Seeds
from tedg.envs.sizes import CROP, OVERVIEW_SHAPE
from tedg.envs.state import StateBuilder
from tedg.hypergraph.schema import Hypergraph

ACTION_MASKS = ("legal", "none")


@dataclass(frozen=True, slots=True)
class GameSettings:
    """What the games of a vector have in common. Raises ValueError for settings that fit no game."""

    task: str  # class in nle.env.tasks
    goal: str  # the goal feature that is set
    hypergraph: Hypergraph
    max_episode_steps: int
    action_mask: str  # with "none" all actions count as legal; the rule features still tell the rules
    exploration_bonus: float = 0.0  # of a reward, for each cell that is seen for the first time

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"task is {self.task!r}, must be one of {', '.join(TASKS)}")
        if self.action_mask not in ACTION_MASKS:
            raise ValueError(f"action_mask is {self.action_mask!r}, must be one of {', '.join(ACTION_MASKS)}")
        if self.max_episode_steps < 1:
            raise ValueError(f"max_episode_steps is {self.max_episode_steps}, must be positive")
        if self.exploration_bonus < 0:
            raise ValueError(f"exploration_bonus is {self.exploration_bonus}, must not be negative")
        if self.exploration_bonus and TASKS[self.task].reward == EXPLORATION:
            raise ValueError(
                f"exploration_bonus must be 0 with {self.task}, which rewards exploration itself"
            )
        StateBuilder(self.hypergraph, self.goal)

    @property
    def spec(self) -> EnvSpec:
        """Sizes of what the games hand out."""
        return EnvSpec(
            name=self.task,
            num_actions=NUM_ACTIONS,
            num_atoms=len(self.hypergraph.atoms),
            state_dim=STATE_DIM,
            overview_shape=OVERVIEW_SHAPE,
            crop_size=CROP,
            symbolic_state=SYMBOLIC_STATE,
        )


class GameBlock:
    """The games of the rows of `memory`, which are environments `first_env` and on of their vector.

    A game's frames depend on its own seeds and actions alone, so how a vector is cut into blocks changes
    nothing.
    """

    def __init__(self, settings: GameSettings, seeds: Seeds, first_env: int, memory: GameMemory) -> None:
        num_envs = len(memory.action)
        self._memory = memory
        self._seeds = seeds
        self._first_env = first_env
        restricted = settings.action_mask == "legal"
        self._observer = Observer(
            settings.hypergraph, settings.goal, restricted, memory.frames, memory.observations
        )
        self._rows = np.arange(num_envs)
        self._games = Games(
            settings.task,
            settings.max_episode_steps,
            memory.frames,
            memory.episodes,
            memory.playing,
            settings.exploration_bonus,
        )

    def begin(self, slot: int, positions: Sequence[Position]) -> None:
        """Bring every game to its position; the frames shown there are in observations[slot].

        A game that ends while it is played again stays at its last living frame.
        """
        memory = self._memory
        for row, position in enumerate(positions):
            self._start(row, position.episode)
        memory.action[:] = 0
        self._observe(self._rows, slot)
        lengths = np.array([len(position.actions) for position in positions])
        memory.terminated[:] = False
        for t in range(lengths.max()):
            (rows,) = ((t < lengths) & ~memory.terminated).nonzero()
            memory.action[rows] = [positions[row].actions[t] for row in rows.tolist()]
            self._games.step(rows, memory.action, memory.reward, memory.terminated, memory.truncated)
            self._observe(rows[~memory.terminated[rows]], slot)

    def step(self, slot: int) -> None:
        """Apply `memory.action` and fill the rest of `memory`; ended games restart within the same step.

        The step before must have been written into the other slot.
        """
        memory = self._memory
        self._games.step(self._rows, memory.action, memory.reward, memory.terminated, memory.truncated)
        (died,), (cut,) = memory.terminated.nonzero(), memory.truncated.nonzero()
        for row in (*died.tolist(), *cut.tolist()):
            memory.note_end(row, self._games.end(row, self._first_env + row))

        # The frame of a dead game is blank, so the next game starts before the observations are computed.
        # A game that was cut off is alive: it is observed first and restarts afterwards.
        for row in died.tolist():
            self._start_next(row)
        self._observe(self._rows, slot)
        self._keep(died, memory.observations[1 - slot])
        if len(cut):
            self._keep(cut, memory.observations[slot])
            for row in cut.tolist():
                self._start_next(row)
            self._observe(cut, slot)

    def close(self) -> None:
        """Release every game."""
        self._games.close()

    def _start_next(self, row: int) -> None:
        self._start(row, int(self._memory.episodes["number"][row]) + 1)

    def _start(self, row: int, episode: int) -> None:
        # Written down first: if the start kills this process, the next process must not try this game again.
        self._memory.episodes["number"][row], self._memory.playing[row] = episode, True
        self._games.start(row, episode, self._seeds(self._first_env + row, episode))
        self._observer.forget(row)

    def _keep(self, rows: npt.NDArray[np.int64], last: Observation) -> None:
        """Put aside the last observations of the episodes that ended in `rows`."""
        if len(rows):
            for name, final in self._memory.final.items():
                final[rows] = getattr(last, name)[rows]

    def _observe(self, rows: npt.NDArray[np.int64], slot: int) -> None:
        """Compute the observations of `rows` from their frames."""
        episodes = self._memory.episodes
        self._observer.observe(rows, slot, self._memory.action, episodes["seed"], episodes["length"])
