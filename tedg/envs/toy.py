"""A toy with the observation space of NetHack: fast, seeded, and solved by reading one cue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tedg.envs.features import STATE_DIM, STATE_HIGH, STATE_LOW, SYMBOLIC_STATE
from tedg.envs.groups import split, step_groups
from tedg.envs.observation import EnvSpec, EpisodeEnd, Observation, Step
from tedg.envs.seeds import Seeds
from tedg.hypergraph.schema import Hypergraph, load_hypergraph

NUM_ACTIONS = 23
NUM_GLYPHS = 5977
STONE = 2359
OVERVIEW_SHAPE = (7, 20, 16)
CROP = 9
ACTION_IF_CUE, ACTION_IF_NOT = 1, 2  # always legal
CUE_FEATURE = 0  # of the state; it tells what the cue atom tells
END_CHANCE = 0.02  # of an early end, per step
ILLEGAL_CHANCE = 0.3


class FakeVectorEnv:
    """Random observations of the right shapes and ranges, and a reward that can be learnt in seconds.

    A cue is drawn anew for every frame: it is the atom of the hypergraph's first literal, and state feature
    0. Action 1 earns 1 if the cue is set, action 2 if it is not, everything else earns nothing; so 1 per
    step is the best there is. Some episodes end at random, the others are truncated at
    `max_episode_steps`. Everything is drawn from each episode's own seed.
    """

    def __init__(
        self,
        hypergraph: Hypergraph | str | Path,
        num_envs: int,
        max_episode_steps: int,
        action_mask: str,
        seeds: Seeds,
    ) -> None:
        if action_mask not in ("legal", "none"):
            raise ValueError(f"action_mask is {action_mask!r}, must be one of legal, none")
        graph = hypergraph if isinstance(hypergraph, Hypergraph) else load_hypergraph(hypergraph)
        self.num_envs = num_envs
        self.groups = split(slice(0, num_envs), min(2, num_envs))
        self.spec = EnvSpec(
            name="fake",
            num_actions=NUM_ACTIONS,
            num_atoms=len(graph.atoms),
            state_dim=STATE_DIM,
            overview_shape=OVERVIEW_SHAPE,
            crop_size=CROP,
            symbolic_state=SYMBOLIC_STATE,
        )
        self.cue_atom = graph.atoms.index(graph.operators[0].preconditions[0].atom)
        self._restricted = action_mask == "legal"
        self._seeds = seeds
        self._games = [_FakeGame(len(graph.atoms), self.cue_atom, max_episode_steps) for _ in range(num_envs)]
        self._episodes = [0] * num_envs
        self._last: list[Observation] = []  # of every group
        self._steps: dict[int, Step] = {}  # of groups that nobody received yet

    def reset(self) -> Observation:
        """Start every plan of seeds anew, at episode 0, and return the first observations."""
        self._episodes = [0] * self.num_envs
        for env in range(self.num_envs):
            self._start(env)
        self._steps = {}
        self._last = [self._observe(rows) for rows in self.groups]
        return Observation.concatenate(self._last)

    def send(self, group: int, actions: npt.NDArray[np.int64]) -> None:
        """Step one group."""
        if not self._last or group in self._steps:
            raise RuntimeError("call receive before send" if self._last else "call reset before step")
        rows = self.groups[group]
        games = self._games[rows]
        reward = np.array([game.step(int(a)) for game, a in zip(games, actions, strict=True)], np.float32)
        terminated = np.array([game.end == "death" for game in games])
        truncated = np.array([game.end == "truncated" for game in games])
        ended = np.flatnonzero(terminated | truncated)
        observation = self._observe(rows)
        final: Observation | None = None
        episodes = [games[row].episode_end(rows.start + int(row)) for row in ended]
        if len(ended):
            # As in NetHack, the dead leave their last living frame.
            died, last = terminated[ended], self._last[group]
            final = observation[ended]
            for name, finals in final.items():
                finals[died] = getattr(last, name)[ended[died]]
            for row in ended:
                self._start(rows.start + int(row))
            observation = self._observe(rows)
        self._last[group] = observation
        self._steps[group] = Step(observation, reward, terminated, truncated, ended, final, episodes)

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

    def _start(self, env: int) -> None:
        self._games[env].start(self._seeds(env, self._episodes[env]))
        self._episodes[env] += 1

    def _observe(self, rows: slice) -> Observation:
        games = self._games[rows]
        mask = np.stack([game.mask for game in games])
        return Observation(
            state=np.stack([game.state for game in games]),
            atoms=np.stack([game.atoms for game in games]),
            mask=mask if self._restricted else np.ones_like(mask),
            crop=np.stack([game.crop for game in games]),
            overview=np.stack([game.overview for game in games]),
            glyphs=np.stack([game.glyphs for game in games]),
            hero=np.stack([game.hero for game in games]),
            hostile_dirs=np.stack([game.hostile_dirs for game in games]),
        )


class _FakeGame:
    """One environment of the toy: its current frame, drawn from the episode's generator."""

    def __init__(self, num_atoms: int, cue_atom: int, max_episode_steps: int) -> None:
        self._num_atoms = num_atoms
        self._cue_atom = cue_atom
        self._max_episode_steps = max_episode_steps

    def start(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self.seed = seed
        self.length = 0
        self.episode_return = 0.0
        self.end = ""
        self.glyphs = np.full((21, 79), STONE, np.int16)
        self.glyphs[4:17, 8:71] = self._rng.integers(NUM_GLYPHS, size=(13, 63))
        self.overview = np.zeros(OVERVIEW_SHAPE, np.uint8)
        kinds = self._rng.integers(OVERVIEW_SHAPE[2], size=OVERVIEW_SHAPE[:2])
        np.put_along_axis(self.overview, kinds[..., None], 12, axis=2)
        self.overview[:, -1] = np.minimum(self.overview[:, -1], 9)
        self._draw()

    def step(self, action: int) -> float:
        good = ACTION_IF_CUE if self.atoms[self._cue_atom] else ACTION_IF_NOT
        reward = float(action == good)
        self.length += 1
        self.episode_return += reward
        if self._rng.random() < END_CHANCE:
            self.end = "death"
        elif self.length >= self._max_episode_steps:
            self.end = "truncated"
        self._draw()
        return reward

    def episode_end(self, env: int) -> EpisodeEnd:
        return EpisodeEnd(
            env=env,
            seed=self.seed,
            length=self.length,
            episode_return=self.episode_return,
            score=self.episode_return,
            depth=1,
            turns=self.length,
            end=self.end,
        )

    def _draw(self) -> None:
        rng = self._rng
        self.atoms = rng.random(self._num_atoms) < 0.5
        uniform = rng.random(STATE_DIM, np.float32)
        self.state = STATE_LOW + uniform * (STATE_HIGH - STATE_LOW)
        self.state[CUE_FEATURE] = self.atoms[self._cue_atom]
        self.mask = rng.random(NUM_ACTIONS) >= ILLEGAL_CHANCE
        self.mask[[ACTION_IF_CUE, ACTION_IF_NOT]] = True
        y, x = int(rng.integers(4, 17)), int(rng.integers(4, 75))
        self.hero = np.array([y, x], np.int16)
        self.crop = self.glyphs[y - 4 : y + 5, x - 4 : x + 5]
        self.hostile_dirs = rng.random(8) < 0.1
