"""A toy for fast tests of learning and faults: everything random, and one cue that tells what to do."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tedg.envs.actions import NUM_ACTIONS
from tedg.envs.features import STATE_DIM, STATE_HIGH, STATE_LOW
from tedg.envs.glyphs import NUM_GLYPHS
from tedg.envs.observation import Observation
from tedg.envs.sizes import CROP, MAP_COLUMNS, MAP_ROWS, OVERVIEW_SHAPE
from tedg.envs.toys.draws import Draws
from tedg.envs.toys.game import Game, Ints, Verdict
from tedg.hypergraph.schema import Hypergraph

ACTION_IF_CUE, ACTION_IF_NOT = 1, 2  # always legal
CUE_FEATURE = 0  # of the state; it tells what the cue atom tells
END_CHANCE = 0.02  # of an early end, per step
ILLEGAL_CHANCE = 0.3
REACH = CROP // 2


class Fake(Game):
    """Random observations of the right shapes and ranges, and a reward that can be learnt in seconds.

    The cue is the atom of the hypergraph's first literal, and state feature 0. Action 1 earns 1 if it is
    set, action 2 if it is not, everything else earns nothing; so 1 per step is the best there is. Some
    episodes end at random. Any hypergraph will do: its atoms are true or false at random.
    """

    name: ClassVar[str] = "fake"
    atoms: ClassVar[tuple[str, ...]] = ()

    def use(self, hypergraph: Hypergraph) -> None:
        """The first literal's atom becomes the cue."""
        self._cue = hypergraph.atoms.index(hypergraph.operators[0].preconditions[0].atom)

    def deal(self, frame: Observation, turn: Ints, draws: Draws) -> None:
        """Everything anew."""
        frame.atoms[:] = draws.uniform(frame.atoms.shape[1]) < 0.5
        frame.state[:] = STATE_LOW + draws.uniform(STATE_DIM) * (STATE_HIGH - STATE_LOW)
        frame.state[:, CUE_FEATURE] = frame.atoms[:, self._cue]
        frame.mask[:] = draws.uniform(NUM_ACTIONS) >= ILLEGAL_CHANCE
        frame.mask[:, [ACTION_IF_CUE, ACTION_IF_NOT]] = True
        for axis, cells in enumerate((MAP_ROWS, MAP_COLUMNS)):
            frame.hero[:, axis] = REACH + draws.integers(cells - 2 * REACH)
        frame.crop[:] = draws.integers(NUM_GLYPHS, CROP, CROP)
        kinds = draws.integers(OVERVIEW_SHAPE[2], *OVERVIEW_SHAPE[:2])[..., None]
        cells_of_block = frame.overview.max(axis=3, keepdims=True)
        frame.overview[:] = 0
        np.put_along_axis(frame.overview, kinds, cells_of_block, axis=3)
        frame.hostile_dirs[:] = draws.uniform(8) < 0.1

    def judge(self, frame: Observation, turn: Ints, action: Ints, draws: Draws) -> Verdict:
        """1 for the action that the cue tells."""
        return (action == self.act(frame)).astype(np.float32), draws.uniform() < END_CHANCE

    def act(self, observation: Observation) -> Ints:
        """What the cue tells."""
        return np.where(observation.atoms[:, self._cue], ACTION_IF_CUE, ACTION_IF_NOT)
