"""The one table of NetHack 3.6 glyph numbers, and what follows from it: categories, terrain, attributes."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from nle import nethack

NUM_GLYPHS = 5977  # 0 .. MAX_GLYPH
NUM_MONSTERS = 381
NUM_OBJECTS = 453

# First glyph of each kind.
PET_OFFSET = 381
DETECTED_OFFSET = 763
BODY_OFFSET = 1144
RIDDEN_OFFSET = 1525
OBJECT_OFFSET = 1906
CMAP_OFFSET = 2359
STATUE_OFFSET = 5595

STONE = 2359  # solid rock, or a cell never seen
STAIRS_UP = 2382
STAIRS_DOWN = 2383
LAST_CMAP = 2445  # NLE's glyph_is_cmap runs nine further, into the explosions

# Inclusive glyph ranges. A category may have several; a glyph may be in several categories.
CATEGORY_RANGES: tuple[tuple[str, int, int], ...] = (
    ("MON", 0, 380),  # the hero too
    ("PET", 381, 761),
    ("INVIS", 762, 762),  # remembered, unseen monster
    ("DET", 763, 1143),  # detected monster
    ("BODY", 1144, 1524),
    ("RIDDEN", 1525, 1905),
    ("OBJ", 1906, 2358),
    ("BOX", 2095, 2097),
    ("FOOD", 2145, 2177),
    ("POTION", 2178, 2203),
    ("SCROLL", 2204, 2245),
    ("WAND", 2289, 2315),
    ("GOLD", 2316, 2316),
    ("BOULDER", 2353, 2353),
    ("STONE", 2359, 2359),
    ("WALL", 2360, 2370),
    ("NDOOR", 2371, 2371),  # doorway without a door, or with a broken one
    ("ODOOR", 2372, 2373),
    ("CDOOR", 2374, 2375),
    ("BARS", 2376, 2376),
    ("TREE", 2377, 2377),
    ("FLOOR", 2378, 2379),
    ("CORR", 2380, 2381),
    ("UP", 2382, 2382),
    ("UP", 2384, 2384),  # ladder
    ("DOWN", 2383, 2383),
    ("DOWN", 2385, 2385),  # ladder
    ("ALTAR", 2386, 2386),
    ("GRAVE", 2387, 2387),
    ("THRONE", 2388, 2388),
    ("SINK", 2389, 2389),
    ("FOUNTAIN", 2390, 2390),
    ("WATER", 2391, 2391),  # moat
    ("WATER", 2400, 2400),
    ("ICE", 2392, 2392),
    ("LAVA", 2393, 2393),
    ("LOWDB", 2394, 2395),  # lowered drawbridge
    ("TRAP", 2401, 2423),
    ("SWALLOW", 2541, 5588),
    ("WARN", 5589, 5594),
    ("STATUE", 5595, 5975),
)
# Categories of monsters, read from NetHack's own monster table below.
_SPECIES_CATEGORIES = ("PEACE", "PASSIVE", "TOUGH", "FAST", "BADBODY")
CATEGORIES: tuple[str, ...] = tuple(dict.fromkeys([c for c, _, _ in CATEGORY_RANGES])) + _SPECIES_CATEGORIES


def category(*names: str) -> np.uint64:
    """The union of the named categories' bits, as found in GLYPH_CATEGORIES."""
    bits = 0
    for name in names:
        bits |= 1 << CATEGORIES.index(name)
    return np.uint64(bits)


# Bits of permonst.mflags1 and mflags2 (NetHack's monflag.h).
_M1_ACID = 0x08000000
_M1_POISONOUS = 0x10000000
_M2_WERE = 0x00000004
_M2_PEACEFUL = 0x00200000

ALWAYS_PEACEFUL: frozenset[int] = frozenset(
    i for i in range(NUM_MONSTERS) if nethack.permonst(i).mflags2 & _M2_PEACEFUL
)
# Species that do harm only to who touches them: acid blob, gelatinous cube, chickatrice, cockatrice,
# gas spore, floating eye, blue and spotted jelly, brown, yellow, green and red mold.
PASSIVE_SPECIES: frozenset[int] = frozenset({6, 8, 9, 10, 27, 28, 55, 56, 156, 157, 158, 159})
TOUGH_SPECIES: frozenset[int] = frozenset(
    i for i in range(NUM_MONSTERS) if nethack.permonst(i).difficulty >= 8
)
FAST_SPECIES: frozenset[int] = frozenset(i for i in range(NUM_MONSTERS) if nethack.permonst(i).mmove > 12)

