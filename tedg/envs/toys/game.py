"""The contract of a toy game, and the observation that tells nothing, which every toy starts from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tedg.envs.actions import NUM_ACTIONS
from tedg.envs.features import STATE_DIM
from tedg.envs.glyphs import CATEGORY_RANGES, STONE
from tedg.envs.observation import Observation
from tedg.envs.sizes import CROP, OVERVIEW_SHAPE
from tedg.envs.toys.draws import Draws
from tedg.hypergraph.schema import Hypergraph

HERO = (10, 39)  # where a toy's hero stands, unless the game says otherwise

Ints = npt.NDArray[np.int64]
Verdict = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]  # reward [n], whether the episode is over [n]


class Game(ABC):
    """The rules of a toy, for the n games of a group at once.

    All that a game keeps from one turn to the next is its seed and the number of its turn: what it shows
    is drawn anew for every turn, and a turn is judged by what was shown and done in it. So games of any
    number, in any grouping, are the same games.

    A game is built from the settings of its YAML file. It is a `Player` as well: its own best one.
    """

    name: ClassVar[str]
    atoms: ClassVar[tuple[str, ...]]  # that it computes, in the order of the observation's bits

    def use(self, hypergraph: Hypergraph) -> None:
        """Called once, before anything else. Raises ValueError for a hypergraph of other atoms."""
        if hypergraph.atoms != self.atoms:
            raise ValueError(
                f"the game {self.name} has the atoms {_few(self.atoms)};"
                f" the hypergraph {hypergraph.name} has {_few(hypergraph.atoms)}"
            )

    @abstractmethod
    def deal(self, frame: Observation, turn: Ints, draws: Draws) -> None:
        """Write what n games show on their turn number `turn` [n], from 0, into their `blank` frames."""

    @abstractmethod
    def judge(self, frame: Observation, turn: Ints, action: Ints, draws: Draws) -> Verdict:
        """What n games make of `action` [n] on the turn that showed `frame`.

        An episode that is over has ended by the rules, as a death in NetHack; the step limit is the
        vector's.
        """

    @abstractmethod
    def act(self, observation: Observation) -> Ints:
        """The best action [n] in each of n games."""


def blank(num_games: int, num_atoms: int) -> Observation:
    """Frames that tell nothing: unseen stone, a state of zeros, no atom true, every action legal."""
    overview = np.zeros((num_games, *OVERVIEW_SHAPE), np.uint8)
    overview[..., 0] = 12  # a block's 3 x 4 cells, all unseen
    overview[:, :, -1, 0] = 9  # the map is 79 columns wide
    return Observation(
        state=np.zeros((num_games, STATE_DIM), np.float32),
        atoms=np.zeros((num_games, num_atoms), np.bool_),
        mask=np.ones((num_games, NUM_ACTIONS), np.bool_),
        crop=np.full((num_games, CROP, CROP), STONE, np.int16),
        overview=overview,
        hero=np.tile(np.array(HERO, np.int16), (num_games, 1)),
        hostile_dirs=np.zeros((num_games, 8), np.bool_),
        noise=np.zeros(num_games, np.int64),
    )


def allow_only(frame: Observation, actions: Ints | list[int]) -> None:
    """Make every other action illegal."""
    frame.mask[:] = False
    frame.mask[:, actions] = True


def glyph_of(category: str) -> int:
    """The first glyph of a category."""
    return next(first for name, first, _ in CATEGORY_RANGES if name == category)


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
