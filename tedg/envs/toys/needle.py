"""Toys that ask for symbols that query vision: the atoms name a cell, what stands there is the answer."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tedg.envs.observation import Observation
from tedg.envs.sizes import CROP
from tedg.envs.toys.draws import Draws
from tedg.envs.toys.game import Game, Ints, Verdict, allow_only, glyph_of

SIZE = 5  # the cells that can be named are a square of SIZE x SIZE around the hero
KINDS = np.array([glyph_of(name) for name in ("GOLD", "FOUNTAIN")], np.int16)
FIRST_ACTION = 1  # action FIRST_ACTION + k is the answer "kind k"
_INNER = slice((CROP - SIZE) // 2, (CROP + SIZE) // 2)
_APART = slice(1, CROP, 2)  # every other row, and column


class Needle(Game):
    """One turn: an atom names one of 25 cells, and the action that fits what stands there earns 1.

    The whole crop is filled alike, each cell with a kind of its own at random; nothing but the atoms says
    which cell counts, and nothing but the crop says what stands there. The two answers are the legal
    actions, so chance is 1/2. How many cells hold which kind says little: going by the more frequent kind
    earns 0.54. The cells that can be named lie well inside the crop, where no border sets them apart.
    """

    name: ClassVar[str] = "needle"
    atoms: ClassVar[tuple[str, ...]] = tuple(
        f"cell_{row}_{column}" for row in range(SIZE) for column in range(SIZE)
    )

    def deal(self, frame: Observation, turn: Ints, draws: Draws) -> None:
        """Fill the cells and name one."""
        games = np.arange(len(frame))
        frame.atoms[games, draws.integers(SIZE * SIZE)] = True
        frame.crop[:] = KINDS[draws.integers(len(KINDS), CROP, CROP)]
        allow_only(frame, FIRST_ACTION + np.arange(len(KINDS)))

    def judge(self, frame: Observation, turn: Ints, action: Ints, draws: Draws) -> Verdict:
        """1 for the right answer; then it is over."""
        return (action == self.act(frame)).astype(np.float32), np.ones(len(action), np.bool_)

    def act(self, observation: Observation) -> Ints:
        """Look where the atoms point."""
        return _named(observation, _INNER)


class SparseNeedle(Game):
    """The needle made easier to find: an atom names one of 16 cells that stand apart, and all else is stone.

    Eight of the 16 cells hold each kind, so that which kind is more frequent says nothing at all, and no policy
    gets stuck in going by it. Chance is 1/2.
    """

    name: ClassVar[str] = "sparse_needle"
    atoms: ClassVar[tuple[str, ...]] = tuple(f"cell_{row}_{column}" for row in range(4) for column in range(4))

    def deal(self, frame: Observation, turn: Ints, draws: Draws) -> None:
        """Fill the cells and name one."""
        count = len(self.atoms)
        frame.atoms[np.arange(len(frame)), draws.integers(count)] = True
        ranks = draws.uniform(count).argsort(axis=1).argsort(axis=1)
        frame.crop[:, _APART, _APART] = KINDS[ranks * len(KINDS) // count].reshape(-1, 4, 4)
        allow_only(frame, FIRST_ACTION + np.arange(len(KINDS)))

    def judge(self, frame: Observation, turn: Ints, action: Ints, draws: Draws) -> Verdict:
        """1 for the right answer; then it is over."""
        return (action == self.act(frame)).astype(np.float32), np.ones(len(action), np.bool_)

    def act(self, observation: Observation) -> Ints:
        """Look where the atoms point."""
        return _named(observation, _APART)


def _named(observation: Observation, where: slice) -> Ints:
    """The answer [n] that fits the cell which the atoms name, of those that `where` cuts out of the crop."""
    cells = observation.crop[:, where, where].reshape(len(observation), -1)
    named = cells[np.arange(len(cells)), observation.atoms.argmax(axis=1)]
    return FIRST_ACTION + (named[:, None] == KINDS).argmax(axis=1)
