"""One pass over each map: what lies around and under the hero, what is in sight, and the coarse overview.

Compiled by numba: the map has 1,659 cells, and a pass in numpy operations costs ten times as much.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from nle.nethack import NLE_BL_DLEVEL, NLE_BL_DNUM, NLE_BL_TIME, NLE_BL_X, NLE_BL_Y

from tedg.envs.compiled import kernel, kernel_part
from tedg.envs.frames import MAP_COLUMNS, MAP_ROWS
from tedg.envs.glyphs import CODES, GLYPH_CATEGORIES, GLYPH_DIFFICULTY, GLYPH_TERRAIN, NUM_TERRAIN_CLASSES

CROP = 9  # side of the egocentric crop
BLOCK_ROWS, BLOCK_COLUMNS = 3, 4
OVERVIEW_SHAPE = (7, 20, NUM_TERRAIN_CLASSES)  # covers 21 x 80 cells
GO_UP, GO_DOWN = 17, 18  # actions
NEVER = -(10**6)  # turn of birth of a corpse that nobody saw fall

# Steps of actions 1..8 of NetHackScore: N E S W NE SE SW NW.
DIRECTION_ROWS = np.array([-1, 0, 1, 0, -1, 1, 1, -1])
DIRECTION_COLUMNS = np.array([0, 1, 0, -1, 1, 1, -1, -1])

# What `nearest` tells the offset of: the closest cell of the kind, by the number of king's moves.
LANDMARKS: tuple[str, ...] = ("hostile", "stairs_down", "frontier", "pickup")
HOSTILE, STAIRS_DOWN, FRONTIER, PICKUP = range(len(LANDMARKS))


class MapMemory(NamedTuple):
    """What is remembered of each game's current level; the map shows only what lies on top."""

    level: npt.NDArray[np.int64]  # [B] dungeon and level in one number; -1 before an episode's first frame
    background: npt.NDArray[np.int16]  # [B, 21, 79] last glyph in each cell that was no creature
    born: npt.NDArray[np.int32]  # [B, 21, 79] turn in which the corpse in the cell fell, or NEVER
    visits: npt.NDArray[np.uint8]  # [B, 21, 79] arrivals of the hero, at most 255
    place: npt.NDArray[np.int64]  # [B] the hero's cell in the previous frame

    @classmethod
    def allocate(cls, num_envs: int) -> MapMemory:
        """Memories of games that have not begun."""
        shape = (num_envs, MAP_ROWS, MAP_COLUMNS)
        return cls(
            level=np.full(num_envs, -1, np.int64),
            background=np.zeros(shape, np.int16),
            born=np.full(shape, NEVER, np.int32),
            visits=np.zeros(shape, np.uint8),
            place=np.zeros(num_envs, np.int64),
        )

    def forget(self, env: int) -> None:
        """Begin a new game; the next scan finds a new level and clears the maps."""
        self.level[env] = -1


