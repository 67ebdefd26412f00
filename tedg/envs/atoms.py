"""The 128 atoms: conditions of the game that the player can observe, one bit each, for a batch of games."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from nle import nethack as nh

from tedg.compiled import kernel, kernel_part
from tedg.envs.actions import NUM_ACTIONS
from tedg.envs.frames import BLSTATS, Frames
from tedg.envs.glyphs import BIT
from tedg.envs.mapscan import SCAN, map_memory, scan_maps
from tedg.envs.messages import MESSAGE_ATOMS, MessageTable
from tedg.envs.sizes import CROP, OVERVIEW_SHAPE

# Bits of blstats[25], in the order of their atoms.
_CONDITIONS = (
    *("stone", "slime", "strngl", "foodpois", "termill", "blind", "deaf"),
    *("stun", "conf", "hallu", "lev", "fly", "ride"),
)
ATOMS: tuple[str, ...] = (
    # vital status
    *("hp_full", "hp_low", "hp_mid", "hp_critical", "pw_castable"),
    *("satiated", "not_hungry", "hungry", "weak", "fainting", "burdened", "stressed"),
    *(f"c_{name}" for name in _CONDITIONS),
    "polymorphed",
    # progress and place
    *("xl_1", "xl_2_4", "xl_5_7", "xl_8p", "ac_bad", "ac_good"),
    *("depth_1", "depth_2_4", "depth_5_9", "depth_10p", "underlevelled", "in_mines", "in_sokoban"),
    # the eight cells around the hero
    *("hostile_adj", "hostile_adj_2p", "peaceful_adj", "pet_adj", "passive_adj", "tough_adj", "fast_adj"),
    *("unseen_adj", "cdoor_adj", "odoor_adj", "wall_adj", "stone_adj", "boulder_adj", "trap_adj"),
    *("liquid_adj", "item_adj", "autopick_adj", "food_adj", "down_adj", "corr_adj", "dead_end", "boxed_in"),
    # under the hero, from memory
    *("on_down", "on_up", "on_door", "on_corr", "on_floor", "on_furniture", "on_trap"),
    *("item_here", "food_here", "corpse_here", "bad_corpse_here", "box_here", "corpse_fresh_here"),
    # anywhere on the map
    *("hostile_seen", "hostile_near", "hostile_inline", "tough_seen", "pet_seen", "down_seen", "up_seen"),
    *("item_seen", "autopick_seen", "cdoor_seen", "corr_seen", "furniture_seen", "open_frontier"),
    "swallowed",
    # inventory
    *("has_food", "food_typable", "has_potion", "has_scroll", "has_wand", "pack_heavy"),
    # prompt and message
    "prompt",
    *MESSAGE_ATOMS,
    # change since the previous frame
    *("t_frozen", "t_frozen_4", "still_8", "hp_lost", "hp_lost_big", "score_up", "gold_up", "xp_up"),
    *("level_changed", "late_turn"),
)
NUM_ATOMS = len(ATOMS)


def _columns() -> Any:
    return IntEnum("Atom", list(ATOMS), start=0)


ATOM = _columns()  # the column of each atom; an enumeration, because numba compiles those fastest

FRESH_TURNS = 30  # a corpse older than this may poison
_TYPABLE = np.zeros(256, np.bool_)  # inventory letters that some action's key happens to be
_TYPABLE[list(b"behjklnsuyBHJKLNUY")] = True


# What is kept of the game's earlier frames, beside the map.
HISTORY = np.dtype(
    [
        ("started", np.bool_),  # False before an episode's first frame
        ("still", np.int64),  # frames in a row without a move
        ("frozen", np.int64),  # frames in a row without game time passing
        ("arrival", np.int64),  # turn of the arrival on this level
        ("deepest", np.int64),  # deepest level of the episode
        ("blstats", np.int64, BLSTATS),  # of the last frame
    ],
    align=True,
)


@dataclass(frozen=True, slots=True)
class View:
    """What one update derives from B frames."""

    atoms: npt.NDArray[np.bool_]  # [B, 128] in the order of ATOMS
    scan: npt.NDArray[np.void]  # [B] records of SCAN
    hostile_dirs: npt.NDArray[np.bool_]  # [B, 8] hostile neighbours in the directions of actions 1..8
    overview: npt.NDArray[np.uint8]  # [B, 7, 20, C] cells of each terrain class in every 3 x 4 block
    crop: npt.NDArray[np.int16]  # [B, 9, 9] glyphs around the hero; STONE outside the map
    offers: npt.NDArray[np.bool_]  # [B, 23] actions whose key is a letter that the message offers
    previous: npt.NDArray[np.int64]  # [B, 27] blstats of the frame before; the frame's own on the first

    @classmethod
    def allocate(cls, num_envs: int) -> View:
        """Arrays for AtomTracker.update to fill."""
        return cls(
            atoms=np.zeros((num_envs, NUM_ATOMS), np.bool_),
            scan=np.zeros(num_envs, SCAN),
            hostile_dirs=np.zeros((num_envs, 8), np.bool_),
            overview=np.zeros((num_envs, *OVERVIEW_SHAPE), np.uint8),
            crop=np.zeros((num_envs, CROP, CROP), np.int16),
            offers=np.zeros((num_envs, NUM_ACTIONS), np.bool_),
            previous=np.zeros((num_envs, BLSTATS), np.int64),
        )


class AtomTracker:
    """Computes atoms and keeps, per game, what they need from earlier frames.

    Games do not see each other: the atoms of one are the same in any batch.
    """

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self._all = np.arange(num_envs)
        self._memory = map_memory(num_envs)
        self._messages = MessageTable()
        self.history = np.zeros(num_envs, HISTORY)  # [B] records

    def reset(self, env: int) -> None:
        """Forget the game of one environment; its next frame is an episode's first."""
        self.history["started"][env] = False
        self._memory["level"][env] = -1

    def update(
        self,
        frames: Frames,
        actions: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64] | None = None,
        into: View | None = None,
    ) -> View:
        """Take in the next frame of every game, or of `rows` only, and the actions [B] that led to it.

        Fills the rows of `into` if given, else of a new view (whose other rows are then zero).
        """
        view = View.allocate(self.num_envs) if into is None else into
        rows = self._all if rows is None else rows
        scan_maps(
            rows,
            frames.glyphs,
            frames.blstats,
            actions,
            self._memory,
            view.scan,
            view.hostile_dirs,
            view.overview,
            view.crop,
        )
        said = self._messages.lookup(frames.message, rows)
        _fill_atoms(
            rows,
            frames.blstats,
            frames.inv_oclasses,
            frames.inv_letters,
            frames.misc,
            view.scan,
            view.hostile_dirs,
            said,
            self._messages.atoms,
            self._messages.offers,
            _TYPABLE,
            self.history,
            view.previous,
            view.offers,
            view.atoms,
        )
        return view


