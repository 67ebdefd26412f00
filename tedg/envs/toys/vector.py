"""The vector of toy games: grouping, step limit, restarts and records, whatever the game."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tedg.envs.features import STATE_DIM, SYMBOLIC_STATE
from tedg.envs.groups import split, step_groups
from tedg.envs.messages import NUM_ACTIONS
from tedg.envs.noise import step_noise
from tedg.envs.observation import EnvSpec, EpisodeEnd, Observation, Step
from tedg.envs.seeds import Seeds
from tedg.envs.toys.draws import Draws
from tedg.envs.toys.game import CROP, OVERVIEW_SHAPE, Game, blank
from tedg.hypergraph.schema import Hypergraph, load_hypergraph


class ToyVectorEnv:
    """A vector of toy games on NetHack's observation space; see `VectorEnv` for what it promises.

    `game` holds the rules, `hypergraph` is a loaded one or the name or path of one, `seeds(env, episode)`
    the seed of each game. With `action_mask="none"` every action counts as legal. Raises ValueError for
    another `action_mask`, for counts below one, and for a hypergraph that the game cannot be played with.
    """

    def __init__(
        self,
        game: Game,
        hypergraph: Hypergraph | str | Path,
        num_envs: int,
        max_episode_steps: int,
        action_mask: str,
        seeds: Seeds,
    ) -> None:
        if action_mask not in ("legal", "none"):
            raise ValueError(f"action_mask is {action_mask!r}, must be one of legal, none")
        if num_envs < 1 or max_episode_steps < 1:
            raise ValueError(
                f"num_envs ({num_envs}) and max_episode_steps ({max_episode_steps}) must be positive"
            )
        graph = hypergraph if isinstance(hypergraph, Hypergraph) else load_hypergraph(hypergraph)
        game.use(graph)
        self.num_envs = num_envs
        self.groups = split(slice(0, num_envs), min(2, num_envs))
        self.spec = EnvSpec(
            name=game.name,
            num_actions=NUM_ACTIONS,
            num_atoms=len(graph.atoms),
            state_dim=STATE_DIM,
            overview_shape=OVERVIEW_SHAPE,
            crop_size=CROP,
            symbolic_state=SYMBOLIC_STATE,
            script=game,
        )
        self._game, self._limit, self._seeds = game, max_episode_steps, seeds
        self._restricted = action_mask == "legal"
        self._episodes = np.zeros(num_envs, np.int64)  # started so far
        self._seed = np.zeros(num_envs, np.int64)  # of the episode that is played
        self._turn = np.zeros(num_envs, np.int64)
        self._return = np.zeros(num_envs)
        self._shown: list[Observation] = []  # by every group
        self._steps: dict[int, Step] = {}  # of groups that nobody received yet

    def reset(self) -> Observation:
        """Start every plan of seeds anew, at episode 0, and return the first observations."""
        self._episodes[:] = 0
        self._start(np.arange(self.num_envs))
        self._steps = {}
        self._shown = [self._deal(np.arange(rows.start, rows.stop)) for rows in self.groups]
        return Observation.concatenate(self._shown)

    def send(self, group: int, actions: npt.NDArray[np.int64]) -> None:
        """Step one group."""
        if not self._shown or group in self._steps:
            raise RuntimeError("call receive before send" if self._shown else "call reset before step")
        envs = np.arange(self.groups[group].start, self.groups[group].stop)
        before = self._shown[group]
        reward, terminated = self._game.judge(before, self._turn[envs], actions, self._draws(envs, judging=1))
        self._turn[envs] += 1
        self._return[envs] += reward
        truncated = ~terminated & (self._turn[envs] >= self._limit)
        ended = np.flatnonzero(terminated | truncated)
        shown = self._deal(envs)
        final: Observation | None = None
        episodes = [self._end(env, dead) for env, dead in zip(envs[ended], terminated[ended], strict=True)]
        if len(ended):
            # As in NetHack, the dead leave their last living frame.
            final, died = shown[ended], terminated[ended]
            self._start(envs[ended])
            first = self._deal(envs[ended])
            for name, values in shown.items():
                getattr(final, name)[died] = getattr(before, name)[ended[died]]
                values[ended] = getattr(first, name)
        self._shown[group] = shown
        self._steps[group] = Step(shown, reward, terminated, truncated, ended, final, episodes)

    def receive(self, group: int) -> Step:
        """The group's step. Raises RuntimeError when none was sent."""
        if group not in self._steps:
            raise RuntimeError("call send before receive")
        return self._steps.pop(group)

    def step(self, actions: npt.NDArray[np.int64]) -> Step:
        """Apply one action per game; ended games restart within the same step."""
        return step_groups(self, actions)

    def close(self) -> None:
        """Nothing to release."""

    def _start(self, envs: npt.NDArray[np.int64]) -> None:
        plan = zip(envs.tolist(), self._episodes[envs].tolist(), strict=True)
        self._seed[envs] = [self._seeds(env, episode) for env, episode in plan]
        self._episodes[envs] += 1
        self._turn[envs] = 0
        self._return[envs] = 0

    def _draws(self, envs: npt.NDArray[np.int64], judging: int = 0) -> Draws:
        return Draws(self._seed[envs], 2 * self._turn[envs] + judging)

    def _deal(self, envs: npt.NDArray[np.int64]) -> Observation:
        frame = blank(len(envs), self.spec.num_atoms)
        frame.noise[:] = step_noise(self._seed[envs], self._turn[envs])
        self._game.deal(frame, self._turn[envs], self._draws(envs))
        if not self._restricted:
            frame.mask[:] = True
        return frame

    def _end(self, env: int, dead: bool) -> EpisodeEnd:
        turns, earned = int(self._turn[env]), float(self._return[env])
        return EpisodeEnd(
            env=int(env),
            seed=int(self._seed[env]),
            length=turns,
            episode_return=earned,
            score=earned,
            depth=1,
            turns=turns,
            end="death" if dead else "truncated",
        )