class Scan(NamedTuple):
    """What one pass over the maps finds."""

    new_level: npt.NDArray[np.bool_]  # [B] another level than in the frame before; true on the first frame
    hostiles: npt.NDArray[np.int64]  # [B] cells with a hostile monster
    hostile_near: npt.NDArray[np.bool_]  # [B] a hostile within 3 cells
    hostile_inline: npt.NDArray[np.bool_]  # [B] a hostile within 8 cells on a line with the hero
    tough_hostile: npt.NDArray[np.bool_]  # [B] a hostile of difficulty 8 or more
    difficulty_seen: npt.NDArray[np.int64]  # [B] the largest difficulty of a hostile
    difficulty_adjacent: npt.NDArray[np.int64]  # [B] the same among the eight neighbours
    open_frontier: npt.NDArray[np.bool_]  # [B] a corridor breaks off, or a door opens on cells never seen
    known_cells: npt.NDArray[np.int64]  # [B] cells that were seen
    walkable_neighbours: npt.NDArray[np.int64]  # [B] of eight
    corpse_age: npt.NDArray[np.int64]  # [B] turns since the corpse under the hero fell; huge if unknown
    neighbours: npt.NDArray[np.uint64]  # [B, 8] categories of the cells in the directions of actions 1..8
    under: npt.NDArray[np.uint64]  # [B] categories of what lies under the hero
    in_sight: npt.NDArray[np.uint64]  # [B] union of the categories on the map, the hero's cell left out
    hostile_dirs: npt.NDArray[np.bool_]  # [B, 8] hostile neighbours
    trodden: npt.NDArray[np.float32]  # [B, 8] v / (v + 2) after v visits of the neighbour; 1 where blocked
    nearest: npt.NDArray[
        np.int64
    ]  # [B, 4, 3] distance, rows, columns to each of LANDMARKS; distance -1: none
    overview: npt.NDArray[np.uint8]  # [B, 7, 20, C] cells of each terrain class in every 3 x 4 block
    crop: npt.NDArray[np.int16]  # [B, 9, 9] glyphs around the hero; STONE outside the map

    @classmethod
    def allocate(cls, num_envs: int) -> Scan:
        """Arrays for `scan_maps` to fill."""
        flags = [np.zeros(num_envs, np.bool_) for _ in range(5)]
        counts = [np.zeros(num_envs, np.int64) for _ in range(6)]
        return cls(
            new_level=flags[0],
            hostile_near=flags[1],
            hostile_inline=flags[2],
            tough_hostile=flags[3],
            open_frontier=flags[4],
            hostiles=counts[0],
            difficulty_seen=counts[1],
            difficulty_adjacent=counts[2],
            known_cells=counts[3],
            walkable_neighbours=counts[4],
            corpse_age=counts[5],
            neighbours=np.zeros((num_envs, 8), np.uint64),
            under=np.zeros(num_envs, np.uint64),
            in_sight=np.zeros(num_envs, np.uint64),
            hostile_dirs=np.zeros((num_envs, 8), np.bool_),
            trodden=np.zeros((num_envs, 8), np.float32),
            nearest=np.zeros((num_envs, len(LANDMARKS), 3), np.int64),
            overview=np.zeros((num_envs, *OVERVIEW_SHAPE), np.uint8),
            crop=np.zeros((num_envs, CROP, CROP), np.int16),
        )


def scan_maps(
    rows: npt.NDArray[np.int64],
    glyphs: npt.NDArray[np.int16],
    blstats: npt.NDArray[np.int64],
    actions: npt.NDArray[np.int64],
    memory: MapMemory,
    scan: Scan,
) -> None:
    """Scan the maps named by `rows`: update `memory` and fill the same rows of `scan`.

    glyphs [B, 21, 79], blstats [B, 27], actions [B] that led to these frames.
    """
    tables = (GLYPH_CATEGORIES, GLYPH_TERRAIN, GLYPH_DIFFICULTY, CODES)
    _scan_maps(rows, glyphs, blstats, actions, memory, scan, *tables)


