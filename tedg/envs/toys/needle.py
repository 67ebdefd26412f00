"""Toys that ask for symbols that query vision: the atoms name a cell, what stands there is the answer."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tedg.envs.glyphs import STONE
from tedg.envs.observation import Observation
from tedg.envs.sizes import CROP
from tedg.envs.toys.draws import Draws
from tedg.envs.toys.game import Game, Ints, Verdict, allow_only, glyph_of

KINDS = np.array([glyph_of(name) for name in ("GOLD", "FOUNTAIN")], np.int16)
FIRST_ACTION = 1  # action FIRST_ACTION + k is the answer "kind k"


def cells(size: int) -> tuple[str, ...]:
    """An atom for each of size x size cells, row by row."""
    return tuple(f"cell_{row}_{column}" for row in range(size) for column in range(size))


class Needle(Game):
    """One turn: an atom names one of 25 cells, and the action that fits what stands there earns 1.

    The whole crop is filled alike, each cell with a kind of its own at random; nothing but the atoms says
    which cell counts, and nothing but the crop says what stands there. The two answers are the legal
    actions, so chance is 1/2. How many cells hold which kind says little: going by the more frequent kind
    earns 0.54. The cells that can be named lie well inside the crop, where no border sets them apart.
    """

    name: ClassVar[str] = "needle"
    where: ClassVar[slice] = slice(2, 7)  # rows, and columns, of the cells that can be named
    atoms: ClassVar[tuple[str, ...]] = cells(5)

    def deal(self, frame: Observation, turn: Ints, draws: Draws) -> None:
        """Fill the cells and name one."""
        frame.atoms[np.arange(len(frame)), draws.integers(len(self.atoms))] = True
        frame.crop[:] = KINDS[draws.integers(len(KINDS), CROP, CROP)]
        allow_only(frame, FIRST_ACTION + np.arange(len(KINDS)))

    def judge(self, frame: Observation, turn: Ints, action: Ints, draws: Draws) -> Verdict:
        """1 for the right answer; then it is over."""
        return (action == self.act(frame)).astype(np.float32), np.ones(len(action), np.bool_)

    def act(self, observation: Observation) -> Ints:
        """Look where the atoms point."""
        found = observation.crop[:, self.where, self.where].reshape(len(observation), -1)
        named = found[np.arange(len(found)), observation.atoms.argmax(axis=1)]
        return FIRST_ACTION + (named[:, None] == KINDS).argmax(axis=1)


class SparseNeedle(Needle):
    """The needle made easier to find: an atom names one of 16 cells that stand apart, and all else is stone.

    So a cell's token shows nothing of the next cell that can be named. Going by the more frequent kind
    earns 0.60.
    """

    name: ClassVar[str] = "sparse_needle"
    where: ClassVar[slice] = slice(1, CROP, 2)  # every other row, and column
    atoms: ClassVar[tuple[str, ...]] = cells(4)

    def deal(self, frame: Observation, turn: Ints, draws: Draws) -> None:
        """Fill the cells that can be named, and name one."""
        super().deal(frame, turn, draws)
        glyphs = frame.crop[:, self.where, self.where].copy()
        frame.crop[:] = STONE
        frame.crop[:, self.where, self.where] = glyphs