_HARMFUL_TO_EAT = {9, 10, 158, 205, 280}  # chickatrice, cockatrice, green mold, green slime, Medusa
_UNPLEASANT_TO_EAT = {
    *("bat", "giant bat", "vampire bat", "stalker"),  # stun
    *("little dog", "dog", "large dog", "kitten", "housecat", "large cat"),  # aggravate
}


def _bad_to_eat(index: int) -> bool:
    species = nethack.permonst(index)
    if species.mname in ("lichen", "lizard"):
        return False
    return bool(
        species.mflags1 & (_M1_POISONOUS | _M1_ACID)
        or species.mflags2 & _M2_WERE
        or index in _HARMFUL_TO_EAT
        or species.mname in _UNPLEASANT_TO_EAT
    )


BAD_BODIES: frozenset[int] = frozenset(i for i in range(NUM_MONSTERS) if _bad_to_eat(i))


def _glyph_categories() -> npt.NDArray[np.uint64]:
    table = np.zeros(NUM_GLYPHS, np.uint64)
    for name, first, last in CATEGORY_RANGES:
        table[first : last + 1] |= category(name)
    live = {
        "PEACE": ALWAYS_PEACEFUL,
        "PASSIVE": PASSIVE_SPECIES,
        "TOUGH": TOUGH_SPECIES,
        "FAST": FAST_SPECIES,
    }
    for name, species in live.items():
        for index in species:
            table[[index, DETECTED_OFFSET + index]] |= category(name)
    for index in BAD_BODIES:
        table[BODY_OFFSET + index] |= category("BADBODY")
    return table


GLYPH_CATEGORIES = _glyph_categories()  # [5977] uint64, one bit per category

MONSTER_LIKE = category("MON", "DET", "INVIS", "RIDDEN", "WARN")
COVERS_TERRAIN = MONSTER_LIKE | category("PET", "SWALLOW")
FURNITURE = category("ALTAR", "THRONE", "SINK", "FOUNTAIN", "GRAVE")
ITEM = category("OBJ", "BODY")
AUTOPICKUP = category("GOLD", "POTION", "SCROLL", "WAND")
WALKABLE = (
    category("NDOOR", "ODOOR", "FLOOR", "CORR", "UP", "DOWN", "ICE", "LOWDB", "TRAP") | FURNITURE | ITEM
)


def _difficulty() -> npt.NDArray[np.uint8]:
    table = np.zeros(NUM_GLYPHS, np.uint8)
    for index in range(NUM_MONSTERS):
        for offset in (0, DETECTED_OFFSET, RIDDEN_OFFSET):
            table[offset + index] = nethack.permonst(index).difficulty
    return table


GLYPH_DIFFICULTY = _difficulty()  # [5977] uint8, NetHack's difficulty of a monster that is no pet; else 0

TERRAIN_CLASSES: tuple[str, ...] = (
    *("unseen", "wall", "floor", "corridor", "doorway", "closed_door", "stairs_up", "stairs_down"),
    *("furniture", "trap", "liquid", "pickup_item", "other_item", "boulder", "hostile", "friendly"),
)
NUM_TERRAIN_CLASSES = len(TERRAIN_CLASSES)


def _glyph_terrain() -> npt.NDArray[np.uint8]:
    table = np.zeros(NUM_GLYPHS, np.uint8)

    def put(name: str, first: int, last: int) -> None:
        table[first : last + 1] = TERRAIN_CLASSES.index(name)

    def put_category(name: str, bits: np.uint64) -> None:
        table[(GLYPH_CATEGORIES & bits) != 0] = TERRAIN_CLASSES.index(name)

    put("floor", 2398, 2399)  # air and cloud
    put("wall", 2396, 2397)  # raised drawbridge
    put("trap", 2424, 2540)  # beams, gas, explosions: a passing danger
    put_category("wall", category("WALL", "BARS", "TREE"))
    put_category("floor", category("FLOOR", "ICE", "LOWDB"))
    put_category("corridor", category("CORR"))
    put_category("doorway", category("NDOOR", "ODOOR"))
    put_category("closed_door", category("CDOOR"))
    put_category("stairs_up", category("UP"))
    put_category("stairs_down", category("DOWN"))
    put_category("furniture", FURNITURE)
    put_category("trap", category("TRAP"))
    put_category("liquid", category("WATER", "LAVA"))
    put_category("other_item", ITEM)
    put_category("pickup_item", AUTOPICKUP)
    put_category("boulder", category("BOULDER", "STATUE"))
    put("boulder", 2354, 2354)  # a statue drawn as an object
    put_category("hostile", MONSTER_LIKE | category("SWALLOW"))
    put("hostile", 2438, 2445)  # the inside of a swallower
    put_category("friendly", category("PET", "PEACE"))
    return table


