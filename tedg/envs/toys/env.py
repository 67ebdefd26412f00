"""The vector of toy games: grouping, step limit, restarts and records, whatever the game."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tedg.envs.actions import NUM_ACTIONS
from tedg.envs.digests import Shown
from tedg.envs.features import STATE_DIM, SYMBOLIC_STATE
from tedg.envs.groups import step_groups
from tedg.envs.noise import step_noise
from tedg.envs.observation import (
    EnvSpec,
    EpisodeEnd,
    Observation,
    Position,
    Resumed,
    Step,
)
from tedg.envs.seeds import Seeds
from tedg.envs.sizes import CROP, OVERVIEW_SHAPE
from tedg.envs.toys.draws import Draws
from tedg.envs.toys.game import Game, Ints, Verdict, blank
from tedg.hypergraph.schema import Hypergraph, load_hypergraph
from tedg.processes import split


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
        self._episode = np.zeros(num_envs, np.int64)  # number of the one that is played, from 0
        self._seed = np.zeros(num_envs, np.int64)  # of the episode that is played
        self._turn = np.zeros(num_envs, np.int64)
        self._return = np.zeros(num_envs)
        self._actions = [bytearray() for _ in range(num_envs)]  # taken in the episode that is played
        self._shown: list[Observation] = []  # by every group
        self._steps: dict[int, Step] = {}  # of groups that nobody received yet

    def reset(self) -> Observation:
        """Start every plan of seeds anew, at episode 0, and return the first observations."""
        return self._begin([Position()] * self.num_envs)

    def resume(self, positions: Sequence[Position]) -> Resumed:
        """See `VectorEnv.resume`."""
        shown = self._begin(positions)
        strayed = Shown(shown, None).strayed(positions)
        if not strayed:
            return Resumed(shown, [])
        lost = [self._end(env, "lost") for env in strayed]
        onward = {env: Position(positions[env].episode + 1) for env in strayed}
        return Resumed(self._begin([onward.get(env, p) for env, p in enumerate(positions)]), lost)

    def positions(self) -> list[Position]:
        """See `VectorEnv.positions`."""
        if not self._shown or self._steps:
            raise RuntimeError("positions are known after a reset, and not during a step")
        shown = Shown(Observation.concatenate(self._shown), None)
        return [
            Position(int(self._episode[env]), bytes(self._actions[env]), shown.digest(env))
            for env in range(self.num_envs)
        ]

    def _begin(self, positions: Sequence[Position]) -> Observation:
        self._start(np.arange(self.num_envs), np.array([position.episode for position in positions]))
        for env, position in enumerate(positions):
            self._actions[env] = bytearray(position.actions)
        lengths = np.array([len(position.actions) for position in positions])
        for t in range(lengths.max()):
            (envs,) = (t < lengths).nonzero()
            actions = np.array([positions[env].actions[t] for env in envs.tolist()], np.int64)
            self._play(envs, self._deal(envs), actions)
        self._steps = {}
        self._shown = [self._deal(np.arange(rows.start, rows.stop)) for rows in self.groups]
        return Observation.concatenate(self._shown)

    def send(self, group: int, actions: Ints) -> None:
        """Step one group."""
        if not self._shown or group in self._steps:
            raise RuntimeError("call receive before send" if self._shown else "call reset before step")
        envs = np.arange(self.groups[group].start, self.groups[group].stop)
        before = self._shown[group]
        reward, terminated = self._play(envs, before, actions)
        for env, action in zip(envs, actions.tolist(), strict=True):
            self._actions[env].append(action)
        truncated = ~terminated & (self._turn[envs] >= self._limit)
        ended = np.flatnonzero(terminated | truncated)
        shown = self._deal(envs)
        final: Observation | None = None
        how = np.where(terminated[ended], "death", "truncated").tolist()
        episodes = [self._end(env, end) for env, end in zip(envs[ended], how, strict=True)]
        if len(ended):
            # As in NetHack, the dead leave their last living frame.
            final, died = shown[ended], terminated[ended]
            self._start(envs[ended], self._episode[envs[ended]] + 1)
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

    def step(self, actions: Ints) -> Step:
        """Apply one action per game; ended games restart within the same step."""
        return step_groups(self, actions)

    def close(self) -> None:
        """Nothing to release."""

    def _start(self, envs: Ints, episodes: Ints) -> None:
        plan = zip(envs.tolist(), episodes.tolist(), strict=True)
        self._seed[envs] = [self._seeds(env, episode) for env, episode in plan]
        self._episode[envs] = episodes
        self._turn[envs] = 0
        self._return[envs] = 0
        for env in envs:
            self._actions[env].clear()

    def _play(self, envs: Ints, shown: Observation, actions: Ints) -> Verdict:
        verdict = self._game.judge(shown, self._turn[envs], actions, self._draws(envs, judging=1))
        self._turn[envs] += 1
        self._return[envs] += verdict[0]
        return verdict

    def _draws(self, envs: Ints, judging: int = 0) -> Draws:
        return Draws(self._seed[envs], 2 * self._turn[envs] + judging)

    def _deal(self, envs: Ints) -> Observation:
        frame = blank(len(envs), self.spec.num_atoms)
        frame.noise[:] = step_noise(self._seed[envs], self._turn[envs])
        self._game.deal(frame, self._turn[envs], self._draws(envs))
        if not self._restricted:
            frame.mask[:] = True
        return frame

    def _end(self, env: int, end: str) -> EpisodeEnd:
        turns, earned = int(self._turn[env]), float(self._return[env])
        return EpisodeEnd(
            env=int(env),
            seed=int(self._seed[env]),
            length=turns,
            episode_return=earned,
            score=earned,
            depth=1,
            turns=turns,
            end=end,
        )
