"""NetHack games stepped side by side, with everything a policy reads computed for the whole batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tedg.envs.atoms import ATOMS, AtomTracker, View
from tedg.envs.features import STATE_DIM, SYMBOLIC_STATE
from tedg.envs.frames import MAP_COLUMNS, MAP_ROWS, Frames
from tedg.envs.mapscan import CROP, OVERVIEW_SHAPE
from tedg.envs.masks import legal_actions
from tedg.envs.messages import NUM_ACTIONS
from tedg.envs.nethack import NetHackGame
from tedg.envs.observation import EnvSpec, EpisodeEnd, Observation, Step
from tedg.envs.seeds import Seeds, held_out_seeds, training_seeds
from tedg.envs.state import StateBuilder
from tedg.hypergraph.schema import Hypergraph, load_hypergraph

__all__ = ["ACTION_MASKS", "NetHackVectorEnv", "held_out_seeds", "training_seeds"]

ACTION_MASKS = ("legal", "none")


class NetHackVectorEnv:
    """A vector of NetHack games in this process; see `VectorEnv` for what it promises.

    `task` is a class in nle.env.tasks, `goal` the goal feature that is set, `hypergraph` a loaded one or
    the name or path of one, `seeds(env, episode)` the seed of each game. With `action_mask="none"` every
    action counts as legal, while the rule features still tell what the rules say.

    Every observation owns its memory, and later steps leave it alone. Callers must do so too until the next
    step: the row of a game that dies then is its final observation. A game's frames depend on its own
    seeds and actions alone, not on the other rows.
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
    ) -> None:
        if action_mask not in ACTION_MASKS:
            raise ValueError(f"action_mask is {action_mask!r}, must be one of {', '.join(ACTION_MASKS)}")
        if num_envs < 1 or max_episode_steps < 1:
            raise ValueError(
                f"num_envs ({num_envs}) and max_episode_steps ({max_episode_steps}) must be positive"
            )
        graph = hypergraph if isinstance(hypergraph, Hypergraph) else load_hypergraph(hypergraph)
        self.num_envs = num_envs
        self.spec = EnvSpec(
            name=task,
            num_actions=NUM_ACTIONS,
            num_atoms=len(graph.atoms),
            state_dim=STATE_DIM,
            overview_shape=OVERVIEW_SHAPE,
            crop_size=CROP,
            symbolic_state=SYMBOLIC_STATE,
        )
        self._states = StateBuilder(graph, goal)
        # Columns of the hypergraph's atoms among ours; None where they are the same.
        same = graph.atoms == ATOMS
        self._atoms = None if same else np.array([ATOMS.index(name) for name in graph.atoms], np.int64)
        self._restricted = action_mask == "legal"
        self._seeds = seeds
        self._frames = Frames.allocate(num_envs)
        self._tracker = AtomTracker(num_envs)
        self._games = [NetHackGame(task, max_episode_steps, self._frames.row(i)) for i in range(num_envs)]
        self._episodes = [0] * num_envs  # games started so far
        self._rows = np.arange(num_envs)
        self._last: Observation | None = None

    def reset(self) -> Observation:
        """Start every game's plan of seeds anew, at episode 0, and return the first observations."""
        self._episodes = [0] * self.num_envs
        for env in range(self.num_envs):
            self._start(env)
        batch = _Batch(self.num_envs)
        self._last = self._observe(self._rows, np.zeros(self.num_envs, np.int64), batch)
        return self._last

    def step(self, actions: npt.NDArray[np.int64]) -> Step:
        """Apply one action (0..22) per game; ended games restart within the same step.

        Raises ValueError for actions out of range, RuntimeError before the first reset.
        """
        if self._last is None:
            raise RuntimeError("call reset before step")
        if actions.shape != (self.num_envs,) or actions.min() < 0 or actions.max() >= NUM_ACTIONS:
            raise ValueError(
                f"actions must be {self.num_envs} numbers from 0 to {NUM_ACTIONS - 1}, got {actions}"
            )
        results = [game.step(action) for game, action in zip(self._games, actions.tolist(), strict=True)]
        reward = np.array([r.reward for r in results], np.float32)
        terminated = np.array([r.terminated for r in results])
        truncated = np.array([r.truncated for r in results])
        ended = np.flatnonzero(terminated | truncated)
        episodes = [self._episode_end(int(env)) for env in ended]

        # A finished game's row is blank, so the next game's first frame takes its place at once. A game
        # that was cut off is alive: it is observed first, and restarts afterwards.
        for env in np.flatnonzero(terminated):
            self._start(int(env))
        batch = _Batch(self.num_envs)
        observation = self._observe(self._rows, actions, batch)
        final: Observation | None = None
        if len(ended):
            died, last = terminated[ended], self._last
            final = observation[ended]
            for name, rows in final.items():
                rows[died] = getattr(last, name)[ended[died]]
        if truncated.any():
            cut = np.flatnonzero(truncated)
            for env in cut:
                self._start(int(env))
            observation = self._observe(cut, actions, batch)
        self._last = observation
        return Step(observation, reward, terminated, truncated, ended, final, episodes)

    def close(self) -> None:
        """Release every game."""
        for game in self._games:
            game.close()

    def _start(self, env: int) -> None:
        self._games[env].start(self._seeds(env, self._episodes[env]))
        self._episodes[env] += 1
        self._tracker.reset(env)

    def _episode_end(self, env: int) -> EpisodeEnd:
        game = self._games[env]
        return EpisodeEnd(
            env=env,
            seed=game.seed,
            length=game.length,
            episode_return=game.episode_return,
            score=float(game.score),
            depth=game.depth,
            turns=game.turns,
            end=game.end,
        )

    def _observe(
        self, rows: npt.NDArray[np.int64], actions: npt.NDArray[np.int64], batch: _Batch
    ) -> Observation:
        """Fill `rows` of `batch` from the frames, and return the whole batch."""
        frames, view = self._frames, batch.view
        self._tracker.update(frames, actions, rows, view)
        legal_actions(view, frames.blstats, rows, batch.legal)
        self._states.compute(view, self._tracker.history, frames.blstats, batch.legal, rows, batch.state)
        batch.glyphs[rows] = frames.glyphs[rows]
        batch.hero[rows] = frames.blstats[rows, 1::-1]  # y, x
        return Observation(
            state=batch.state,
            atoms=view.atoms if self._atoms is None else view.atoms[:, self._atoms],
            mask=batch.legal if self._restricted else np.ones_like(batch.legal),
            crop=view.scan.crop,
            overview=view.scan.overview,
            glyphs=batch.glyphs,
            hero=batch.hero,
            hostile_dirs=view.scan.hostile_dirs,
        )


class _Batch:
    """Arrays of one step, new for every step."""

    def __init__(self, num_envs: int) -> None:
        self.view = View.allocate(num_envs)
        self.legal = np.zeros((num_envs, NUM_ACTIONS), np.bool_)
        self.state = np.zeros((num_envs, STATE_DIM), np.float32)
        self.glyphs = np.zeros((num_envs, MAP_ROWS, MAP_COLUMNS), np.int16)
        self.hero = np.zeros((num_envs, 2), np.int16)