GLYPH_TERRAIN = _glyph_terrain()  # [5977] uint8, index into TERRAIN_CLASSES


def _bits() -> Any:
    unions = {
        "MONSTER_LIKE": MONSTER_LIKE,
        "COVERS_TERRAIN": COVERS_TERRAIN,
        "FURNITURE": FURNITURE,
        "ITEM": ITEM,
        "AUTOPICKUP": AUTOPICKUP,
        "WALKABLE": WALKABLE,
    }
    bits = {name: category(name) for name in CATEGORIES} | unions
    return IntEnum("Bit", {name: int(value) for name, value in bits.items()})


BIT = _bits()  # categories and unions of them, as an enumeration, because numba compiles those fastest


def _binary(code: int, digits: int) -> list[float]:
    return [float(code >> digit & 1) for digit in range(digits)]


_INDEX_DIGITS = 9  # 453 objects
_LETTER_DIGITS = 6  # 60 classes of monsters
GLYPH_ATTRIBUTE_NAMES: tuple[str, ...] = (
    *CATEGORIES,
    *("hostile", "walkable", "autopickup", "difficulty", "speed", "level"),
    *(f"letter_{digit}" for digit in range(_LETTER_DIGITS)),
    *(f"index_{digit}" for digit in range(_INDEX_DIGITS)),
)


def _glyph_attributes() -> npt.NDArray[np.float32]:
    table = np.zeros((NUM_GLYPHS, len(GLYPH_ATTRIBUTE_NAMES)), np.float32)
    column = {name: i for i, name in enumerate(GLYPH_ATTRIBUTE_NAMES)}
    for bit, name in enumerate(CATEGORIES):
        table[:, column[name]] = (GLYPH_CATEGORIES >> np.uint64(bit)) & np.uint64(1)
    hostile = (GLYPH_CATEGORIES & (MONSTER_LIKE | category("SWALLOW"))) != 0
    table[:, column["hostile"]] = hostile & ((GLYPH_CATEGORIES & category("PEACE")) == 0)
    walkable = ((GLYPH_CATEGORIES & WALKABLE) != 0) & ((GLYPH_CATEGORIES & category("BOULDER")) == 0)
    table[:, column["walkable"]] = walkable
    table[:, column["autopickup"]] = (GLYPH_CATEGORIES & AUTOPICKUP) != 0

    index = slice(column["index_0"], column["index_0"] + _INDEX_DIGITS)
    letter = slice(column["letter_0"], column["letter_0"] + _LETTER_DIGITS)
    for number in range(NUM_MONSTERS):
        species = nethack.permonst(number)
        for offset in (0, PET_OFFSET, DETECTED_OFFSET, BODY_OFFSET, RIDDEN_OFFSET, STATUE_OFFSET):
            row = table[offset + number]
            row[column["difficulty"]] = min(species.difficulty / 30, 1.0)
            row[column["speed"]] = min(species.mmove / 24, 1.0)
            row[column["level"]] = min(species.mlevel / 30, 1.0)
            row[letter] = _binary(ord(species.mlet), _LETTER_DIGITS)
            row[index] = _binary(number, _INDEX_DIGITS)
    for number in range(NUM_OBJECTS):
        row = table[OBJECT_OFFSET + number]
        row[letter] = _binary(ord(nethack.objclass(number).oc_class), _LETTER_DIGITS)
        row[index] = _binary(number, _INDEX_DIGITS)
    for number in range(LAST_CMAP - CMAP_OFFSET + 1):
        table[CMAP_OFFSET + number, index] = _binary(number, _INDEX_DIGITS)
    for number in range(6):  # warnings 0 to 5
        table[5589 + number, index] = _binary(number, _INDEX_DIGITS)
    return table


# [5977, A] float32 in [0, 1]: what a glyph is, for a learned linear map. Monsters, objects and map symbols
# keep distinct rows; the 3,048 pictures of being swallowed share one, and so do the explosions and beams.
GLYPH_ATTRIBUTES = _glyph_attributes()
