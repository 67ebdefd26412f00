"""One pass over each map: what lies around and under the hero, what is in sight, and the coarse overview.

Compiled by numba: the map has 1,659 cells, and a pass in numpy operations costs ten times as much.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from nle.nethack import NLE_BL_DLEVEL, NLE_BL_DNUM, NLE_BL_TIME, NLE_BL_X, NLE_BL_Y

from tedg.compiled import kernel, kernel_part
from tedg.envs.actions import GO_DOWN, GO_UP
from tedg.envs.glyphs import (
    BIT,
    GLYPH_CATEGORIES,
    GLYPH_DIFFICULTY,
    GLYPH_TERRAIN,
    STAIRS_DOWN,
    STAIRS_UP,
    STONE,
    TERRAIN_CLASSES,
)
from tedg.envs.sizes import BLOCK_COLUMNS, BLOCK_ROWS, CROP, MAP_COLUMNS, MAP_ROWS
from tedg.envs.ways import (
    DIRECTION_COLUMNS,
    DIRECTION_ROWS,
    HOSTILE,
    LANDMARKS,
    PICKUP,
    WAY_DOWN,
    find_ways,
    note_arrival,
)

_FLOOR = TERRAIN_CLASSES.index("floor")
NEVER = -(10**6)  # turn of birth of a corpse that nobody saw fall


# One record per game, since a call of a compiled function takes time for every array that it is given.
# What is remembered of the game's current level; the map shows only what lies on top.
MEMORY = np.dtype(
    [
        ("level", np.int64),  # dungeon and level in one number; -1 before an episode's first frame
        ("place", np.int64),  # the hero's cell in the previous frame
        ("born", np.int32, (MAP_ROWS, MAP_COLUMNS)),  # turn in which the corpse in the cell fell, or NEVER
        ("background", np.int16, (MAP_ROWS, MAP_COLUMNS)),  # last glyph in each cell that was no creature
        ("visits", np.uint8, (MAP_ROWS, MAP_COLUMNS)),  # how often the hero came there, at most 255
        ("reached", np.uint8, (MAP_ROWS, MAP_COLUMNS)),  # 1 where it was, and beside that
    ],
    align=True,
)
# What one pass over the map finds.
SCAN = np.dtype(
    [
        ("new_level", np.bool_),  # another level than in the frame before; true on the first frame
        ("hostile_near", np.bool_),  # a hostile within 3 cells
        ("hostile_inline", np.bool_),  # a hostile within 8 cells on a line with the hero
        ("tough_hostile", np.bool_),  # a hostile of difficulty 8 or more
        ("open_frontier", np.bool_),  # a corridor breaks off, or a door opens on cells never seen
        ("hostiles", np.int64),  # cells with a hostile monster
        ("difficulty_seen", np.int64),  # the largest difficulty of a hostile
        ("difficulty_adjacent", np.int64),  # the same among the eight neighbours
        ("known_cells", np.int64),  # cells that were seen
        ("walkable_neighbours", np.int64),  # of eight
        ("corpse_age", np.int64),  # turns since the corpse under the hero fell; huge if unknown
        ("under", np.uint64),  # categories of what lies under the hero
        ("in_sight", np.uint64),  # union of the categories on the map, the hero's cell left out
        ("neighbours", np.uint64, 8),  # categories of the cells in the directions of actions 1..8
        ("trodden", np.float32, 8),  # v / (v + 2) after v visits of the neighbour; 1 where blocked
        ("nearest", np.int64, (len(LANDMARKS), 3)),  # moves, rows, columns to each; moves -1: none
    ],
    align=True,
)


def map_memory(num_envs: int) -> npt.NDArray[np.void]:
    """Memories [B] of games that have not begun."""
    memory = np.zeros(num_envs, MEMORY)
    memory["level"], memory["born"] = -1, NEVER
    return memory


def scan_maps(
    rows: npt.NDArray[np.int64],
    glyphs: npt.NDArray[np.int16],
    blstats: npt.NDArray[np.int64],
    actions: npt.NDArray[np.int64],
    memory: npt.NDArray[np.void],
    scan: npt.NDArray[np.void],
    hostile_dirs: npt.NDArray[np.bool_],
    overview: npt.NDArray[np.uint8],
    crop: npt.NDArray[np.int16],
) -> None:
    """Scan the maps named by `rows`: update `memory` [B] and fill the same rows of everything after it.

    glyphs [B, 21, 79], blstats [B, 27], actions [B] that led to these frames; for the rest see `View`.
    Setting a record's level to -1 begins a new game: the next scan finds a new level and clears the maps.
    """
    _scan_maps(
        rows,
        glyphs,
        blstats,
        actions,
        memory,
        scan,
        hostile_dirs,
        overview,
        crop,
        GLYPH_CATEGORIES,
        GLYPH_TERRAIN,
        GLYPH_DIFFICULTY,
    )


@kernel
def _scan_maps(
    rows: npt.NDArray[np.int64],
    all_glyphs: npt.NDArray[np.int16],
    blstats: npt.NDArray[np.int64],
    actions: npt.NDArray[np.int64],
    memory: npt.NDArray[np.void],
    scan: npt.NDArray[np.void],
    hostile_dirs: npt.NDArray[np.bool_],
    overview: npt.NDArray[np.uint8],
    crop: npt.NDArray[np.int16],
    categories: npt.NDArray[np.uint64],
    terrain: npt.NDArray[np.uint8],
    difficulty: npt.NDArray[np.uint8],
) -> None:
    for r in rows:
        now, glyphs, kept, found = blstats[r], all_glyphs[r], memory[r], scan[r]
        y, x, turn = now[NLE_BL_Y], now[NLE_BL_X], now[NLE_BL_TIME]
        near = found.nearest
        near[:] = 0
        near[:, 0] = -1

        key = now[NLE_BL_DNUM] * 64 + now[NLE_BL_DLEVEL]
        arrived = key != kept.level
        followed = arrived and kept.level >= 0
        kept.level = key
        if arrived:
            kept.background[:] = STONE
            kept.visits[:] = 0
            kept.reached[:] = 0
        found.new_level = arrived
        note_arrival(kept, y, x, arrived)

        _survey(glyphs, y, x, turn, kept, categories, terrain, difficulty, found, overview[r])

        # Stairs just taken lie under the hero, who hides them.
        if followed and actions[r] == GO_DOWN:
            kept.background[y, x] = STAIRS_UP
        if followed and actions[r] == GO_UP:
            kept.background[y, x] = STAIRS_DOWN
        beneath = kept.background[y, x]
        found.under = categories[beneath]
        found.corpse_age = turn - kept.born[y, x]
        # What no known way leads to lies where `_survey` says, straight ahead.
        find_ways(glyphs, y, x, found.under, kept.reached, categories, near)
        if (categories[beneath] & BIT.DOWN) != 0:
            near[WAY_DOWN] = 0
        block = overview[r, y // BLOCK_ROWS, x // BLOCK_COLUMNS]
        block[0] -= 1
        block[_FLOOR if beneath == STONE else terrain[beneath]] += 1

        _look_around(glyphs, y, x, kept.visits, categories, difficulty, found, hostile_dirs[r])
        reach = CROP // 2
        for i in range(CROP):
            for j in range(CROP):
                crop[r, i, j] = _glyph_at(glyphs, y + i - reach, x + j - reach)


@kernel_part
def _survey(
    glyphs: npt.NDArray[np.int16],
    y0: int,
    x0: int,
    turn: int,
    kept: Any,
    categories: npt.NDArray[np.uint64],
    terrain: npt.NDArray[np.uint8],
    difficulty: npt.NDArray[np.uint8],
    found: Any,
    overview: npt.NDArray[np.uint8],
) -> None:
    """Visit every seen cell of a game but the hero's, at (y0, x0)."""
    background, born, near = kept.background, kept.born, found.nearest
    hostiles = known_cells = worst = 0
    hostile_near = hostile_inline = tough = open_frontier = False
    overview[:] = 0
    overview[:, :, 0] = BLOCK_ROWS * BLOCK_COLUMNS
    overview[:, -1, 0] = BLOCK_ROWS * (BLOCK_COLUMNS - 1)  # 79 columns: the last block is one short
    in_sight = np.uint64(0)
    for y in range(MAP_ROWS):
        blank = True
        for x in range(MAP_COLUMNS):
            blank &= glyphs[y, x] == STONE
        if blank:  # most rows are, early on, and this test is vectorised
            continue
        for x in range(MAP_COLUMNS):
            glyph = glyphs[y, x]
            if glyph == STONE or (y == y0 and x == x0):
                continue
            bits = categories[glyph]
            in_sight |= bits
            known_cells += 1
            block = overview[y // BLOCK_ROWS, x // BLOCK_COLUMNS]
            block[0] -= 1
            block[terrain[glyph]] += 1
            dy, dx = y - y0, x - x0

            if (bits & BIT.COVERS_TERRAIN) == 0:
                is_body = (bits & BIT.BODY) != 0
                if is_body and glyph != background[y, x]:  # it fell now if the cell was known to be without
                    born[y, x] = turn if background[y, x] != STONE else NEVER
                background[y, x] = glyph
            elif (bits & BIT.MONSTER_LIKE) != 0 and (bits & BIT.PEACE) == 0:
                distance = max(abs(dy), abs(dx))
                in_line = dy == 0 or dx == 0 or abs(dy) == abs(dx)
                hostiles += 1
                hostile_near |= distance <= 3
                hostile_inline |= in_line and distance <= 8
                tough |= (bits & BIT.TOUGH) != 0
                worst = max(worst, difficulty[glyph])
                _closer(near, HOSTILE, dy, dx)

            if (bits & BIT.DOWN) != 0:
                _closer(near, WAY_DOWN, dy, dx)
            if (bits & BIT.AUTOPICKUP) != 0:
                _closer(near, PICKUP, dy, dx)
            if (bits & BIT.WALKABLE) != 0 and (bits & BIT.BOULDER) == 0:
                if (bits & (BIT.NDOOR | BIT.ODOOR)) != 0:
                    open_frontier |= _beside_unseen(glyphs, y, x)
                elif (bits & BIT.CORR) != 0 and not open_frontier:
                    open_frontier |= _is_end(glyphs, y, x, y0, x0, categories)
    found.in_sight = in_sight
    found.known_cells = known_cells
    found.hostiles = hostiles
    found.hostile_near = hostile_near
    found.hostile_inline = hostile_inline
    found.tough_hostile = tough
    found.difficulty_seen = worst
    found.open_frontier = open_frontier


@kernel_part
def _look_around(
    glyphs: npt.NDArray[np.int16],
    y0: int,
    x0: int,
    visits: npt.NDArray[np.uint8],
    categories: npt.NDArray[np.uint64],
    difficulty: npt.NDArray[np.uint8],
    found: Any,
    hostile_dirs: npt.NDArray[np.bool_],
) -> None:
    """The eight cells around the hero, in the order of actions 1..8; outside the map is stone."""
    worst = ways = 0
    for k in range(8):
        y, x = y0 + DIRECTION_ROWS[k], x0 + DIRECTION_COLUMNS[k]
        glyph = _glyph_at(glyphs, y, x)
        bits = categories[glyph]
        found.neighbours[k] = bits
        hostile = (bits & BIT.MONSTER_LIKE) != 0 and (bits & BIT.PEACE) == 0
        hostile_dirs[k] = hostile
        if hostile:
            worst = max(worst, difficulty[glyph])
        way = (bits & (BIT.WALKABLE | BIT.PET)) != 0 and (bits & BIT.BOULDER) == 0
        ways += way
        if way or hostile:
            found.trodden[k] = visits[y, x] / (visits[y, x] + 2.0)
        else:
            found.trodden[k] = 0.0 if (bits & (BIT.STONE | BIT.CDOOR)) != 0 else 1.0
    found.difficulty_adjacent = worst
    found.walkable_neighbours = ways


@kernel_part
def _glyph_at(glyphs: npt.NDArray[np.int16], y: int, x: int) -> int:
    return glyphs[y, x] if 0 <= y < MAP_ROWS and 0 <= x < MAP_COLUMNS else STONE


@kernel_part
def _beside_unseen(glyphs: npt.NDArray[np.int16], y: int, x: int) -> bool:
    """Is a cell above, below, left or right of (y, x) on the map and unseen?"""
    return (
        (y > 0 and glyphs[y - 1, x] == STONE)
        or (y < MAP_ROWS - 1 and glyphs[y + 1, x] == STONE)
        or (x > 0 and glyphs[y, x - 1] == STONE)
        or (x < MAP_COLUMNS - 1 and glyphs[y, x + 1] == STONE)
    )


@kernel_part
def _is_end(
    glyphs: npt.NDArray[np.int16],
    y0: int,
    x0: int,
    hero_y: int,
    hero_x: int,
    categories: npt.NDArray[np.uint64],
) -> bool:
    """Can at most one neighbour of (y0, x0) be walked on, the hero's cell included?"""
    ways = 0
    for k in range(8):
        y, x = y0 + DIRECTION_ROWS[k], x0 + DIRECTION_COLUMNS[k]
        bits = categories[_glyph_at(glyphs, y, x)]
        open_way = (bits & (BIT.WALKABLE | BIT.PET | BIT.MONSTER_LIKE)) != 0
        ways += (y == hero_y and x == hero_x) or (open_way and (bits & BIT.BOULDER) == 0)
        if ways > 1:
            return False
    return True


@kernel_part
def _closer(near: npt.NDArray[np.int64], landmark: int, dy: int, dx: int) -> None:
    """Keep the offset if nothing nearer of its kind was found before."""
    distance = max(abs(dy), abs(dx))
    if near[landmark, 0] < 0 or distance < near[landmark, 0]:
        near[landmark, 0], near[landmark, 1], near[landmark, 2] = distance, dy, dx
