"""Computes the state vector of `features.py` for a batch of frames."""

from __future__ import annotations

from enum import IntEnum
from math import log1p
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from nle import nethack as nh

from tedg.compiled import kernel, kernel_part
from tedg.envs.atoms import ATOM, ATOMS, NUM_ATOMS, View
from tedg.envs.features import NUM_EXPERTS, STATE_FEATURES, goal_index
from tedg.envs.sizes import MAP_COLUMNS, MAP_ROWS
from tedg.envs.ways import FRONTIER, HOSTILE, PICKUP, WAY_DOWN
from tedg.hypergraph.schema import Hypergraph


def _columns() -> Any:
    return IntEnum("Column", [f.name for f in STATE_FEATURES], start=0)


COLUMN = _columns()  # the column of each feature

# Bits of blstats[25].
_DYING = 0x1 | 0x2 | 0x4 | 0x8 | 0x10  # stone, slime, strangled, food poisoning, terminally ill
_IMPAIRMENTS = (0x20, 0x80, 0x100, 0x200)  # blind, stunned, confused, hallucinating
_LOG_POINTS = log1p(10_000)
_LOG_TURNS = log1p(20_000)


_WORDS = -(-NUM_ATOMS // 64)


class Operators(NamedTuple):
    """The conditions of O operators as sets of NetHack's atoms: bit i of word w is atom 64 w + i."""

    required: npt.NDArray[np.uint64]  # [O, W] preconditions: atoms that must be true
    forbidden: npt.NDArray[np.uint64]  # [O, W] preconditions: atoms that must be false
    shown: npt.NDArray[np.uint64]  # [O, W] scene literals that are atoms
    hidden: npt.NDArray[np.uint64]  # [O, W] scene literals that are negated atoms
    preconditions: npt.NDArray[np.int64]  # [O] number of precondition literals
    scene: npt.NDArray[np.int64]  # [O] number of scene literals
    expert: npt.NDArray[np.int64]  # [O]

    @classmethod
    def of(cls, hypergraph: Hypergraph) -> Operators:
        """Raises ValueError for atoms that NetHack has not, and for other than four experts."""
        unknown = sorted(set(hypergraph.atoms) - set(ATOMS))
        if unknown:
            raise ValueError(
                f"hypergraph {hypergraph.name!r} has atoms that are no NetHack atoms: {', '.join(unknown)}"
            )
        experts = len(hypergraph.experts)
        if experts != NUM_EXPERTS:
            raise ValueError(f"hypergraph {hypergraph.name!r} must have {NUM_EXPERTS} experts, has {experts}")
        c = hypergraph.conditions()
        columns = np.array([ATOMS.index(name) for name in hypergraph.atoms], np.int64)[c.atom]

        def atoms(which: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
            sets = np.zeros((len(columns), _WORDS), np.uint64)
            for operator, literal in np.argwhere(which & c.valid):
                word, bit = divmod(int(columns[operator, literal]), 64)
                sets[operator, word] |= np.uint64(1 << bit)
            return sets

        return cls(
            required=atoms(c.is_precondition & c.positive),
            forbidden=atoms(c.is_precondition & ~c.positive),
            shown=atoms(~c.is_precondition & c.positive),
            hidden=atoms(~c.is_precondition & ~c.positive),
            preconditions=(c.is_precondition & c.valid).sum(1),
            scene=(~c.is_precondition & c.valid).sum(1),
            expert=c.expert,
        )


class StateBuilder:
    """Turns what a tracker saw into state vectors for one task and one hypergraph."""

    def __init__(self, hypergraph: Hypergraph, goal: str) -> None:
        self._operators = Operators.of(hypergraph)
        self._goal = goal_index(goal)

    def compute(
        self,
        view: View,
        history: npt.NDArray[np.void],
        blstats: npt.NDArray[np.int64],
        legal: npt.NDArray[np.bool_],
        rows: npt.NDArray[np.int64],
        into: npt.NDArray[np.float32],
    ) -> None:
        """Write the state vectors of `rows` into those rows of `into` [B, 115].

        `view` and `history` are those after the update with the frames whose blstats [B, 27] these are;
        `legal` [B, 23] is what the rules allow, whether or not the agent is held to it.
        """
        operators = self._operators
        _fill_state(
            rows,
            blstats,
            view.previous,
            view.atoms,
            view.scan,
            view.hostile_dirs,
            history,
            legal,
            operators.required,
            operators.forbidden,
            operators.shown,
            operators.hidden,
            operators.preconditions,
            operators.scene,
            operators.expert,
            self._goal,
            into,
        )


@kernel
def _fill_state(
    rows: npt.NDArray[np.int64],
    blstats: npt.NDArray[np.int64],
    previous: npt.NDArray[np.int64],
    atoms: npt.NDArray[np.bool_],
    scan: npt.NDArray[np.void],
    hostile_dirs: npt.NDArray[np.bool_],
    histories: npt.NDArray[np.void],
    legal: npt.NDArray[np.bool_],
    required: npt.NDArray[np.uint64],
    forbidden: npt.NDArray[np.uint64],
    shown: npt.NDArray[np.uint64],
    hidden: npt.NDArray[np.uint64],
    preconditions: npt.NDArray[np.int64],
    scene: npt.NDArray[np.int64],
    expert: npt.NDArray[np.int64],
    goal: int,
    state: npt.NDArray[np.float32],
) -> None:
    operators = Operators(required, forbidden, shown, hidden, preconditions, scene, expert)
    members = np.zeros(1 + NUM_EXPERTS)  # operators of all experts together, then of each
    for which in expert:
        members[0] += 1
        members[1 + which] += 1
    for r in rows:
        now, s, seen, history = blstats[r], state[r], scan[r], histories[r]
        s[:] = 0.0
        s[goal] = 1.0
        _self_features(now, history.deepest, history.arrival, seen.known_cells, s)
        adjacent = 0
        for k in range(8):
            adjacent += hostile_dirs[r, k]
            s[COLUMN.trodden_n + k] = seen.trodden[k]
        s[COLUMN.hostiles_adjacent] = adjacent / 8
        s[COLUMN.hostiles_seen] = _saturate(seen.hostiles, 3)
        near = seen.nearest
        _landmark(near[HOSTILE], s, COLUMN.hostile_proximity)
        _landmark(near[WAY_DOWN], s, COLUMN.stairs_down_proximity)
        _landmark(near[FRONTIER], s, COLUMN.frontier_proximity)
        _landmark(near[PICKUP], s, COLUMN.pickup_proximity)
        s[COLUMN.confidence] = _match(
            atoms[r], operators, members, s, COLUMN.all_applicable, COLUMN.all_scene_best
        )
        _effect_features(now, previous[r], history.frozen, s)
        level = max(now[nh.NLE_BL_XP], 1)
        s[COLUMN.threat_adjacent] = _saturate(seen.difficulty_adjacent, 2 * level)
        s[COLUMN.threat_seen] = _saturate(seen.difficulty_seen, 2 * level)
        _rule_features(atoms[r], legal[r], s)


@kernel_part
def _saturate(value: float, half: float) -> float:
    """From 0 at 0 over 1/2 at `half` towards 1; odd in `value`."""
    return value / (abs(value) + half)


@kernel_part
def _clip(value: float, low: float) -> float:
    return min(max(value, low), 1.0)


@kernel_part
def _landmark(nearest: npt.NDArray[np.int64], s: npt.NDArray[np.float32], first: int) -> None:
    distance = nearest[0]
    if distance >= 0:
        s[first] = 1 / (1 + distance)
        s[first + 1] = nearest[2] / max(distance, 1)
        s[first + 2] = nearest[1] / max(distance, 1)


@kernel_part
def _self_features(
    now: npt.NDArray[np.int64],
    deepest: int,
    arrival: int,
    known: int,
    s: npt.NDArray[np.float32],
) -> None:
    """Vital signs, attributes, progress and place."""
    hp, most = now[nh.NLE_BL_HP], max(now[nh.NLE_BL_HPMAX], 1)
    s[COLUMN.hp_fraction] = _clip(hp / most, 0)
    s[COLUMN.hp] = _saturate(max(hp, 0), 20)
    s[COLUMN.hp_max] = _saturate(most, 20)
    s[COLUMN.energy] = _saturate(max(now[nh.NLE_BL_ENE], 0), 10)
    s[COLUMN.armour] = _clip((10 - now[nh.NLE_BL_AC]) / 20, -1)
    s[COLUMN.hunger] = _clip(now[nh.NLE_BL_HUNGER] / 6, 0)
    s[COLUMN.encumbrance] = _clip(now[nh.NLE_BL_CAP] / 5, 0)
    condition, impairments = now[nh.NLE_BL_CONDITION], 0
    for bit in _IMPAIRMENTS:
        impairments += (condition & bit) != 0
    s[COLUMN.impaired] = impairments / len(_IMPAIRMENTS)
    s[COLUMN.dying] = (condition & _DYING) != 0
    s[COLUMN.polymorphed] = now[nh.NLE_BL_HD] > 0

    s[COLUMN.strength] = _clip((now[nh.NLE_BL_STR25] - 3) / 22, 0)
    s[COLUMN.dexterity] = _clip((now[nh.NLE_BL_DEX] - 3) / 22, 0)
    s[COLUMN.constitution] = _clip((now[nh.NLE_BL_CON] - 3) / 22, 0)
    s[COLUMN.intelligence] = _clip((now[nh.NLE_BL_INT] - 3) / 22, 0)
    s[COLUMN.wisdom] = _clip((now[nh.NLE_BL_WIS] - 3) / 22, 0)
    s[COLUMN.charisma] = _clip((now[nh.NLE_BL_CHA] - 3) / 22, 0)

    level, depth, turn = now[nh.NLE_BL_XP], now[nh.NLE_BL_DEPTH], now[nh.NLE_BL_TIME]
    s[COLUMN.experience_level] = _clip((level - 1) / 13, 0)
    s[COLUMN.experience_points] = _clip(log1p(max(now[nh.NLE_BL_EXP], 0)) / _LOG_POINTS, 0)
    s[COLUMN.score] = _clip(log1p(max(now[nh.NLE_BL_SCORE], 0)) / _LOG_POINTS, 0)
    s[COLUMN.gold] = _clip(log1p(max(now[nh.NLE_BL_GOLD], 0)) / _LOG_POINTS, 0)
    s[COLUMN.depth] = _saturate(max(depth - 1, 0), 5)
    s[COLUMN.deepest] = _saturate(max(deepest - 1, 0), 5)
    s[COLUMN.level_margin] = _clip((level - depth) / 10, -1)
    s[COLUMN.turns] = _clip(log1p(max(turn, 0)) / _LOG_TURNS, 0)
    s[COLUMN.level_turns] = _clip(log1p(max(turn - arrival, 0)) / _LOG_TURNS, 0)
    s[COLUMN.known] = _saturate(known, 300)
    s[COLUMN.row] = now[nh.NLE_BL_Y] / (MAP_ROWS - 1)
    s[COLUMN.column] = now[nh.NLE_BL_X] / (MAP_COLUMNS - 1)


@kernel_part
def _effect_features(
    now: npt.NDArray[np.int64],
    before: npt.NDArray[np.int64],
    frozen: int,
    s: npt.NDArray[np.float32],
) -> None:
    most = max(now[nh.NLE_BL_HPMAX], 1)
    s[COLUMN.hp_change] = _clip((now[nh.NLE_BL_HP] - before[nh.NLE_BL_HP]) / most, -1)
    s[COLUMN.score_change] = _saturate(now[nh.NLE_BL_SCORE] - before[nh.NLE_BL_SCORE], 20)
    s[COLUMN.experience_change] = _saturate(now[nh.NLE_BL_EXP] - before[nh.NLE_BL_EXP], 10)
    s[COLUMN.depth_change] = _clip(now[nh.NLE_BL_DEPTH] - before[nh.NLE_BL_DEPTH], -1)
    s[COLUMN.time_passed] = _saturate(max(now[nh.NLE_BL_TIME] - before[nh.NLE_BL_TIME], 0), 1)
    s[COLUMN.frozen] = _saturate(frozen, 4)


@kernel_part
def _rule_features(
    a: npt.NDArray[np.bool_], legal: npt.NDArray[np.bool_], s: npt.NDArray[np.float32]
) -> None:
    direction = a[ATOM.prompt] and a[ATOM.q_dir]
    item = a[ATOM.prompt] and a[ATOM.q_eat_item] and not direction
    s[COLUMN.prompt] = a[ATOM.prompt]
    s[COLUMN.prompt_direction] = direction
    s[COLUMN.prompt_item] = item
    s[COLUMN.prompt_yes_no] = a[ATOM.prompt] and not direction and not item
    s[COLUMN.legal_share] = legal.mean()
    s[COLUMN.legal_steps] = legal[1:9].mean()
    s[COLUMN.can_ascend] = legal[17]
    s[COLUMN.can_descend] = legal[18]
    s[COLUMN.can_kick] = legal[20]
    s[COLUMN.can_eat] = legal[21]


@kernel_part
def _match(
    a: npt.NDArray[np.bool_],
    operators: Operators,
    members: npt.NDArray[np.float64],
    s: npt.NDArray[np.float32],
    gates: int,
    scenes: int,
) -> float:
    """Fill the three figures of each group from columns `gates` and `scenes` on; return the confidence."""
    true = np.zeros(_WORDS, np.uint64)
    eights = a.view(np.uint64)
    for k in range(len(eights)):
        # The product has the lowest bits of the eight bytes beside each other, in its highest byte.
        true[k // 8] |= (eights[k] * np.uint64(0x0102040810204080)) >> np.uint64(56) << np.uint64(8 * (k % 8))
    applicable = np.zeros(1 + NUM_EXPERTS)
    confidence = 0.0
    for o in range(len(operators.expert)):
        needed, wanted = operators.preconditions[o], operators.scene[o]
        held = present = 0
        for w in range(_WORDS):
            held += _size((operators.required[o, w] & true[w]) | (operators.forbidden[o, w] & ~true[w]))
            present += _size((operators.shown[o, w] & true[w]) | (operators.hidden[o, w] & ~true[w]))
        scene = present / max(wanted, 1)
        if held == needed:
            confidence = max(confidence, (held + present) / (needed + wanted + 1))
        for group in (0, 1 + operators.expert[o]):
            gate, shown = gates + 3 * group, scenes + 3 * group
            s[gate + 1] += held / max(needed, 1)
            s[gate + 2] += held == needed - 1
            if held == needed:
                applicable[group] += 1
                s[shown] = max(s[shown], scene)
                s[shown + 1] += scene
                s[shown + 2] += present == wanted and wanted > 0
    for group in range(1 + NUM_EXPERTS):
        gate, shown, size = gates + 3 * group, scenes + 3 * group, max(members[group], 1)
        s[gate] = applicable[group] / size
        s[gate + 1] /= size
        s[gate + 2] /= size
        s[shown + 1] /= max(applicable[group], 1)
        s[shown + 2] /= size
    return confidence


@kernel_part
def _size(bits: np.uint64) -> int:
    """Number of bits that are set. The compiler knows this loop and makes one instruction of it."""
    count = 0
    while bits != 0:
        bits &= bits - np.uint64(1)
        count += 1
    return count
