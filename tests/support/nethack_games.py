"""Real NetHack frames for the tests, with what the slow oracle says about each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from support import atoms_oracle as oracle
from tedg.envs.atoms import AtomTracker, View
from tedg.envs.frames import Frames
from tedg.envs.games import Games
from tedg.envs.masks import legal_actions
from tedg.envs.observation import EnvSpec, Observation
from tedg.envs.players import make_player
from tedg.envs.rewards import EPISODE
from tedg.envs.state import StateBuilder
from tedg.hypergraph.schema import load_hypergraph

SPEC = EnvSpec("test", 23, 128, 115, (7, 20, 16), 9, np.zeros(115, bool))


class OneGame:
    """A single game, stepped with a number and judged in numbers; its frame is the only row of `frames`."""

    def __init__(self, task="NetHackScore", cap=10**6):
        self.frames = Frames.allocate(1)
        self.games = Games(task, cap, self.frames, np.zeros(1, EPISODE), np.zeros(1, bool))
        self.nethack = self.games._games[0]

    def start(self, seed):
        self.games.start(0, 0, seed)

    def step(self, action):
        """(reward, terminated, truncated)"""
        judged = np.zeros(1, np.float32), np.zeros(1, bool), np.zeros(1, bool)
        self.games.step(np.zeros(1, np.int64), np.array([action]), *judged)
        return tuple(array[0].item() for array in judged)

    def end(self):
        return self.games.end(0, env=0)

    def close(self):
        self.games.close()


@dataclass
class Moment:
    """One frame of B games; `frames` is overwritten by the next moment."""

    frames: Frames
    view: View
    legal: np.ndarray
    state: np.ndarray
    tracker: AtomTracker
    first: np.ndarray  # [B] is it an episode's first frame?
    actions: np.ndarray  # [B] what led here
    atoms: np.ndarray  # the oracle's
    mask: np.ndarray  # the oracle's


def moments(
    player: str, steps: int, num_envs: int = 8, first_seed: int = 10_000, cap: int = 150
) -> Iterator[Moment]:
    """Play `steps` steps of `num_envs` games at once; games are cut after `cap` steps."""
    frames = Frames.allocate(num_envs)
    games = Games("NetHackScore", cap, frames, np.zeros(num_envs, EPISODE), np.zeros(num_envs, bool))
    judged = np.zeros(num_envs, np.float32), np.zeros(num_envs, bool), np.zeros(num_envs, bool)
    seeds = iter(range(first_seed, first_seed + 10**6))
    chooser = make_player(player, num_envs, first_seed, SPEC)
    tracker, memory = AtomTracker(num_envs), oracle.Memory(num_envs)
    builder = StateBuilder(load_hypergraph("nethack"), "score")
    rows = np.arange(num_envs)
    actions = np.zeros(num_envs, np.int64)
    first = np.ones(num_envs, bool)
    for i in range(num_envs):
        games.start(i, 0, next(seeds))
    for _ in range(steps):
        view = tracker.update(frames, actions)
        legal = legal_actions(view, frames.blstats)
        state = np.zeros((num_envs, 115), np.float32)
        builder.compute(view, tracker.history, frames.blstats, legal, rows, state)
        f = frames
        raw = (f.glyphs, f.blstats, f.message, f.inv_oclasses, f.inv_letters, f.misc)
        atoms, names, aux = oracle.compute(*raw, memory, actions)
        top = (f.blstats[:, 12] == 1) & (f.blstats[:, 23] == 0)
        mask = oracle.action_mask(names, atoms, aux, f.message, top)
        yield Moment(frames, view, legal, state, tracker, first, actions, atoms, mask)
        seen = Observation(atoms=view.atoms, mask=legal, hostile_dirs=view.hostile_dirs)
        actions = chooser.act(seen)
        games.step(rows, actions, *judged)
        first = judged[1] | judged[2]
        for i in np.flatnonzero(first):
            games.start(i, 0, next(seeds))
            tracker.reset(i)
            memory.reset(i)
    games.close()


def empty_frames(num_envs: int) -> Frames:
    """Living heroes in the middle of dark maps."""
    frames = Frames.allocate(num_envs)
    frames.glyphs[:] = 2359
    frames.glyphs[:, 10, 40] = 333
    frames.inv_oclasses[:] = 18
    frames.blstats[:, :2] = 40, 10
    frames.blstats[:, 10:13] = 12, 14, 1
    frames.blstats[:, 18], frames.blstats[:, 20], frames.blstats[:, 24] = 1, 1, 1
    return frames


def update(frames: Frames, tracker: AtomTracker | None = None) -> View:
    """The next view of every game, after a meaningless action."""
    tracker = AtomTracker(len(frames.blstats)) if tracker is None else tracker
    return tracker.update(frames, np.zeros(len(frames.blstats), np.int64))
