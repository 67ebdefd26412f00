"""Ways to landmarks: shortest, passable for NetHack's hero, and to where something can still be found."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from support.nethack_games import empty_frames, moments, update

from tedg.envs.actions import ACTION_NAMES
from tedg.envs.atoms import ATOMS, AtomTracker
from tedg.envs.frames import Frames
from tedg.envs.glyphs import BIT, GLYPH_CATEGORIES, STONE
from tedg.envs.ways import DIRECTION_COLUMNS, DIRECTION_ROWS, FRONTIER, HOSTILE, LANDMARKS, PICKUP, WAY_DOWN

# What stands for what in the maps below; `@` is the hero on floor, and a blank was never seen.
SIGNS = {
    " ": STONE,
    "|": 2360,
    "-": 2361,
    ".": 2378,
    "#": 2380,
    ">": 2383,
    "<": 2382,
    "_": 2371,
    "'": 2372,
    "+": 2374,
    "0": 2353,
    "$": 2333,
    "d": 16,
}
TOP, LEFT = 5, 20


def drawn(text: str) -> Frames:
    """One game that shows the map, its upper left corner at (TOP, LEFT)."""
    frames = empty_frames(1)
    frames.glyphs[:] = STONE
    for row, line in enumerate(text.strip("\n").split("\n"), TOP):
        for column, sign in enumerate(line, LEFT):
            if sign == "@":
                frames.blstats[0, :2] = column, row
                frames.glyphs[0, row, column] = 333
            else:
                frames.glyphs[0, row, column] = SIGNS[sign]
    return frames


def way(frames: Frames, landmark: int, tracker: AtomTracker | None = None) -> tuple[int, str] | None:
    """Moves to the landmark and the name of the first; None without any."""
    moves, rows, columns = update(frames, tracker or AtomTracker(1)).scan["nearest"][0, landmark].tolist()
    if moves < 1:
        return None if moves < 0 else (0, "")
    steps = zip(DIRECTION_ROWS.tolist(), DIRECTION_COLUMNS.tolist(), ACTION_NAMES[1:9], strict=True)
    first = [name for row, column, name in steps if (row * moves, column * moves) == (rows, columns)]
    return moves, first[0] if first else f"{rows} rows, {columns} columns"


WALLED = """
---------
|@.|.>..|
|..|....|
|..'....|
---------
"""


def test_a_way_leads_round_walls_and_straight_through_doors() -> None:
    # Down twice, through the open door and out of it straight, and only then diagonally.
    assert way(drawn(WALLED), WAY_DOWN) == (6, "south")
    assert way(drawn(WALLED.replace("'", "_")), WAY_DOWN) == (4, "southeast")  # no door in the doorway
    assert way(drawn(WALLED.replace("'", "+")), WAY_DOWN) == (6, "south")  # it will be opened


@pytest.mark.parametrize("blocked", ["|", "0"])
def test_without_a_known_way_it_lies_straight_ahead(blocked: str) -> None:
    assert way(drawn(WALLED.replace("'", blocked)), WAY_DOWN) == (4, "east")


def test_creatures_leave_but_those_that_are_always_peaceful_stay() -> None:
    peaceful = int(np.flatnonzero(GLYPH_CATEGORIES & np.uint64(BIT.PEACE))[0])
    frames = drawn("-----\n|@d>|\n|#  |\n-----")
    assert way(frames, WAY_DOWN) == (2, "east")
    frames.glyphs[0, TOP + 1, LEFT + 2] = peaceful
    frames.glyphs[0, TOP + 2, LEFT + 1] = 2378
    frames.glyphs[0, TOP + 2, LEFT + 2] = 2378
    assert way(frames, WAY_DOWN) == (2, "southeast")


def test_the_hero_may_stand_in_a_door_or_on_the_stairs() -> None:
    frames, tracker = drawn("---\n|@|\n-'-\n .>"), AtomTracker(1)
    assert way(frames, WAY_DOWN, tracker) == (3, "south")
    frames.glyphs[0, TOP + 1, LEFT + 1], frames.glyphs[0, TOP + 2, LEFT + 1] = 2378, 333
    frames.blstats[0, 1] += 1
    assert way(frames, WAY_DOWN, tracker) == (2, "south")  # not diagonally out of the door
    frames.glyphs[0, TOP + 2, LEFT + 1], frames.glyphs[0, TOP + 3, LEFT + 2] = 2372, 333
    frames.blstats[0, :2] += 1
    assert way(frames, WAY_DOWN, tracker) == (0, "")


ROOM = """
------
|@...|
|....+
---_--
"""


def test_a_frontier_is_beside_what_was_never_seen() -> None:
    frames, tracker = drawn(ROOM), AtomTracker(1)
    assert way(frames, FRONTIER, tracker) == (2, "southeast")  # the doorway; the closed door is farther too
    assert way(drawn(ROOM.replace("_", "-")), FRONTIER) == (4, "east")  # closed doors, if there is no other
    assert way(drawn(ROOM.replace("_", "-").replace("+", "|")), FRONTIER) is None
    assert way(drawn(ROOM.replace("+", "_").replace("-_-", "-+-")), FRONTIER) == (4, "east")
    assert way(drawn(ROOM.replace("-_-", "-+-")), FRONTIER) == (3, "east")  # the nearer of two closed doors


def test_a_run_leaves_no_frontier_behind_but_the_branches_that_it_passed() -> None:
    frames, tracker = drawn("@#"), AtomTracker(1)
    assert way(frames, FRONTIER, tracker) == (1, "east")
    frames = drawn(".#######@")  # it ran east
    assert way(frames, FRONTIER, tracker) is None  # the end: nothing is left but to search
    tracker = AtomTracker(1)
    way(drawn("@#"), FRONTIER, tracker)
    branch = ".#######@\n   #"
    assert way(drawn(branch), FRONTIER, tracker) == (5, "west")
    frames.blstats[0, 12:14] = 2  # another level, drawn alike
    frames.blstats[0, 24] = 2
    assert way(frames, FRONTIER, tracker) == (1, "west")


def test_a_leap_passes_nothing() -> None:
    tracker = AtomTracker(1)
    way(drawn("@#######\n       #"), FRONTIER, tracker)
    way(drawn(".#######\n       @"), FRONTIER, tracker)  # no straight line: it was carried there
    visits = tracker._memory["visits"][0]
    assert np.argwhere(visits).tolist() == [[TOP, LEFT], [TOP + 1, LEFT + 7]]


def test_hostiles_are_told_as_the_crow_flies() -> None:
    frames = drawn("@|d\n..|\n...")
    assert way(frames, HOSTILE) == (2, "east")


def shortest(
    glyphs: npt.NDArray[np.int16], y0: int, x0: int
) -> tuple[npt.NDArray[np.float64], list[tuple[int, int]]]:
    """Moves from (y0, x0) to every cell, by scipy, and the cells that a first move leads to."""
    bits = GLYPH_CATEGORIES[glyphs].astype(np.int64)
    open_cell = (bits & (BIT.WALKABLE | BIT.PET | BIT.MONSTER_LIKE | BIT.CDOOR)) != 0
    open_cell &= (bits & (BIT.BOULDER | BIT.PEACE)) == 0
    open_cell[y0, x0] = True
    door = (bits & (BIT.ODOOR | BIT.CDOOR)) != 0
    height, width = glyphs.shape
    starts, ends = [], []
    for y, x in np.argwhere(open_cell):
        for dy, dx in zip(DIRECTION_ROWS, DIRECTION_COLUMNS, strict=True):
            v, u = y + dy, x + dx
            inside = 0 <= v < height and 0 <= u < width
            if inside and open_cell[v, u] and not (dy and dx and (door[y, x] or door[v, u])):
                starts.append(y * width + x)
                ends.append(v * width + u)
    graph = coo_array((np.ones(len(starts)), (starts, ends)), shape=(glyphs.size, glyphs.size)).tocsr()
    far = dijkstra(graph, indices=y0 * width + x0, unweighted=True).reshape(glyphs.shape)
    firsts = [(int(y), int(x)) for y, x in np.argwhere(far == 1)]
    return far, firsts


def test_ways_are_shortest_on_random_maps() -> None:
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(60):
        frames = empty_frames(1)
        signs = rng.choice(
            list(".#|'+_>$0d "),
            size=(12, 24),
            p=[0.35, 0.1, 0.2, 0.05, 0.05, 0.05, 0.01, 0.01, 0.05, 0.03, 0.1],
        )
        frames.glyphs[:] = STONE
        frames.glyphs[0, 4:16, 20:44] = np.vectorize(SIGNS.get)(signs)
        frames.glyphs[0, 10, 40] = 333
        nearest = update(frames, AtomTracker(1)).scan["nearest"][0]
        glyphs = frames.glyphs[0]
        far, firsts = shortest(np.where(glyphs == 333, 2378, glyphs), 10, 40)
        for landmark, bit in ((WAY_DOWN, BIT.DOWN), (PICKUP, BIT.AUTOPICKUP)):
            of_kind = far[(GLYPH_CATEGORIES[glyphs].astype(np.int64) & bit) != 0]
            if not np.isfinite(of_kind).any():
                continue
            found += 1
            moves, rows, columns = nearest[landmark].tolist()
            assert moves == of_kind.min(), LANDMARKS[landmark]
            step = 10 + rows // moves, 40 + columns // moves
            assert step in firsts
            onward, _ = shortest(np.where(glyphs == 333, 2378, glyphs), *step)
            kind = (GLYPH_CATEGORIES[glyphs].astype(np.int64) & bit) != 0
            assert onward[kind].min() == moves - 1
    assert found > 30


def test_the_first_move_is_legal_in_real_games() -> None:
    led, prompt = 0, ATOMS.index("prompt")
    moves_of = {
        step: 1 + k
        for k, step in enumerate(zip(DIRECTION_ROWS.tolist(), DIRECTION_COLUMNS.tolist(), strict=True))
    }
    for moment in moments("script", 300, first_seed=61_000):
        nearest = moment.view.scan["nearest"][:, FRONTIER]
        for env in np.flatnonzero((nearest[:, 0] > 0) & ~moment.view.atoms[:, prompt]):
            moves, rows, columns = nearest[env].tolist()
            assert moment.legal[env, moves_of[rows // moves, columns // moves]]
            led += 1
    assert led > 1000
