"""The vector of NetHack games: in worker processes, or in this one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tedg import scratch
from tedg.envs.actions import NUM_ACTIONS
from tedg.envs.block import ACTION_MASKS, GameBlock, GameSettings
from tedg.envs.crew import Crew
from tedg.envs.digests import Shown
from tedg.envs.games import episode_end
from tedg.envs.groups import step_groups
from tedg.envs.memory import GameMemory
from tedg.envs.observation import EpisodeEnd, Observation, Position, Resumed, Step
from tedg.envs.open_files import raise_limit
from tedg.envs.seeds import Seeds, held_out_seeds, training_seeds
from tedg.hypergraph.schema import Hypergraph, load_hypergraph
from tedg.processes import split

__all__ = ["ACTION_MASKS", "NetHackVectorEnv", "held_out_seeds", "training_seeds"]


class NetHackVectorEnv:
    """A vector of NetHack games; see `VectorEnv` for what it promises.

    `task` is a class in nle.env.tasks, `goal` the goal feature that is set, `hypergraph` a loaded one or
    the name or path of one, `seeds(env, episode)` the seed of each game. With `action_mask="none"` every
    action counts as legal, while the rule features still tell what the rules say.

    `num_workers` processes play the games: with None one for every core that this process may use, with 0
    this process itself. Rollouts are the same bit for bit for any number of workers and groups. Every
    observation owns its memory. Workers start at the first reset. One that dies, or takes longer than
    `step_seconds` for its share of a step, is replaced, and its games are lost (see `Step`). WorkerError is
    raised when that happens too often.
    """

    def __init__(
        self,
        task: str,
        goal: str,
        hypergraph: Hypergraph | str | Path,
        num_envs: int,
        max_episode_steps: int,
        action_mask: str,
        seeds: Seeds,
        num_workers: int | None = 0,
        num_groups: int = 2,
        step_seconds: int = 60,
        exploration_bonus: float = 0.0,
    ) -> None:
        if num_envs < 1 or num_groups < 1 or (num_workers is not None and num_workers < 0):
            raise ValueError(
                f"num_envs ({num_envs}) and num_groups ({num_groups}) must be positive,"
                f" num_workers ({num_workers}) must not be negative"
            )
        raise_limit()
        graph = hypergraph if isinstance(hypergraph, Hypergraph) else load_hypergraph(hypergraph)
        settings = GameSettings(task, goal, graph, max_episode_steps, action_mask, exploration_bonus)
        self.num_envs = num_envs
        self.spec = settings.spec
        self._seeds = seeds
        self.groups = split(slice(0, num_envs), min(num_groups, num_envs))
        workers = len(os.sched_getaffinity(0)) if num_workers is None else num_workers
        self._players: _Players = (
            Crew(settings, seeds, self.groups, workers, step_seconds)
            if workers
            else _InProcess(settings, seeds, self.groups)
        )
        memory = self._players.memory
        self._memory = [memory.rows(rows) for rows in self.groups]
        self._slots: list[int] | None = None  # which of the two observations each group wrote last
        self._sent = [False] * len(self.groups)
        self._actions = [bytearray() for _ in range(num_envs)]  # taken in each running game
        self._shown = memory.episodes.copy()  # the running games as far as they were handed out

    def reset(self) -> Observation:
        """Start every game's plan of seeds anew, at episode 0, and return the first observations."""
        self._begin(None)
        return self._observation()

    def resume(self, positions: Sequence[Position]) -> Resumed:
        """See `VectorEnv.resume`."""
        lost: list[EpisodeEnd] = []
        while True:
            self._begin(positions)
            shown = self._all_shown()
            strayed = shown.strayed(positions)
            if not strayed:
                return Resumed(shown.observation, lost, self._players.take_incidents())
            lost += [self._lost(env, positions[env]) for env in strayed]
            onward = {env: Position(positions[env].episode + 1) for env in strayed}
            positions = [onward.get(env, position) for env, position in enumerate(positions)]

    def positions(self) -> list[Position]:
        """See `VectorEnv.positions`."""
        if self._slots is None or any(self._sent):
            raise RuntimeError("positions are known after a reset, and not during a step")
        shown, numbers = self._all_shown(), self._shown["number"].tolist()
        return [
            Position(number, bytes(actions), shown.digest(env))
            for env, (number, actions) in enumerate(zip(numbers, self._actions, strict=True))
        ]

    def _begin(self, positions: Sequence[Position] | None) -> None:
        self._slots = [0] * len(self.groups)
        self._sent = [False] * len(self.groups)
        self._players.begin(0, positions)
        for group in range(len(self.groups)):
            self._players.wait(group)
        for env, position in enumerate(positions or [Position()] * self.num_envs):
            self._actions[env] = bytearray(position.actions)
        self._shown[:] = self._players.memory.episodes

    def _lost(self, env: int, position: Position) -> EpisodeEnd:
        """The end of a game that did not reach its position again; score and return are as far as it got."""
        came = episode_end(self._shown[env], env, "lost")
        return replace(came, seed=self._seeds(env, position.episode), length=len(position.actions))

    def _all_shown(self) -> Shown:
        """Everything that all games show now; no step may be under way.

        Ended games have been followed by the next ones by then, so no frame is blank.
        """
        return Shown(self._observation(), self._players.memory.frames)

    def _observation(self) -> Observation:
        """The observations of all games now, as copies."""
        assert self._slots is not None
        shown = zip(self._memory, self._slots, strict=True)
        return Observation.concatenate([memory.observations[slot] for memory, slot in shown])

    def send(self, group: int, actions: npt.NDArray[np.int64]) -> None:
        """Begin a step of one group, with one action (0..22) per game of it.

        Raises ValueError for actions out of range, RuntimeError before the first reset and while a step of
        the group is under way.
        """
        if self._slots is None:
            raise RuntimeError("call reset before step")
        if self._sent[group]:
            raise RuntimeError("call receive before the next send")
        memory = self._memory[group]
        _check(actions, len(memory.action))
        memory.action[:] = actions
        self._slots[group] = 1 - self._slots[group]
        self._players.step(group, self._slots[group])
        self._sent[group] = True

    def receive(self, group: int) -> Step:
        """Wait for the group's step. Raises RuntimeError when none is under way."""
        if self._slots is None or not self._sent[group]:
            raise RuntimeError("call send before receive")
        self._sent[group] = False
        memory, rows = self._memory[group], self.groups[group]
        for env in self._players.wait(group):
            self._note_lost(env, env - rows.start, memory, self._slots[group])
        (ended,) = (memory.terminated | memory.truncated).nonzero()
        for env, action in zip(range(rows.start, rows.stop), memory.action.tolist(), strict=True):
            self._actions[env].append(action)
        for row in ended.tolist():
            self._actions[rows.start + row].clear()
        self._shown[rows] = memory.episodes
        return Step(
            observation=memory.observations[self._slots[group]].map(_copy),
            reward=memory.reward.copy(),
            terminated=memory.terminated.copy(),
            truncated=memory.truncated.copy(),
            final_index=ended,
            final_observation=memory.final[ended] if len(ended) else None,
            episodes=[memory.end(row, rows.start + row) for row in ended.tolist()],
            incidents=self._players.take_incidents(),
        )

    def _note_lost(self, env: int, row: int, memory: GameMemory, slot: int) -> None:
        """Write down that a game was lost in this step, which cut it off where it was last seen."""
        memory.reward[row] = 0.0
        memory.terminated[row], memory.truncated[row] = False, True
        for name, final in memory.final.items():
            final[row] = getattr(memory.observations[1 - slot], name)[row]
        self._shown["length"][env] += 1  # the step that was to be taken counts
        memory.note_end(row, episode_end(self._shown[env], env, "lost"))

    def step(self, actions: npt.NDArray[np.int64]) -> Step:
        """Apply one action (0..22) per game; ended games restart within the same step."""
        _check(actions, self.num_envs)
        return step_groups(self, actions)

    def close(self) -> None:
        """Release every game and end the workers. May be called again."""
        self._players.close()


