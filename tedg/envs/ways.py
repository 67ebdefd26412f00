"""Ways on the known map: how many moves lead to what is worth reaching, and the first of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tedg.compiled import kernel_part
from tedg.envs.glyphs import BIT, STONE
from tedg.envs.sizes import MAP_COLUMNS, MAP_ROWS

# Steps of actions 1..8 of NetHackScore: N E S W NE SE SW NW.
DIRECTION_ROWS = np.array([-1, 0, 1, 0, -1, 1, 1, -1])
DIRECTION_COLUMNS = np.array([0, 1, 0, -1, 1, 1, -1, -1])

# What is worth reaching, or fleeing.
LANDMARKS: tuple[str, ...] = ("hostile", "stairs_down", "frontier", "pickup")
HOSTILE, WAY_DOWN, FRONTIER, PICKUP = range(len(LANDMARKS))

_OPEN = BIT.WALKABLE | BIT.PET | BIT.MONSTER_LIKE | BIT.CDOOR  # creatures do not stay, and doors open
_DOORS = BIT.ODOOR | BIT.CDOOR  # are not passed diagonally


@kernel_part
def note_arrival(kept: Any, y: int, x: int, new_level: bool) -> None:
    """Write into `kept`, a record of MEMORY, that the hero is in (y, x), and what a straight run passed."""
    place = y * MAP_COLUMNS + x
    if not new_level:
        if place == kept.place:
            return
        before_y, before_x = kept.place // MAP_COLUMNS, kept.place % MAP_COLUMNS
        dy, dx = y - before_y, x - before_x
        if dy == 0 or dx == 0 or abs(dy) == abs(dx):
            cells = max(abs(dy), abs(dx))
            for cell in range(1, cells):
                _visit(kept, before_y + dy // cells * cell, before_x + dx // cells * cell)
    _visit(kept, y, x)
    kept.place = place


@kernel_part
def _visit(kept: Any, y: int, x: int) -> None:
    kept.visits[y, x] = min(kept.visits[y, x] + 1, 255)
    for row in range(max(y - 1, 0), min(y + 2, MAP_ROWS)):
        for column in range(max(x - 1, 0), min(x + 2, MAP_COLUMNS)):
            kept.reached[row, column] = 1


@kernel_part
def find_ways(
    glyphs: npt.NDArray[np.int16],
    y0: int,
    x0: int,
    under: int,
    reached: npt.NDArray[np.uint8],
    categories: npt.NDArray[np.uint64],
    near: npt.NDArray[np.int64],
) -> None:
    """Find the shortest ways from the hero in (y0, x0) to the landmarks, on cells that were seen.

    Where there is one, near[landmark] becomes its moves, and the rows and columns that as many moves like
    its first would cover. `under` are the categories of what the hero stands on, `reached` [21, 79] the
    cells where it was or beside which. A frontier is a cell with a neighbour that was neither seen nor
    reached; closed doors, which may be locked, count where there is no other.
    """
    way = np.full((MAP_ROWS, MAP_COLUMNS), -1, np.int8)  # first move of the way to a cell
    cells = np.empty(MAP_ROWS * MAP_COLUMNS, np.int16)  # in the order in which they are found
    moves = np.empty(MAP_ROWS * MAP_COLUMNS, np.int16)
    cells[0], moves[0] = y0 * MAP_COLUMNS + x0, 0
    way[y0, x0] = 0
    found, number = 1, 0
    down = pickup = frontier = door = False
    while number < found and not (down and pickup and frontier):
        y, x, far = cells[number] // MAP_COLUMNS, cells[number] % MAP_COLUMNS, moves[number]
        number += 1
        here, first = (under if far == 0 else categories[glyphs[y, x]]), way[y, x]
        if far > 0:
            if not down and (here & BIT.DOWN) != 0:
                down = True
                _lead(near, WAY_DOWN, far, first)
            if not pickup and (here & BIT.AUTOPICKUP) != 0:
                pickup = True
                _lead(near, PICKUP, far, first)
            closed = (here & BIT.CDOOR) != 0
            if not frontier and not (closed and door) and _promises(glyphs, reached, y, x):
                frontier, door = not closed, True
                _lead(near, FRONTIER, far, first)
        for k in range(8):
            row, column = y + DIRECTION_ROWS[k], x + DIRECTION_COLUMNS[k]
            if not (0 <= row < MAP_ROWS and 0 <= column < MAP_COLUMNS) or way[row, column] >= 0:
                continue
            there = categories[glyphs[row, column]]
            if (there & _OPEN) == 0 or (there & (BIT.BOULDER | BIT.PEACE)) != 0:
                continue
            if k >= 4 and ((here | there) & _DOORS) != 0:
                continue
            way[row, column] = k if far == 0 else first
            cells[found], moves[found] = row * MAP_COLUMNS + column, far + 1
            found += 1


@kernel_part
def _promises(glyphs: npt.NDArray[np.int16], reached: npt.NDArray[np.uint8], y: int, x: int) -> bool:
    """Has (y, x) a neighbour that was neither seen nor reached?"""
    for row in range(max(y - 1, 0), min(y + 2, MAP_ROWS)):
        for column in range(max(x - 1, 0), min(x + 2, MAP_COLUMNS)):
            if glyphs[row, column] == STONE and reached[row, column] == 0:
                return True
    return False


@kernel_part
def _lead(near: npt.NDArray[np.int64], landmark: int, far: int, first: int) -> None:
    near[landmark, 0] = far
    near[landmark, 1], near[landmark, 2] = far * DIRECTION_ROWS[first], far * DIRECTION_COLUMNS[first]
