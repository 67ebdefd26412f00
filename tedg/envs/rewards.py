"""The rewards and aims of NLE 1.3.0's tasks (nle/env/tasks.py), for a batch of games at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from nle import nethack as nh

from tedg.compiled import kernel, kernel_part
from tedg.envs.frames import BLSTATS
from tedg.envs.glyphs import NUM_MONSTERS, PET_OFFSET, STONE

INTERNAL = 9  # length of NLE's observation of that name
ASKS, WANTS_TEXT, SHOWS_MORE, ON_STAIRS_DOWN, HUNGER = 1, 2, 3, 4, 7  # what is where in it
_IDLE = -0.01  # NLE's penalty for a step in which no game time passes


# What a task rewards: points of the in-game score, reaching its aim (which ends the game) by 1, pieces of
# gold, nutrition when it grows, or cells newly seen.
SCORE, AIM, GOLD, NUTRITION, EXPLORATION = range(5)


class Task(NamedTuple):
    """One of NLE's tasks. The aim is to stand on stairs down, or beside a glyph of a range, or both."""

    reward: int = AIM
    on_stairs: bool = False
    first_glyph: int = 1  # none if it is above the last
    last_glyph: int = 0


_ORACLE = next(number for number in range(NUM_MONSTERS) if nh.permonst(number).mname == "Oracle")
TASKS: dict[str, Task] = {
    "NetHackScore": Task(SCORE),
    "NetHackStaircase": Task(on_stairs=True),
    "NetHackStaircasePet": Task(
        on_stairs=True, first_glyph=PET_OFFSET, last_glyph=PET_OFFSET + NUM_MONSTERS - 1
    ),
    "NetHackOracle": Task(first_glyph=_ORACLE, last_glyph=_ORACLE),
    "NetHackGold": Task(GOLD),
    "NetHackEat": Task(NUTRITION),
    "NetHackScout": Task(EXPLORATION),
}

EXPLORED = (16, 64)  # dungeons and levels, more than NetHack and a dungeon of it have: cells seen of each

# An episode so far, but for what was explored: as much as is passed on after every step.
EPISODE = np.dtype(
    [
        ("number", np.int64),  # in its environment's plan, from 0
        ("seed", np.int64),
        ("length", np.int64),
        ("episode_return", np.float64),
        ("depth", np.int64),  # the deepest level
        ("aimed", np.bool_),  # the aim was reached
        ("hunger", np.int64),  # NetHack's nutrition after the last step
        ("blstats", np.int64, BLSTATS),  # of the last living frame
    ],
    align=True,
)


@kernel
def unsettled(
    rows: npt.NDArray[np.int64],
    blstats: npt.NDArray[np.int64],
    internal: npt.NDArray[np.int32],
    into: npt.NDArray[np.bool_],
) -> None:
    """Tell by their frames which of `rows` may be over or wait for an answer; `into` [B] is False for others.

    blstats [B, 27] and internal [B, 9] are zero once a game is over; a hero has hit points.
    """
    into[:] = False
    for r in rows:
        waits = internal[r, ASKS] != 0 or internal[r, WANTS_TEXT] != 0 or internal[r, SHOWS_MORE] != 0
        into[r] = waits or blstats[r, nh.NLE_BL_HPMAX] == 0