def _copy(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return array.copy()


def _check(actions: npt.NDArray[np.int64], num_envs: int) -> None:
    if actions.shape != (num_envs,) or actions.min() < 0 or actions.max() >= NUM_ACTIONS:
        raise ValueError(f"actions must be {num_envs} numbers from 0 to {NUM_ACTIONS - 1}, got {actions}")


class _Players(Protocol):
    """Whoever plays the games of the groups, in `memory`: `Crew` or `_InProcess`."""

    memory: GameMemory

    def begin(self, slot: int, positions: Sequence[Position] | None) -> None: ...
    def step(self, group: int, slot: int) -> None: ...
    def wait(self, group: int) -> list[int]: ...
    def take_incidents(self) -> list[str]: ...
    def close(self) -> object: ...


class _InProcess:
    """Plays the games at once when told to."""

    def __init__(self, settings: GameSettings, seeds: Seeds, groups: Sequence[slice]) -> None:
        num_envs = groups[-1].stop
        buffer = np.zeros(GameMemory.size(settings.spec, num_envs), np.uint8)
        self.memory = GameMemory.over(buffer.data, settings.spec, num_envs)
        self._groups = groups
        with scratch.temporary_files():
            self._blocks = [GameBlock(settings, seeds, rows.start, self.memory.rows(rows)) for rows in groups]

    def begin(self, slot: int, positions: Sequence[Position] | None) -> None:
        for block, rows in zip(self._blocks, self._groups, strict=True):
            count = rows.stop - rows.start
            block.begin(slot, [Position()] * count if positions is None else positions[rows])

    def step(self, group: int, slot: int) -> None:
        self._blocks[group].step(slot)

    def wait(self, group: int) -> list[int]:
        return []

    def take_incidents(self) -> list[str]:
        return []

    def close(self) -> None:
        for block in self._blocks:
            block.close()