@kernel
def _scan_maps(
    rows: npt.NDArray[np.int64],
    all_glyphs: npt.NDArray[np.int16],
    blstats: npt.NDArray[np.int64],
    actions: npt.NDArray[np.int64],
    memory: MapMemory,
    scan: Scan,
    categories: npt.NDArray[np.uint64],
    terrain: npt.NDArray[np.uint8],
    difficulty: npt.NDArray[np.uint8],
    codes: Any,
) -> None:
    for r in rows:
        now, glyphs, near = blstats[r], all_glyphs[r], scan.nearest[r]
        background, born, visits = memory.background[r], memory.born[r], memory.visits[r]
        y, x, turn = now[NLE_BL_Y], now[NLE_BL_X], now[NLE_BL_TIME]
        near[:] = 0
        near[:, 0] = -1

        key = now[NLE_BL_DNUM] * 64 + now[NLE_BL_DLEVEL]
        arrived = key != memory.level[r]
        followed = arrived and memory.level[r] >= 0
        memory.level[r] = key
        if arrived:
            background[:] = codes.stone
            visits[:] = 0
        scan.new_level[r] = arrived
        place = y * MAP_COLUMNS + x
        if arrived or place != memory.place[r]:
            visits[y, x] = min(visits[y, x] + 1, 255)
        memory.place[r] = place

        _survey(r, glyphs, y, x, turn, memory, categories, terrain, difficulty, codes, scan)

        # Stairs just taken lie under the hero, who hides them.
        if followed and actions[r] == GO_DOWN:
            background[y, x] = codes.stairs_up
        if followed and actions[r] == GO_UP:
            background[y, x] = codes.stairs_down
        beneath = background[y, x]
        scan.under[r] = categories[beneath]
        scan.corpse_age[r] = turn - born[y, x]
        if (categories[beneath] & codes.DOWN) != 0:
            near[STAIRS_DOWN] = 0
        block = scan.overview[r, y // BLOCK_ROWS, x // BLOCK_COLUMNS]
        block[0] -= 1
        block[codes.floor_class if beneath == codes.stone else terrain[beneath]] += 1

        _look_around(r, glyphs, y, x, visits, categories, difficulty, codes, scan)
        reach = CROP // 2
        for i in range(CROP):
            for j in range(CROP):
                scan.crop[r, i, j] = _glyph_at(glyphs, y + i - reach, x + j - reach, codes.stone)


@kernel_part
def _survey(
    r: int,
    glyphs: npt.NDArray[np.int16],
    y0: int,
    x0: int,
    turn: int,
    memory: MapMemory,
    categories: npt.NDArray[np.uint64],
    terrain: npt.NDArray[np.uint8],
    difficulty: npt.NDArray[np.uint8],
    codes: Any,
    scan: Scan,
) -> None:
    """Visit every seen cell of game r but the hero's, at (y0, x0)."""
    background, born, visits = memory.background[r], memory.born[r], memory.visits[r]
    near, overview = scan.nearest[r], scan.overview[r]
    hostiles = known_cells = worst = 0
    hostile_near = hostile_inline = tough = open_frontier = False
    overview[:] = 0
    overview[:, :, 0] = BLOCK_ROWS * BLOCK_COLUMNS
    overview[:, -1, 0] = BLOCK_ROWS * (BLOCK_COLUMNS - 1)  # 79 columns: the last block is one short
    in_sight = np.uint64(0)
    for y in range(MAP_ROWS):
        blank = True
        for x in range(MAP_COLUMNS):
            blank &= glyphs[y, x] == codes.stone
        if blank:  # most rows are, early on, and this test is vectorised
            continue
        for x in range(MAP_COLUMNS):
            glyph = glyphs[y, x]
            if glyph == codes.stone or (y == y0 and x == x0):
                continue
            bits = categories[glyph]
            in_sight |= bits
            known_cells += 1
            block = overview[y // BLOCK_ROWS, x // BLOCK_COLUMNS]
            block[0] -= 1
            block[terrain[glyph]] += 1
            dy, dx = y - y0, x - x0

            if (bits & codes.COVERS_TERRAIN) == 0:
                is_body = (bits & codes.BODY) != 0
                if is_body and glyph != background[y, x]:  # it fell now if the cell was known to be without
                    born[y, x] = turn if background[y, x] != codes.stone else NEVER
                background[y, x] = glyph
            elif (bits & codes.MONSTER_LIKE) != 0 and (bits & codes.PEACE) == 0:
                distance = max(abs(dy), abs(dx))
                in_line = dy == 0 or dx == 0 or abs(dy) == abs(dx)
                hostiles += 1
                hostile_near |= distance <= 3
                hostile_inline |= in_line and distance <= 8
                tough |= (bits & codes.TOUGH) != 0
                worst = max(worst, difficulty[glyph])
                _closer(near, HOSTILE, dy, dx)

            if (bits & codes.DOWN) != 0:
                _closer(near, STAIRS_DOWN, dy, dx)
            if (bits & codes.AUTOPICKUP) != 0:
                _closer(near, PICKUP, dy, dx)
            if (bits & codes.WALKABLE) != 0 and (bits & codes.BOULDER) == 0:
                edge = _beside_unseen(glyphs, y, x, codes.stone)
                if edge and visits[y, x] == 0:
                    _closer(near, FRONTIER, dy, dx)
                if (bits & (codes.NDOOR | codes.ODOOR)) != 0:
                    open_frontier |= edge
                elif (bits & codes.CORR) != 0 and not open_frontier:
                    open_frontier |= _ways(glyphs, y, x, y0, x0, categories, codes) <= 1
    scan.in_sight[r] = in_sight
    scan.known_cells[r] = known_cells
    scan.hostiles[r] = hostiles
    scan.hostile_near[r] = hostile_near
    scan.hostile_inline[r] = hostile_inline
    scan.tough_hostile[r] = tough
    scan.difficulty_seen[r] = worst
    scan.open_frontier[r] = open_frontier


@kernel_part
def _look_around(
    r: int,
    glyphs: npt.NDArray[np.int16],
    y0: int,
    x0: int,
    visits: npt.NDArray[np.uint8],
    categories: npt.NDArray[np.uint64],
    difficulty: npt.NDArray[np.uint8],
    codes: Any,
    scan: Scan,
) -> None:
    """The eight cells around the hero, in the order of actions 1..8; outside the map is stone."""
    worst = ways = 0
    for k in range(8):
        y, x = y0 + DIRECTION_ROWS[k], x0 + DIRECTION_COLUMNS[k]
        glyph = _glyph_at(glyphs, y, x, codes.stone)
        bits = categories[glyph]
        scan.neighbours[r, k] = bits
        hostile = (bits & codes.MONSTER_LIKE) != 0 and (bits & codes.PEACE) == 0
        scan.hostile_dirs[r, k] = hostile
        if hostile:
            worst = max(worst, difficulty[glyph])
        way = (bits & (codes.WALKABLE | codes.PET)) != 0 and (bits & codes.BOULDER) == 0
        ways += way
        if way or hostile:
            scan.trodden[r, k] = visits[y, x] / (visits[y, x] + 2.0)
        else:
            scan.trodden[r, k] = 0.0 if (bits & (codes.STONE | codes.CDOOR)) != 0 else 1.0
    scan.difficulty_adjacent[r] = worst
    scan.walkable_neighbours[r] = ways


@kernel_part
def _glyph_at(glyphs: npt.NDArray[np.int16], y: int, x: int, stone: int) -> int:
    return glyphs[y, x] if 0 <= y < MAP_ROWS and 0 <= x < MAP_COLUMNS else stone


@kernel_part
def _beside_unseen(glyphs: npt.NDArray[np.int16], y: int, x: int, stone: int) -> bool:
    """Is a cell above, below, left or right of (y, x) on the map and unseen?"""
    return (
        (y > 0 and glyphs[y - 1, x] == stone)
        or (y < MAP_ROWS - 1 and glyphs[y + 1, x] == stone)
        or (x > 0 and glyphs[y, x - 1] == stone)
        or (x < MAP_COLUMNS - 1 and glyphs[y, x + 1] == stone)
    )


@kernel_part
def _ways(
    glyphs: npt.NDArray[np.int16],
    y0: int,
    x0: int,
    hero_y: int,
    hero_x: int,
    categories: npt.NDArray[np.uint64],
    codes: Any,
) -> int:
    """Neighbours of (y0, x0) that can be walked on, the hero's cell included."""
    ways = 0
    for k in range(8):
        y, x = y0 + DIRECTION_ROWS[k], x0 + DIRECTION_COLUMNS[k]
        bits = categories[_glyph_at(glyphs, y, x, codes.stone)]
        open_way = (bits & (codes.WALKABLE | codes.PET | codes.MONSTER_LIKE)) != 0
        ways += (y == hero_y and x == hero_x) or (open_way and (bits & codes.BOULDER) == 0)
    return ways


@kernel_part
def _closer(near: npt.NDArray[np.int64], landmark: int, dy: int, dx: int) -> None:
    """Keep the offset if nothing nearer of its kind was found before."""
    distance = max(abs(dy), abs(dx))
    if near[landmark, 0] < 0 or distance < near[landmark, 0]:
        near[landmark, 0], near[landmark, 1], near[landmark, 2] = distance, dy, dx
