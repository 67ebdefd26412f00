"""Which of NetHackScore's 23 actions the rules allow, judged from what the player can observe."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import numpy.typing as npt
from nle import nethack as nh

from tedg.envs.atoms import ATOMS, View
from tedg.envs.compiled import kernel
from tedg.envs.glyphs import CODES
from tedg.envs.messages import NUM_ACTIONS

# The actions that the rules speak of, by the names of their keys' commands.
CANCEL, NO, YES, GO_UP, GO_DOWN, KICK, EAT, SEARCH = 0, 6, 8, 17, 18, 20, 21, 22

_READ = (
    *("prompt", "q_dir", "q_eat_item", "on_up", "on_down", "on_trap", "item_here", "food_typable"),
    *("food_here", "corpse_fresh_here", "satiated", "cdoor_adj", "hostile_adj", "depth_1"),
)
_Read = namedtuple("_Read", _READ)  # type: ignore[misc]
_ATOM: Any = _Read(*map(ATOMS.index, _READ))


def legal_actions(
    view: View,
    blstats: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64] | None = None,
    into: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.bool_]:
    """The legality mask [B, 23] of the frames that `view` was made from; blstats [B, 27] are theirs.

    Moves into cells never seen are legal. Kicks are only at a closed door or a hostile: elsewhere NetHack
    permits them, but a wall kicked at random kills.
    """
    mask = np.zeros((len(blstats), NUM_ACTIONS), np.bool_) if into is None else into
    rows = np.arange(len(blstats)) if rows is None else rows
    _fill_mask(
        rows, view.atoms, view.scan.neighbours, view.scan.under, view.offers, blstats, CODES, _ATOM, mask
    )
    return mask


@kernel
def _fill_mask(
    rows: npt.NDArray[np.int64],
    atoms: npt.NDArray[np.bool_],
    neighbours: npt.NDArray[np.uint64],
    under: npt.NDArray[np.uint64],
    offers: npt.NDArray[np.bool_],
    blstats: npt.NDArray[np.int64],
    codes: Any,
    atom: Any,
    mask: npt.NDArray[np.bool_],
) -> None:
    for r in rows:
        a, legal = atoms[r], mask[r]
        if a[atom.prompt]:
            legal[:] = False
            if a[atom.q_dir]:
                legal[1:9] = True
            elif a[atom.q_eat_item]:
                legal[:] = offers[r]
            else:
                legal[NO] = True
                legal[YES] = True
            legal[CANCEL] = True
            continue
        legal[:] = True
        legal[CANCEL] = False
        in_open_door = (under[r] & codes.ODOOR) != 0
        for k in range(8):
            bits = neighbours[r, k]
            diagonal = k >= 4
            through_door = diagonal and (in_open_door or (bits & codes.ODOOR) != 0)
            free = (bits & codes.WALL) == 0 and not through_door
            legal[1 + k] = free  # a step
            legal[9 + k] = free  # a run
        first_level = a[atom.depth_1] and blstats[r, nh.NLE_BL_DNUM] == 0
        legal[GO_UP] = a[atom.on_up] and not first_level
        legal[GO_DOWN] = a[atom.on_down] or a[atom.on_trap] or a[atom.item_here]  # items hide stairs
        legal[KICK] = a[atom.cdoor_adj] or a[atom.hostile_adj]
        edible = a[atom.food_typable] or a[atom.food_here] or a[atom.corpse_fresh_here]
        legal[EAT] = edible and not a[atom.satiated]
