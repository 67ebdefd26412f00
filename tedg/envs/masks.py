"""Which of NetHackScore's 23 actions the rules allow, judged from what the player can observe."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from nle import nethack as nh

from tedg.compiled import kernel
from tedg.envs.actions import CANCEL, EAT, GO_DOWN, GO_UP, KICK, NO, NUM_ACTIONS, YES
from tedg.envs.atoms import ATOM, View
from tedg.envs.glyphs import BIT


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
    _fill_mask(rows, view.atoms, view.scan, view.offers, blstats, mask)
    return mask


@kernel
def _fill_mask(
    rows: npt.NDArray[np.int64],
    atoms: npt.NDArray[np.bool_],
    scan: npt.NDArray[np.void],
    offers: npt.NDArray[np.bool_],
    blstats: npt.NDArray[np.int64],
    mask: npt.NDArray[np.bool_],
) -> None:
    for r in rows:
        a, legal, seen = atoms[r], mask[r], scan[r]
        if a[ATOM.prompt]:
            legal[:] = False
            if a[ATOM.q_dir]:
                legal[1:9] = True
            elif a[ATOM.q_eat_item]:
                legal[:] = offers[r]
            else:
                legal[NO] = True
                legal[YES] = True
            legal[CANCEL] = True
            continue
        legal[:] = True
        legal[CANCEL] = False
        in_open_door = (seen.under & BIT.ODOOR) != 0
        for k in range(8):
            bits = seen.neighbours[k]
            diagonal = k >= 4
            through_door = diagonal and (in_open_door or (bits & BIT.ODOOR) != 0)
            free = (bits & BIT.WALL) == 0 and not through_door
            legal[1 + k] = free  # a step
            legal[9 + k] = free  # a run
        first_level = a[ATOM.depth_1] and blstats[r, nh.NLE_BL_DNUM] == 0
        legal[GO_UP] = a[ATOM.on_up] and not first_level
        legal[GO_DOWN] = a[ATOM.on_down] or a[ATOM.on_trap] or a[ATOM.item_here]  # items hide stairs
        legal[KICK] = a[ATOM.cdoor_adj] or a[ATOM.hostile_adj]
        edible = a[ATOM.food_typable] or a[ATOM.food_here] or a[ATOM.corpse_fresh_here]
        legal[EAT] = edible and not a[ATOM.satiated]
