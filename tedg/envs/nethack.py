"""One game of NetHack with NLE 1.3.0's traps fixed.

NLE blanks the observation at the end of a game, reports its own step limit as a death, uses a seed for one
reset only, and copies every observation it is asked for. Here the last living frame is kept, the limit is
ours and truncates, every game is seeded before it starts, and the game writes into the caller's arrays.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from nle import nethack as nh
from nle.env import base, tasks

from tedg.envs.frames import FRAME_KEYS
from tedg.envs.messages import NUM_ACTIONS
from tedg.envs.shared_code import SharedCode

TASKS: tuple[str, ...] = (
    *("NetHackScore", "NetHackStaircase", "NetHackStaircasePet", "NetHackOracle"),
    *("NetHackGold", "NetHackEat", "NetHackScout"),
)
logging.getLogger("nle").setLevel(logging.WARNING)  # it reports, once per game, that it saves no recordings
_NO_LIMIT = 10**9  # NLE's own step limit, out of reach
_RUNNING, _DEATH, _SUCCESS = 0, 1, 2  # NLE's StepStatus


class GameStep(NamedTuple):
    """What one action led to."""

    reward: float  # NLE's own, in raw units
    terminated: bool  # the game ended: death, or the task's aim was reached
    truncated: bool  # the step limit was reached; the game's row is alive


class NetHackGame:
    """A game that writes its frames into `row`, a mapping from FRAME_KEYS to one row of a batch's arrays.

    Raises ValueError if `task` is not one of TASKS. After a terminating step the row is zero.
    """

    def __init__(self, task: str, max_episode_steps: int, row: dict[str, npt.NDArray[np.generic]]) -> None:
        if task not in TASKS:
            raise ValueError(f"task is {task!r}, must be one of {', '.join(TASKS)}")
        self._env = getattr(tasks, task)(
            observation_keys=FRAME_KEYS, max_episode_steps=_NO_LIMIT, fix_moon_phase=True
        )
        assert len(self._env.actions) == NUM_ACTIONS
        self._keys = [int(key) for key in self._env.actions]
        self._nethack = self._env.nethack._pynethack
        self._code = SharedCode(self._env.nethack.dlpath)
        self._bind(row)
        self._max_episode_steps = max_episode_steps
        self._frame: list[Any] = []  # of the last step
        self._living: list[int] = []  # blstats of the last living frame
        self.seed = -1
        self.length = 0
        self.episode_return = 0.0
        self.depth = 0
        self.end = ""

    def _bind(self, row: dict[str, npt.NDArray[np.generic]]) -> None:
        """Let NLE write into `row`; it accepts new buffers only before its first reset."""
        game = self._env.nethack
        buffers = {**game._obs_buffers, **row}
        game._pynethack.set_buffers(**buffers)
        game._obs_buffers = buffers
        game._obs = tuple(buffers[key] for key in self._env._observation_keys)
        self._blstats, self._internal, self._message = (
            buffers[name] for name in ("blstats", "internal", "message")
        )

    def start(self, seed: int) -> None:
        """Begin the game that `seed` names; its first frame is in the row."""
        self._env.seed(seed, seed, reseed=False)
        self._env.reset()
        self._code.share()
        self._frame = self._observe()
        self._living = self._blstats.tolist()
        self.seed = seed
        self.length = 0
        self.episode_return = 0.0
        self.depth = self._living[nh.NLE_BL_DEPTH]
        self.end = ""

    def step(self, action: int) -> GameStep:
        """Take an action (0..22); the next frame is in the row."""
        self.press(action)
        return self.settle()

    def press(self, action: int) -> None:
        """Begin a step: NetHack takes the action, and `settle` is due.

        Many games are stepped faster in two rounds than in one. NetHack's code and Python's do not fit into
        the processor's caches together.
        """
        self._nethack.step(self._keys[action])

    def settle(self) -> GameStep:
        """Finish a step.

        The two together do what NLE's `step` does, but copy no more than what NLE's rewards compare.
        """
        env, before = self._env, self._frame
        done = self._answer()
        frame = self._frame = self._observe()
        status = _DEATH if done else int(env._is_episode_end(frame))
        reward = float(env._reward_fn(before, None, frame, status))
        if status != _RUNNING and not done:
            env._quit_game(env.nethack._obs, done)
        self.length += 1
        self.episode_return += reward
        truncated = False
        if status != _RUNNING:
            succeeded = status == _SUCCESS or env.nethack.how_done() == nh.ASCENDED
            self.end = "success" if succeeded else "death"
        else:
            self._living = frame[env._blstats_index]
            self.depth = max(self.depth, self._living[nh.NLE_BL_DEPTH])
            truncated = self.length >= self._max_episode_steps
            self.end = "truncated" if truncated else ""
        return GameStep(reward, status != _RUNNING, truncated)

    def _answer(self) -> bool:
        """Give the answers that NLE gives by itself; True if the game is over."""
        game = self._nethack
        while not game.done():
            _, asks, wants_text, shows_more, *_ = self._internal.tolist()
            if shows_more:
                game.step(base.ASCII_SPACE)
            elif wants_text:
                game.step(base.ASCII_ESC)
            elif asks and not any(text in self._message.tobytes() for text in base.SKIP_EXCEPTIONS):
                game.step(base.ASCII_ESC)
                return bool(game.done())
            else:
                return False
        return True

    def _observe(self) -> list[Any]:
        """The frame in NLE's order: its own arrays, but copies of those whose last values rewards read."""
        frame: list[Any] = list(self._env.nethack._obs)
        frame[self._env._blstats_index] = self._blstats.tolist()
        frame[self._env._internal_index] = self._internal.tolist()
        return frame

    @property
    def score(self) -> int:
        """In-game score of the last living frame."""
        return self._living[nh.NLE_BL_SCORE]

    @property
    def turns(self) -> int:
        """Game turn of the last living frame."""
        return self._living[nh.NLE_BL_TIME]

    def close(self) -> None:
        """Release the game."""
        self._env.close()
