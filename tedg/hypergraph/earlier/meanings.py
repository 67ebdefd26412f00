"""What the labels of the earlier project's graph mean in ours: tables of conditions, effects and commands.

The earlier file holds labels without formulas, so a label is taken in NetHack's own sense and compared with
our atom's formula. `difference` says how the two differ; it is empty where they say the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DEEPEST = 60  # beyond the deepest level there is


@dataclass(frozen=True, slots=True)
class Meaning:
    """The signed literal that a label becomes."""

    literal: str
    difference: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """What an operator of ours does where the label begins with this command's name."""

    expert: str
    actions: tuple[int, ...]
    difference: str = ""
    target: str = ""


_BORDER = "the earlier border is not in its file"
_MESSAGE = "known only from the last message"
_LEVEL_5 = "without level 5"
_WIDER = "one level becomes a range"


def _depth(level: int) -> Meaning:
    if level == 1:
        return Meaning("depth_1")
    name = "depth_2_4" if level <= 4 else "depth_5_9" if level <= 9 else "depth_10p"
    return Meaning(name, _WIDER)


CONDITIONS = {
    # The hero
    "hp_full": Meaning("hp_full"),
    "hp_low": Meaning("hp_low", _BORDER),
    "hp_critical": Meaning("hp_critical", _BORDER),
    "power_empty": Meaning("-pw_castable", "too little for a spell rather than none"),
    "hunger_satiated": Meaning("satiated"),
    "hunger_normal": Meaning("not_hungry"),
    "hunger_hungry": Meaning("hungry"),
    "hunger_weak": Meaning("weak"),
    "not_full": Meaning("-satiated"),
    "confused": Meaning("c_conf"),
    "stunned": Meaning("c_stun"),
    "hallucinating": Meaning("c_hallu"),
    "blind": Meaning("c_blind"),
    "not_blind": Meaning("-c_blind"),
    "exp_1": Meaning("xl_1"),
    "exp_2_5": Meaning("xl_2_4", _LEVEL_5),
    "ac_poor": Meaning("ac_bad", _BORDER),
    "ac_good": Meaning("ac_good", _BORDER),
    # Place
    **{f"dlvl_{level}": _depth(level) for level in range(1, DEEPEST)},
    "dlvl_2_5": Meaning("depth_2_4", _LEVEL_5),
    "on_downstairs": Meaning("on_down"),
    "on_upstairs": Meaning("on_up"),
    "target_passable": Meaning("-boxed_in", "some neighbouring cell rather than the chosen one"),
    "adjacent_to_trap": Meaning("trap_adj"),
    "adjacent_to_item": Meaning("item_adj"),
    "is_open": Meaning("odoor_adj", "any door beside the hero, doorways without a door too"),
    "is_not_open": Meaning("cdoor_adj", "any closed door beside the hero"),
    "is_locked": Meaning("m_locked", _MESSAGE),
    "is_not_locked": Meaning("-m_locked", _MESSAGE),
    # Monsters
    "monsters_present": Meaning("hostile_seen", "pets and always-peaceful kinds do not count"),
    "see_monster": Meaning("hostile_seen", "pets and always-peaceful kinds do not count"),
    "adjacent_to_monster": Meaning("hostile_adj", "pets and always-peaceful kinds do not count"),
    # Inventory
    "has_food": Meaning("has_food"),
    "has_potion": Meaning("has_potion"),
    "has_readable": Meaning("has_scroll", "books do not count"),
    "has_wand": Meaning("has_wand"),
    "inventory_space": Meaning("-pack_heavy", "fewer than 26 slots in use"),
}

# Labels of one quantity exclude each other, and a state has one of them. An operator that has several was
# made of situations with either, so together they say nothing.
QUANTITIES = {
    "has_gold": "gold",
    "no_gold": "gold",
    "power_full": "power",
    "power_empty": "power",
    "hp_full": "hit points",
    "hp_low": "hit points",
    "hp_critical": "hit points",
    "hunger_satiated": "hunger",
    "hunger_normal": "hunger",
    "hunger_hungry": "hunger",
    "hunger_weak": "hunger",
    "exp_1": "experience level",
    "exp_2_5": "experience level",
    "ac_poor": "armour class",
    "ac_good": "armour class",
    **{label: "depth" for label in CONDITIONS if label.startswith("dlvl_")},
    "is_open": "whether open",
    "is_not_open": "whether open",
    "is_locked": "whether locked",
    "is_not_locked": "whether locked",
}

EFFECTS = {
    "hit": Meaning("m_you_hit"),
    "monster_hp_damage": Meaning("m_you_hit"),
    "missed": Meaning("m_you_miss"),
    "killed": Meaning("m_you_kill"),
    "destroyed": Meaning("m_you_kill", "the atom covers killing and destroying"),
    "monster_dead_chance": Meaning("m_you_kill", "a chance becomes a promise"),
    "hunger_satisfied": Meaning("not_hungry"),
    "got_gold": Meaning("gold_up"),
    "locked": Meaning("m_locked"),
    "door_opened": Meaning("m_door_open"),
    "door_broken_chance": Meaning("m_door_open", "a chance becomes a promise"),
    "door_found": Meaning("cdoor_seen", "any closed door in view"),
    "action_blocked": Meaning("m_blocked"),
    "missing_item": Meaning("m_noop", "among other commands without effect"),
    "level_changed": Meaning("level_changed"),
    "player.position": Meaning("-still_8", "moved within the last 8 steps"),
    "turn_consumed": Meaning("-t_frozen"),
    "item_acquired": Meaning("m_pickup"),
}

