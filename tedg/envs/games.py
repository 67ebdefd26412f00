"""The games of a batch, stepped together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from nle import nethack as nh

from tedg.envs.frames import Frames
from tedg.envs.glyphs import STONE
from tedg.envs.nethack import NetHackGame
from tedg.envs.observation import EpisodeEnd
from tedg.envs.rewards import EXPLORED, HUNGER, INTERNAL, TASKS, judge, unsettled


class Games:
    """Games of one task that write their frames into the rows of `frames`; B of them.

    Rewards and ends are NLE's, but for the step limit: it truncates and leaves the game's row alive. After a
    terminating step the row is zero. `episodes` [B] of dtype EPISODE tell how far each game is. `playing` [B]
    is True for a game while NetHack's own code runs for it. Raises ValueError if `task` is not one of TASKS.
    """

    def __init__(
        self,
        task: str,
        max_episode_steps: int,
        frames: Frames,
        episodes: npt.NDArray[np.void],
        playing: npt.NDArray[np.bool_],
        exploration_bonus: float = 0.0,
    ) -> None:
        if task not in TASKS:
            raise ValueError(f"task is {task!r}, must be one of {', '.join(TASKS)}")
        num_envs = len(playing)
        self._task = TASKS[task]
        self._max_episode_steps = max_episode_steps
        self._exploration_bonus = exploration_bonus
        self._frames = frames
        self._playing = playing
        self._internal = np.zeros((num_envs, INTERNAL), np.int32)
        self._over = np.zeros(num_envs, np.bool_)
        self._episodes = episodes
        self._explored = np.zeros((num_envs, *EXPLORED), np.int16)
        self._games = [
            NetHackGame(task, frames.row(row) | {"internal": self._internal[row]}) for row in range(num_envs)
        ]

    def start(self, row: int, number: int, seed: int) -> None:
        """Begin game `number` of a plan, the one that `seed` names; its first frame is in the row."""
        episodes = self._episodes
        episodes[row] = 0
        self._explored[row] = 0
        episodes["number"][row] = number  # known even if NetHack does not survive the start
        episodes["seed"][row] = seed
        self._playing[row] = True
        self._games[row].start(seed)
        self._playing[row] = False
        episodes["blstats"][row] = self._frames.blstats[row]
        episodes["depth"][row] = self._frames.blstats[row, nh.NLE_BL_DEPTH]
        episodes["hunger"][row] = self._internal[row, HUNGER]
        if self._exploration_bonus > 0:  # nobody had to look for what is seen at the start
            now = self._frames.blstats[row]
            place = row, now[nh.NLE_BL_DNUM], now[nh.NLE_BL_DLEVEL]
            self._explored[place] = np.count_nonzero(self._frames.glyphs[row] != STONE)

    def step(
        self,
        rows: npt.NDArray[np.int64],
        actions: npt.NDArray[np.int64],
        reward: npt.NDArray[np.float32],
        terminated: npt.NDArray[np.bool_],
        truncated: npt.NDArray[np.bool_],
    ) -> None:
        """Take an action (0..22) in the games `rows`; their frames are in the rows of `frames` then.

        `actions` [B] and the arrays to fill, [B] too, are those of all games. All games press their keys
        before any is judged, because NetHack's code and Python's do not fit into the caches together.
        """
        games, playing, over = self._games, self._playing, self._over
        for row, action in zip(rows.tolist(), actions[rows].tolist(), strict=True):
            playing[row] = True
            games[row].press(action)
            playing[row] = False
        frames, task = self._frames, self._task
        unsettled(rows, frames.blstats, self._internal, over)  # one game in twenty; `answer` is slow
        for row in over.nonzero()[0].tolist():
            playing[row] = True
            over[row] = games[row].answer()
            playing[row] = False
        judge(
            rows,
            task.reward,
            task.on_stairs,
            task.first_glyph,
            task.last_glyph,
            self._max_episode_steps,
            self._exploration_bonus,
            frames.glyphs,
            frames.blstats,
            self._internal,
            over,
            self._episodes,
            self._explored,
            reward,
            terminated,
            truncated,
        )
        for row in rows[terminated[rows] & ~over[rows]].tolist():
            playing[row] = True
            games[row].quit()
            playing[row] = False

    def end(self, row: int, env: int) -> EpisodeEnd:
        """How the episode of a row went, which ended in the last step, as that of environment `env`."""
        episode, over = self._episodes[row], self._over[row]
        if episode["aimed"] or (over and self._games[row].ascended):
            return episode_end(episode, env, "success")
        if over:
            return episode_end(episode, env, "death", self._games[row].how)
        return episode_end(episode, env, "truncated")

    def close(self) -> None:
        """Release every game."""
        for game in self._games:
            game.close()
        self._games = []


def episode_end(episode: np.void, env: int, end: str, cause: str = "") -> EpisodeEnd:
    """What a record of dtype EPISODE tells of its episode, which ended as `end` says."""
    return EpisodeEnd(
        env=env,
        seed=int(episode["seed"]),
        length=int(episode["length"]),
        episode_return=float(episode["episode_return"]),
        score=float(episode["blstats"][nh.NLE_BL_SCORE]),
        depth=int(episode["depth"]),
        turns=int(episode["blstats"][nh.NLE_BL_TIME]),
        end=end,
        cause=cause,
    )