@kernel
def _fill_atoms(
    rows: npt.NDArray[np.int64],
    blstats: npt.NDArray[np.int64],
    inv_oclasses: npt.NDArray[np.uint8],
    inv_letters: npt.NDArray[np.uint8],
    misc: npt.NDArray[np.int32],
    scan: npt.NDArray[np.void],
    hostile_dirs: npt.NDArray[np.bool_],
    said: npt.NDArray[np.int64],
    message_atoms: npt.NDArray[np.bool_],
    message_offers: npt.NDArray[np.bool_],
    typable: npt.NDArray[np.bool_],
    histories: npt.NDArray[np.void],
    previous: npt.NDArray[np.int64],
    offers: npt.NDArray[np.bool_],
    atoms: npt.NDArray[np.bool_],
) -> None:
    for i, r in enumerate(rows):
        now, before, a, seen, history = blstats[r], previous[r], atoms[r], scan[r], histories[r]
        first = not history.started
        if first:
            before[:] = now
        else:
            before[:] = history.blstats
        _count(now, before, first, seen.new_level, history)
        _vital_atoms(now, a)
        _progress_atoms(now, a)

        around, many = np.uint64(0), 0
        tough = fast = False
        for k in range(8):
            bits = seen.neighbours[k]
            around |= bits
            if hostile_dirs[r, k]:
                many += 1
                tough = tough or (bits & BIT.TOUGH) != 0
                fast = fast or (bits & BIT.FAST) != 0
        a[ATOM.hostile_adj] = many >= 1
        a[ATOM.hostile_adj_2p] = many >= 2
        a[ATOM.tough_adj] = tough
        a[ATOM.fast_adj] = fast
        a[ATOM.dead_end] = seen.walkable_neighbours <= 1
        a[ATOM.boxed_in] = seen.walkable_neighbours == 0
        _place_atoms(around, seen.under, seen.in_sight, a)
        a[ATOM.corpse_fresh_here] = a[ATOM.corpse_here] and seen.corpse_age <= FRESH_TURNS
        a[ATOM.hostile_seen] = seen.hostiles > 0
        a[ATOM.hostile_near] = seen.hostile_near
        a[ATOM.hostile_inline] = seen.hostile_inline
        a[ATOM.tough_seen] = seen.tough_hostile
        a[ATOM.open_frontier] = seen.open_frontier

        _inventory_atoms(inv_oclasses[r], inv_letters[r], typable, a)
        a[ATOM.prompt] = misc[r, 0] != 0
        for k in range(message_atoms.shape[1]):
            a[ATOM.q_dir + k] = message_atoms[said[i], k]
        offers[r] = message_offers[said[i]]

        hp, hp_before = now[nh.NLE_BL_HP], before[nh.NLE_BL_HP]
        a[ATOM.t_frozen] = history.frozen >= 1
        a[ATOM.t_frozen_4] = history.frozen >= 4
        a[ATOM.still_8] = history.still >= 8
        a[ATOM.hp_lost] = hp < hp_before
        a[ATOM.hp_lost_big] = (hp_before - hp) * 4 >= max(now[nh.NLE_BL_HPMAX], 1)
        a[ATOM.score_up] = now[nh.NLE_BL_SCORE] > before[nh.NLE_BL_SCORE]
        a[ATOM.gold_up] = now[nh.NLE_BL_GOLD] > before[nh.NLE_BL_GOLD]
        a[ATOM.xp_up] = now[nh.NLE_BL_EXP] > before[nh.NLE_BL_EXP]
        a[ATOM.level_changed] = not first and seen.new_level
        a[ATOM.late_turn] = now[nh.NLE_BL_TIME] >= 1000


