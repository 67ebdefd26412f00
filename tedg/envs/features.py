"""The 115 named features of the state vector: names, blocks, ranges and meanings. Computed in `state.py`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NUM_EXPERTS = 4  # groups of operators that the features of preconditions and scene speak of
GOALS: tuple[str, ...] = (
    *("score", "staircase", "pet", "gold", "eat", "scout", "oracle", "needle", "fake"),
    *(f"reserved_{number}" for number in range(9, 16)),
)


@dataclass(frozen=True, slots=True)
class Feature:
    """One float of the state vector, always within [low, high]."""

    name: str
    block: str
    low: float
    high: float
    description: str


def _block(block: str, *entries: tuple[str, float, str]) -> tuple[Feature, ...]:
    """Features of one block from (name, lowest value, description); all reach up to 1."""
    return tuple(Feature(name, block, low, 1.0, description) for name, low, description in entries)


_COMPASS = ("n", "e", "s", "w", "ne", "se", "sw", "nw")


def _landmark(name: str, what: str) -> tuple[tuple[str, float, str], ...]:
    return (
        (
            f"{name}_proximity",
            0.0,
            f"1 / (1 + d), d the king's moves to the nearest {what}; 0 if none is seen",
        ),
        (f"{name}_dx", -1.0, f"columns to the nearest {what} as a share of d; east is positive"),
        (f"{name}_dy", -1.0, f"rows to the nearest {what} as a share of d; south is positive"),
    )


def _reached(name: str, what: str) -> tuple[tuple[str, float, str], ...]:
    """A landmark to which ways are found; without a known way it is as above."""
    return (
        (
            f"{name}_proximity",
            0.0,
            f"1 / (1 + d), d the moves of the shortest known way to {what}, or the king's moves without one;"
            " 0 if none is seen",
        ),
        (
            f"{name}_dx",
            -1.0,
            "the way's first move east or, negative, west; without one, columns as a share of d",
        ),
        (
            f"{name}_dy",
            -1.0,
            "the way's first move south or, negative, north; without one, rows as a share of d",
        ),
    )


_BELIEF = _block(
    "belief",
    # vital signs
    ("hp_fraction", 0.0, "hit points over their maximum"),
    ("hp", 0.0, "hit points h as h / (h + 20)"),
    ("hp_max", 0.0, "maximal hit points h as h / (h + 20)"),
    ("energy", 0.0, "magical energy e as e / (e + 10)"),
    ("armour", -1.0, "(10 - armour class) / 20: higher is better protected"),
    ("hunger", 0.0, "NetHack's hunger status, 0 satiated to 6 starved, over 6"),
    ("encumbrance", 0.0, "NetHack's load status, 0 none to 5 overloaded, over 5"),
    ("impaired", 0.0, "share that holds of blind, stunned, confused, hallucinating"),
    ("dying", 0.0, "1 while turning to stone or slime, strangled, or deadly ill"),
    ("polymorphed", 0.0, "1 in the shape of a monster"),
    # attributes
    ("strength", 0.0, "(strength - 3) / 22"),
    ("dexterity", 0.0, "(dexterity - 3) / 22"),
    ("constitution", 0.0, "(constitution - 3) / 22"),
    ("intelligence", 0.0, "(intelligence - 3) / 22"),
    ("wisdom", 0.0, "(wisdom - 3) / 22"),
    ("charisma", 0.0, "(charisma - 3) / 22"),
    # progress
    ("experience_level", 0.0, "(level - 1) / 13"),
    ("experience_points", 0.0, "log(1 + points) / log(10001)"),
    ("score", 0.0, "log(1 + in-game score) / log(10001)"),
    ("gold", 0.0, "log(1 + gold pieces) / log(10001)"),
    ("depth", 0.0, "dungeon depth d as (d - 1) / (d + 4)"),
    ("deepest", 0.0, "deepest depth d of the episode as (d - 1) / (d + 4)"),
    ("level_margin", -1.0, "(experience level - depth) / 10"),
    ("turns", 0.0, "log(1 + game turn) / log(20001)"),
    ("level_turns", 0.0, "log(1 + turns on this level) / log(20001)"),
    ("known", 0.0, "seen cells c of this level as c / (c + 300)"),
    # neighbourhood
    ("row", 0.0, "the hero's row over 20"),
    ("column", 0.0, "the hero's column over 78"),
    ("hostiles_adjacent", 0.0, "hostile monsters among the eight neighbours, over 8"),
    ("hostiles_seen", 0.0, "hostile monsters h on the map as h / (h + 3)"),
    *_landmark("hostile", "hostile monster"),
    *_reached("stairs_down", "a way down"),
    *_reached("frontier", "a cell with a neighbour that was neither seen nor ever beside the hero"),
    *_reached("pickup", "an item that is picked up by walking onto it"),
    *(
        (
            f"trodden_{way}",
            0.0,
            f"v / (v + 2) after v visits of the cell {way}, runs past it too; 1 if nothing can walk there",
        )
        for way in _COMPASS
    ),
)


def _groups() -> tuple[tuple[str, str], ...]:
    """(prefix, whose) of all operators and of each expert's, by the expert's place in the hypergraph."""
    experts = ((f"expert{k}", f"the operators of expert {k}") for k in range(NUM_EXPERTS))
    return (("all", "all operators"), *experts)


_PRECONDITIONS = _block(
    "preconditions",
    *(
        entry
        for group, whose in _groups()
        for entry in (
            (f"{group}_applicable", 0.0, f"share of {whose} whose preconditions all hold"),
            (f"{group}_satisfied", 0.0, f"mean share of preconditions that hold, over {whose}"),
            (f"{group}_nearly", 0.0, f"share of {whose} with exactly one precondition missing"),
        )
    ),
)
_SCENE = _block(
    "scene",
    *(
        entry
        for group, whose in _groups()
        for entry in (
            (
                f"{group}_scene_best",
                0.0,
                f"largest share of true scene literals, over {whose} that are applicable",
            ),
            (
                f"{group}_scene_mean",
                0.0,
                f"mean share of true scene literals, over {whose} that are applicable",
            ),
            (
                f"{group}_scene_full",
                0.0,
                f"share of {whose} that are applicable with every scene literal true (and at least one)",
            ),
        )
    ),
)
_EFFECT = _block(
    "effect",
    ("hp_change", -1.0, "change of hit points since the last frame over their maximum"),
    ("score_change", -1.0, "change c of the in-game score as c / (|c| + 20)"),
    ("experience_change", -1.0, "change c of experience points as c / (|c| + 10)"),
    ("depth_change", -1.0, "change of depth, cut to one level"),
    ("time_passed", 0.0, "turns t since the last frame as t / (t + 1)"),
    ("frozen", 0.0, "frames f in a row without time passing as f / (f + 4)"),
    ("threat_adjacent", 0.0, "difficulty m of the worst adjacent hostile, the hero's level l: m / (m + 2 l)"),
    ("threat_seen", 0.0, "the same of the worst hostile on the map"),
)
_RULES = _block(
    "rules",
    ("prompt", 0.0, "1 while a question waits for a key"),
    ("prompt_direction", 0.0, "1 if it asks for a direction"),
    ("prompt_item", 0.0, "1 if it asks what to eat"),
    ("prompt_yes_no", 0.0, "1 if it is any other question"),
    ("legal_share", 0.0, "share of the actions that are legal"),
    ("legal_steps", 0.0, "share of the eight steps that are legal"),
    ("can_ascend", 0.0, "1 if going up is legal"),
    ("can_descend", 0.0, "1 if going down is legal"),
    ("can_eat", 0.0, "1 if eating is legal"),
    ("can_kick", 0.0, "1 if a kick is worth allowing"),
)
_CONFIDENCE = _block(
    "confidence",
    (
        "confidence",
        0.0,
        "the hypergraph's best match: largest k / (n + 1) over applicable operators, k of n literals true",
    ),
)
_GOAL = _block("goal", *((f"goal_{goal}", 0.0, f"1 if the task is {goal}") for goal in GOALS))

STATE_FEATURES: tuple[Feature, ...] = (
    *(*_BELIEF, *_PRECONDITIONS, *_SCENE, *_EFFECT, *_RULES, *_CONFIDENCE, *_GOAL),
)
STATE_DIM = len(STATE_FEATURES)
STATE_LOW = np.array([f.low for f in STATE_FEATURES], np.float32)  # [115]
STATE_HIGH = np.array([f.high for f in STATE_FEATURES], np.float32)  # [115]

_SYMBOLIC_BLOCKS = ("preconditions", "scene", "effect", "rules", "confidence")
# [115] True where a feature is read from the hypergraph or the rules; a control without symbols zeroes these.
SYMBOLIC_STATE: npt.NDArray[np.bool_] = np.array([f.block in _SYMBOLIC_BLOCKS for f in STATE_FEATURES])


def goal_index(goal: str) -> int:
    """Column of the goal's feature; raises ValueError for a goal that is not in GOALS."""
    if goal not in GOALS:
        raise ValueError(f"goal is {goal!r}, must be one of {', '.join(GOALS)}")
    return STATE_DIM - len(GOALS) + GOALS.index(goal)


def feature_table() -> str:
    """The features as a page of Markdown, one row each."""
    lines = [
        "# State features",
        "",
        f"The {STATE_DIM} floats of `Observation.state`, in order, as defined in `tedg/envs/features.py`.",
        "Without symbols (`logic=none`) the features marked *symbolic* are zero.",
        "Experts are numbered by their place in the hypergraph; in NetHack's own 0 is Survival, 1 Combat,",
        "2 Exploration and 3 General.",
        "",
        "| # | name | block | range | symbolic | meaning |",
        "|--:|---|---|---|:-:|---|",
    ]
    for number, feature in enumerate(STATE_FEATURES):
        symbolic = "yes" if SYMBOLIC_STATE[number] else ""
        meaning = feature.description.replace("|", "\\|")
        span = f"{feature.low:g} to {feature.high:g}"
        lines.append(f"| {number} | `{feature.name}` | {feature.block} | {span} | {symbolic} | {meaning} |")
    return "\n".join(lines) + "\n"