HOLDS_ALWAYS = "holds in every state"
NAMES_SOURCE = "names where the data came from"
NO_ATOM = "no atom says this"
_WHY_NOT = tuple(
    (re.compile(pattern), why)
    for pattern, why in (
        (r"player_alive|game_active|any_hp", HOLDS_ALWAYS),
        (r"autoascend_ai|rule_based|from_\w+\.c", NAMES_SOURCE),
        (r"strategy_\w+", "names a plan"),
        (r"\w+_enabled", "names another operator"),
        (r"has_gold|no_gold", "no atom counts gold"),
        (r"power_full", "no atom compares power with its maximum"),
        (r"in_shop", "m_shop is true only on entering a shop"),
        (r"near_altar|on_altar", "no atom tells altars from other furniture"),
        (r"monster_(?!alive)\w+", "no atom tells this species from others"),
        (r"on_stairs", "stairs up and down are two atoms"),
        (r"adjacent_to_door", "open and closed doors are two atoms"),
        (r"door\.(open|locked)", "names what changes but not into what"),
    )
)


def why_not(label: str) -> str:
    """Why a label outside the tables has no literal."""
    return next((why for pattern, why in _WHY_NOT if pattern.fullmatch(label)), NO_ATOM)


# Numbers of NetHack's 23 actions, as in nethack.yaml.
_ORTHOGONAL = (1, 2, 3, 4)
_STEPS = (*_ORTHOGONAL, 5, 6, 7, 8)
_RUNS = (9, 10, 11, 12, 13, 14, 15, 16)
_UP, _DOWN, _WAIT, _KICK, _EAT, _SEARCH = ((number,) for number in (17, 18, 19, 20, 21, 22))

_INTO_MONSTER = "direction with a hostile"
_NO_PREFIX = "a plain step: the prefix m is not among the actions"
_INTO_DOOR = "by stepping into the door"

COMMANDS = {
    "eat": Command("Survival", _EAT),
    "flee": Command("Survival", (*_STEPS, *_RUNS), target="away from hostiles"),
    "attack": Command("Combat", _STEPS, target=_INTO_MONSTER),
    "attack_melee": Command("Combat", _STEPS, target=_INTO_MONSTER),
    "melee_attack": Command("Combat", _STEPS, target=_INTO_MONSTER),
    "move": Command("Exploration", _STEPS),
    "move_no_pickup": Command("Exploration", _STEPS, _NO_PREFIX),
    "move_no_fight": Command("Exploration", _STEPS, _NO_PREFIX),
    "move_until_near": Command("Exploration", _RUNS),
    "search": Command("Exploration", _SEARCH),
    "kick": Command("Exploration", _KICK),
    "open": Command("Exploration", _ORTHOGONAL, _INTO_DOOR, "direction with a closed door"),
    "open_door": Command("Exploration", _ORTHOGONAL, _INTO_DOOR, "direction with a closed door"),
    "go_down": Command("Exploration", _DOWN),
    "go_up": Command("Exploration", _UP),
    "climb": Command("Exploration", (*_UP, *_DOWN)),
    "wait": Command("General", _WAIT),
}

_WITHOUT_KEY = (
    *("apply", "attack_ranged", "call_name", "close", "close_door", "count_gold", "dip", "drink", "drop"),
    *("drop_multi", "elbereth", "engrave", "enhance", "extended_command", "fire", "force_lock"),
    *("identify_trap", "inventory", "invoke", "jump", "known", "look", "loot", "name", "offer", "pay"),
    *("pickup", "pray", "put_in", "put_on", "quaff", "ranged_attack", "read", "remove", "remove_ring"),
    *("rub", "sacrifice", "save_game", "sit", "swap_weapon", "takeoff", "teleport", "throw"),
    *("toggle_autopickup", "turn_undead", "unlock_door", "untrap", "wear", "whatis", "wield", "wipe", "zap"),
)
_PLANS = ("altar", "identify", "medusa", "minetown", "oracle", "sokoban", "vlad")

# Commands that no operator can be made of, and why.
NOT_COMMANDS = {
    **dict.fromkeys(_WITHOUT_KEY, "its key is not among the 23 actions"),
    **dict.fromkeys(_PLANS, "names a plan, not one command"),
}
UNKNOWN_COMMAND = "begins with no known command"


def command_name(label: str) -> str | None:
    """The longest known command that `label` is or begins with, before a `_`; None if there is none."""
    known = [name for name in (*COMMANDS, *NOT_COMMANDS) if label == name or label.startswith(f"{name}_")]
    return max(known, key=len, default=None)
