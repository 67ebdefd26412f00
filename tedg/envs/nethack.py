"""One game of NetHack with NLE 1.3.0's traps fixed.

NLE blanks the observation at the end of a game, reports its own step limit as a death, uses a seed for one
reset only, and copies every observation it is asked for. Here every game is seeded before it starts, the
game writes into the caller's arrays, and whoever steps it judges the frames himself (see `Games`).
"""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
from nle import nethack as nh
from nle.env import base, tasks

from tedg.envs.actions import NUM_ACTIONS
from tedg.envs.frames import FRAME_KEYS
from tedg.envs.rewards import ASKS, SHOWS_MORE, WANTS_TEXT
from tedg.envs.shared_code import SharedCode

# NetHack's words for the ends of a game, in the order of its numbers for them (`how_done`).
HOW = (
    *("died", "choking", "poisoning", "starving", "drowning", "burning", "dissolved", "crushing", "stoning"),
    *("turned_slime", "genocided", "panicked", "tricked", "quit", "escaped", "ascended"),
)
logging.getLogger("nle").setLevel(logging.WARNING)  # it reports, once per game, that it saves no recordings


class NetHackGame:
    """A game that writes its frames into `row`.

    That is a mapping from the names in FRAME_KEYS, and "internal", to one row of a batch's arrays. A step is
    a `press` and an `answer`; together they do what NLE's `step` does, but for judging. `task` names a class
    in nle.env.tasks; it decides what is picked up.
    """

    def __init__(self, task: str, row: dict[str, npt.NDArray[np.generic]]) -> None:
        self._env = getattr(tasks, task)(observation_keys=FRAME_KEYS, fix_moon_phase=True)
        assert len(self._env.actions) == NUM_ACTIONS
        self._keys = [int(key) for key in self._env.actions]
        self._nethack = self._env.nethack._pynethack
        self._code = SharedCode(self._env.nethack.dlpath)
        self._bind(row)

    def _bind(self, row: dict[str, npt.NDArray[np.generic]]) -> None:
        """Let NLE write into `row`; it accepts new buffers only before its first reset."""
        game = self._env.nethack
        buffers = {**game._obs_buffers, **row}
        game._pynethack.set_buffers(**buffers)
        game._obs_buffers = buffers
        game._obs = tuple(buffers[key] for key in self._env._observation_keys)
        self._internal, self._message = buffers["internal"], buffers["message"]

    def start(self, seed: int) -> None:
        """Begin the game that `seed` names; its first frame is in the row."""
        self._env.seed(seed, seed, reseed=False)
        self._env.reset()
        self._code.share()

    def press(self, action: int) -> None:
        """Let NetHack take an action (0..22)."""
        self._nethack.step(self._keys[action])

    def answer(self) -> bool:
        """Give the answers that NLE gives by itself; True if the game is over. The frame is in the row."""
        game = self._nethack
        while not game.done():
            internal = self._internal.tolist()
            if internal[SHOWS_MORE]:
                game.step(base.ASCII_SPACE)
            elif internal[WANTS_TEXT]:
                game.step(base.ASCII_ESC)
            elif internal[ASKS] and not any(text in self._message.tobytes() for text in base.SKIP_EXCEPTIONS):
                game.step(base.ASCII_ESC)
                return bool(game.done())
            else:
                return False
        return True

    def quit(self) -> None:
        """End a game that is not over, as NLE does when the task's aim is reached."""
        self._env._quit_game(self._env.nethack._obs, False)

    @property
    def ascended(self) -> bool:
        """Was the game that is over won?"""
        return bool(self._nethack.how_done() == nh.ASCENDED)

    @property
    def how(self) -> str:
        """How the game ended that is over, in NetHack's word: died (by somebody's hand), starving, ..."""
        return HOW[int(self._nethack.how_done())]

    def close(self) -> None:
        """Release the game."""
        self._env.close()