@kernel_part
def _count(
    now: npt.NDArray[np.int64], before: npt.NDArray[np.int64], first: bool, arrived: bool, history: Any
) -> None:
    """Carry a game's history on to the frame `now`."""
    turn, depth = now[nh.NLE_BL_TIME], now[nh.NLE_BL_DEPTH]
    moved = now[nh.NLE_BL_X] != before[nh.NLE_BL_X] or now[nh.NLE_BL_Y] != before[nh.NLE_BL_Y]
    waited = turn == before[nh.NLE_BL_TIME] and not first
    history.frozen = history.frozen + 1 if waited else 0
    history.still = 0 if moved or first else history.still + 1
    history.deepest = depth if first else max(depth, history.deepest)
    if arrived:
        history.arrival = turn
    history.blstats[:] = now
    history.started = True


@kernel_part
def _vital_atoms(now: npt.NDArray[np.int64], a: npt.NDArray[np.bool_]) -> None:
    hp, most, level = now[nh.NLE_BL_HP], max(now[nh.NLE_BL_HPMAX], 1), now[nh.NLE_BL_XP]
    a[ATOM.hp_full] = hp >= most
    a[ATOM.hp_low] = hp * 3 < most
    a[ATOM.hp_mid] = most <= hp * 3 < 2 * most
    # NetHack's own measure of being in trouble (pray.c, critically_low_hp).
    share = 5 if level <= 5 else 6 if level <= 13 else 7 if level <= 21 else 8 if level <= 29 else 9
    a[ATOM.hp_critical] = hp <= 5 or hp * share <= min(most, 15 * max(level, 1))
    a[ATOM.pw_castable] = now[nh.NLE_BL_ENE] >= 5
    hunger = now[nh.NLE_BL_HUNGER]  # an enumeration from 0, satiated, to 6, starved
    a[ATOM.satiated] = hunger == 0
    a[ATOM.not_hungry] = hunger == 1
    a[ATOM.hungry] = hunger == 2
    a[ATOM.weak] = hunger == 3
    a[ATOM.fainting] = hunger >= 4
    a[ATOM.burdened] = now[nh.NLE_BL_CAP] >= 1
    a[ATOM.stressed] = now[nh.NLE_BL_CAP] >= 2
    for bit in range(len(_CONDITIONS)):
        a[ATOM.c_stone + bit] = now[nh.NLE_BL_CONDITION] >> bit & 1 != 0
    a[ATOM.polymorphed] = now[nh.NLE_BL_HD] > 0


@kernel_part
def _progress_atoms(now: npt.NDArray[np.int64], a: npt.NDArray[np.bool_]) -> None:
    level, depth = now[nh.NLE_BL_XP], now[nh.NLE_BL_DEPTH]
    a[ATOM.xl_1] = level <= 1
    a[ATOM.xl_2_4] = 2 <= level <= 4
    a[ATOM.xl_5_7] = 5 <= level <= 7
    a[ATOM.xl_8p] = level >= 8
    a[ATOM.ac_bad] = now[nh.NLE_BL_AC] >= 7
    a[ATOM.ac_good] = now[nh.NLE_BL_AC] <= 3
    a[ATOM.depth_1] = depth == 1
    a[ATOM.depth_2_4] = 2 <= depth <= 4
    a[ATOM.depth_5_9] = 5 <= depth <= 9
    a[ATOM.depth_10p] = depth >= 10
    a[ATOM.underlevelled] = level < depth
    a[ATOM.in_mines] = now[nh.NLE_BL_DNUM] == 2
    a[ATOM.in_sokoban] = now[nh.NLE_BL_DNUM] == 4


