"""One game of NetHack with NLE 1.3.0's traps fixed.

NLE blanks the observation at the end of a game, reports its own step limit as a death, uses a seed for one
reset only, and copies every observation it is asked for. Here the last living frame is kept, the limit is
ours and truncates, every game is seeded before it starts, and the game writes into the caller's arrays.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from nle import nethack as nh
from nle.env import tasks

from tedg.envs.frames import FRAME_KEYS
from tedg.envs.messages import NUM_ACTIONS

TASKS: tuple[str, ...] = (
    *("NetHackScore", "NetHackStaircase", "NetHackStaircasePet", "NetHackOracle"),
    *("NetHackGold", "NetHackEat", "NetHackScout"),
)
logging.getLogger("nle").setLevel(logging.WARNING)  # it reports, once per game, that it saves no recordings
_NO_LIMIT = 10**9  # NLE's own step limit, out of reach
_SUCCESS = 2  # NLE's StepStatus.TASK_SUCCESSFUL


@dataclass(frozen=True, slots=True)
class GameStep:
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
        self._bind(row)
        self._max_episode_steps = max_episode_steps
        self._blstats = row["blstats"]
        self._living = self._blstats  # blstats of the last living frame
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

    def start(self, seed: int) -> None:
        """Begin the game that `seed` names; its first frame is in the row."""
        self._env.seed(seed, seed, reseed=False)
        self._env.reset()
        self._living = self._blstats
        self.seed = seed
        self.length = 0
        self.episode_return = 0.0
        self.depth = int(self._blstats[nh.NLE_BL_DEPTH])
        self.end = ""

    def step(self, action: int) -> GameStep:
        """Take an action (0..22); the next frame is in the row."""
        before = self._blstats.copy()
        _, reward, terminated, _, info = self._env.step(action)
        self.length += 1
        self.episode_return += reward
        truncated = False
        if terminated:
            self._living = before
            self.end = "success" if info["end_status"] == _SUCCESS or info["is_ascended"] else "death"
        else:
            self.depth = max(self.depth, int(self._blstats[nh.NLE_BL_DEPTH]))
            truncated = self.length >= self._max_episode_steps
            self.end = "truncated" if truncated else ""
        return GameStep(float(reward), bool(terminated), truncated)

    @property
    def score(self) -> int:
        """In-game score of the last living frame."""
        return int(self._living[nh.NLE_BL_SCORE])

    @property
    def turns(self) -> int:
        """Game turn of the last living frame."""
        return int(self._living[nh.NLE_BL_TIME])

    def close(self) -> None:
        """Release the game."""
        self._env.close()