@kernel
def judge(
    rows: npt.NDArray[np.int64],
    kind: int,
    on_stairs: bool,
    first_glyph: int,
    last_glyph: int,
    max_episode_steps: int,
    exploration_bonus: float,
    glyphs: npt.NDArray[np.int16],
    blstats: npt.NDArray[np.int64],
    internal: npt.NDArray[np.int32],
    over: npt.NDArray[np.bool_],
    episodes: npt.NDArray[np.void],
    explored: npt.NDArray[np.int16],
    reward: npt.NDArray[np.float32],
    terminated: npt.NDArray[np.bool_],
    truncated: npt.NDArray[np.bool_],
) -> None:
    """Judge a step of the games `rows`: carry `episodes` [B] and `explored` on and fill those after them.

    `kind` and the three after it are the fields of a `Task`. glyphs [B, 21, 79], blstats [B, 27] and
    internal [B, 9] are the frames that the step led to; `over` [B] are the games that NetHack itself has
    ended, which is a death even where the aim is reached. `exploration_bonus` is added to `reward` for each
    cell of a level that is seen for the first time, and counts in no return.
    """
    for r in rows:
        now, episode = blstats[r], episodes[r]
        episode.aimed = (
            kind == AIM
            and not over[r]
            and (not on_stairs or internal[r, ON_STAIRS_DOWN] != 0)
            and (first_glyph > last_glyph or _beside(glyphs[r], now, first_glyph, last_glyph))
        )
        gain = _reward(kind, glyphs[r], now, internal[r, HUNGER], episode, explored[r])
        episode.length += 1
        episode.episode_return += gain
        bonus = exploration_bonus * _discovered(glyphs[r], now, explored[r]) if exploration_bonus > 0 else 0.0
        reward[r] = gain + bonus
        terminated[r] = over[r] or episode.aimed
        truncated[r] = not terminated[r] and episode.length >= max_episode_steps
        episode.hunger = internal[r, HUNGER]
        if not terminated[r]:
            episode.blstats[:] = now
            episode.depth = max(episode.depth, now[nh.NLE_BL_DEPTH])


@kernel_part
def _reward(
    kind: int,
    glyphs: npt.NDArray[np.int16],
    now: npt.NDArray[np.int64],
    hunger: int,
    episode: Any,
    explored: npt.NDArray[np.int16],
) -> float:
    before = episode.blstats
    penalty = _IDLE if now[nh.NLE_BL_TIME] == before[nh.NLE_BL_TIME] else 0.0
    if kind == AIM:
        return (1.0 if episode.aimed else 0.0) + penalty
    if now[nh.NLE_BL_HPMAX] == 0:  # NLE shows zeros when no game is running
        return penalty if kind == SCORE else 0.0
    if kind == SCORE:
        return now[nh.NLE_BL_SCORE] - before[nh.NLE_BL_SCORE] + penalty
    if kind == GOLD:
        return now[nh.NLE_BL_GOLD] - before[nh.NLE_BL_GOLD] + penalty
    if kind == NUTRITION:
        return max(0, hunger - episode.hunger) + penalty
    seen = _seen(glyphs)
    dungeon, level = now[nh.NLE_BL_DNUM], now[nh.NLE_BL_DLEVEL]
    new = seen - explored[dungeon, level]
    explored[dungeon, level] = seen
    return new + penalty


@kernel_part
def _seen(glyphs: npt.NDArray[np.int16]) -> int:
    seen = 0
    for y in range(glyphs.shape[0]):
        for x in range(glyphs.shape[1]):
            seen += glyphs[y, x] != STONE
    return seen


@kernel_part
def _discovered(
    glyphs: npt.NDArray[np.int16], now: npt.NDArray[np.int64], explored: npt.NDArray[np.int16]
) -> int:
    """Cells by which the hero's level is better known than ever before; `explored` keeps the most."""
    dungeon, level = now[nh.NLE_BL_DNUM], now[nh.NLE_BL_DLEVEL]
    new = _seen(glyphs) - explored[dungeon, level]
    if new <= 0 or now[nh.NLE_BL_HPMAX] == 0:
        return 0
    explored[dungeon, level] += new
    return new


@kernel_part
def _beside(glyphs: npt.NDArray[np.int16], now: npt.NDArray[np.int64], first: int, last: int) -> bool:
    """Is a glyph of the range on the hero's cell or beside it? Never at the map's upper and left edge."""
    hero_y, hero_x = now[nh.NLE_BL_Y], now[nh.NLE_BL_X]
    if hero_y < 1 or hero_x < 1:  # NLE's slice is empty there
        return False
    for y in range(hero_y - 1, min(hero_y + 2, glyphs.shape[0])):
        for x in range(hero_x - 1, min(hero_x + 2, glyphs.shape[1])):
            if first <= glyphs[y, x] <= last:
                return True
    return False