@kernel_part
def _place_atoms(around: np.uint64, under: np.uint64, in_sight: np.uint64, a: npt.NDArray[np.bool_]) -> None:
    a[ATOM.peaceful_adj] = (around & BIT.PEACE) != 0
    a[ATOM.pet_adj] = (around & BIT.PET) != 0
    a[ATOM.passive_adj] = (around & BIT.PASSIVE) != 0
    a[ATOM.unseen_adj] = (around & (BIT.INVIS | BIT.WARN)) != 0
    a[ATOM.cdoor_adj] = (around & BIT.CDOOR) != 0
    a[ATOM.odoor_adj] = (around & (BIT.ODOOR | BIT.NDOOR)) != 0
    a[ATOM.wall_adj] = (around & BIT.WALL) != 0
    a[ATOM.stone_adj] = (around & BIT.STONE) != 0
    a[ATOM.boulder_adj] = (around & BIT.BOULDER) != 0
    a[ATOM.trap_adj] = (around & BIT.TRAP) != 0
    a[ATOM.liquid_adj] = (around & (BIT.WATER | BIT.LAVA)) != 0
    a[ATOM.item_adj] = (around & BIT.ITEM) != 0
    a[ATOM.autopick_adj] = (around & BIT.AUTOPICKUP) != 0
    a[ATOM.food_adj] = (around & (BIT.FOOD | BIT.BODY)) != 0
    a[ATOM.down_adj] = (around & BIT.DOWN) != 0
    a[ATOM.corr_adj] = (around & BIT.CORR) != 0
    a[ATOM.swallowed] = (around & BIT.SWALLOW) != 0

    a[ATOM.on_down] = (under & BIT.DOWN) != 0
    a[ATOM.on_up] = (under & BIT.UP) != 0
    a[ATOM.on_door] = (under & (BIT.NDOOR | BIT.ODOOR)) != 0
    a[ATOM.on_corr] = (under & BIT.CORR) != 0
    a[ATOM.on_floor] = (under & BIT.FLOOR) != 0
    a[ATOM.on_furniture] = (under & BIT.FURNITURE) != 0
    a[ATOM.on_trap] = (under & BIT.TRAP) != 0
    a[ATOM.item_here] = (under & BIT.ITEM) != 0
    a[ATOM.food_here] = (under & BIT.FOOD) != 0
    a[ATOM.corpse_here] = (under & BIT.BODY) != 0
    a[ATOM.bad_corpse_here] = (under & BIT.BADBODY) != 0
    a[ATOM.box_here] = (under & BIT.BOX) != 0

    a[ATOM.pet_seen] = (in_sight & BIT.PET) != 0
    a[ATOM.down_seen] = ((in_sight | under) & BIT.DOWN) != 0
    a[ATOM.up_seen] = ((in_sight | under) & BIT.UP) != 0
    a[ATOM.item_seen] = (in_sight & BIT.ITEM) != 0
    a[ATOM.autopick_seen] = (in_sight & BIT.AUTOPICKUP) != 0
    a[ATOM.cdoor_seen] = (in_sight & BIT.CDOOR) != 0
    a[ATOM.corr_seen] = (in_sight & BIT.CORR) != 0
    a[ATOM.furniture_seen] = (in_sight & BIT.FURNITURE) != 0


@kernel_part
def _inventory_atoms(
    oclasses: npt.NDArray[np.uint8],
    letters: npt.NDArray[np.uint8],
    typable: npt.NDArray[np.bool_],
    a: npt.NDArray[np.bool_],
) -> None:
    food, potion, scroll, wand, padding = 7, 8, 9, 11, 18  # NetHack's object classes
    items = 0
    has_food = has_typable = has_potion = has_scroll = has_wand = False
    for slot in range(len(oclasses)):
        kind = oclasses[slot]
        items += kind < padding
        has_food = has_food or kind == food
        has_typable = has_typable or (kind == food and typable[letters[slot]])
        has_potion = has_potion or kind == potion
        has_scroll = has_scroll or kind == scroll
        has_wand = has_wand or kind == wand
    a[ATOM.has_food] = has_food
    a[ATOM.food_typable] = has_typable
    a[ATOM.has_potion] = has_potion
    a[ATOM.has_scroll] = has_scroll
    a[ATOM.has_wand] = has_wand
    a[ATOM.pack_heavy] = items >= 26
