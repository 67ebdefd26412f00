"""Every glyph number of the table, against NLE's own helpers, offsets and symbols."""

from __future__ import annotations

import numpy as np
import pytest
from nle import nethack as nh

from tedg.envs import glyphs as g

ALL = np.arange(g.NUM_GLYPHS)


def having(*names):
    return (g.GLYPH_CATEGORIES & g.category(*names)) != 0


def explained(*texts):
    """Glyphs whose map symbol NLE explains with one of these words."""
    found = np.zeros(g.NUM_GLYPHS, bool)
    for index in range(nh.MAXPCHARS):
        found[nh.GLYPH_CMAP_OFF + index] = nh.symdef.from_idx(index).explanation in texts
    return found


def test_sizes_and_offsets():
    assert g.NUM_GLYPHS == nh.MAX_GLYPH + 1
    assert g.NUM_MONSTERS == nh.NUMMONS
    assert g.NUM_OBJECTS == nh.NUM_OBJECTS
    assert g.PET_OFFSET == nh.GLYPH_PET_OFF
    assert g.DETECTED_OFFSET == nh.GLYPH_DETECT_OFF
    assert g.BODY_OFFSET == nh.GLYPH_BODY_OFF
    assert g.RIDDEN_OFFSET == nh.GLYPH_RIDDEN_OFF
    assert g.OBJECT_OFFSET == nh.GLYPH_OBJ_OFF
    assert g.CMAP_OFFSET == g.STONE == nh.GLYPH_CMAP_OFF
    assert g.LAST_CMAP == nh.GLYPH_EXPLODE_OFF - 1
    assert g.STATUE_OFFSET == nh.GLYPH_STATUE_OFF


@pytest.mark.parametrize(
    ("names", "helper"),
    [
        (("MON",), nh.glyph_is_normal_monster),
        (("PET",), nh.glyph_is_pet),
        (("INVIS",), nh.glyph_is_invisible),
        (("DET",), nh.glyph_is_detected_monster),
        (("BODY",), nh.glyph_is_body),
        (("RIDDEN",), nh.glyph_is_ridden_monster),
        (("OBJ",), nh.glyph_is_normal_object),
        (("SWALLOW",), nh.glyph_is_swallow),
        (("WARN",), nh.glyph_is_warning),
        (("STATUE",), nh.glyph_is_statue),
        (("MON", "PET", "RIDDEN", "DET"), nh.glyph_is_monster),
        (("OBJ", "BODY", "STATUE"), nh.glyph_is_object),
    ],
)
def test_kinds_are_those_of_nles_helpers(names, helper):
    np.testing.assert_array_equal(having(*names), helper(ALL))


def test_traps_are_nles_but_for_the_beam_it_counts_among_them():
    traps = nh.glyph_is_trap(ALL)
    assert traps[2424]  # a vertical beam
    traps[2424] = False
    np.testing.assert_array_equal(having("TRAP"), traps)


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("WALL", ("wall",)),
        ("NDOOR", ("doorway",)),
        ("ODOOR", ("open door",)),
        ("CDOOR", ("closed door",)),
        ("BARS", ("iron bars",)),
        ("TREE", ("tree",)),
        ("CORR", ("corridor", "lit corridor")),
        ("UP", ("staircase up", "ladder up")),
        ("DOWN", ("staircase down", "ladder down")),
        ("ALTAR", ("altar",)),
        ("GRAVE", ("grave",)),
        ("THRONE", ("opulent throne",)),
        ("SINK", ("sink",)),
        ("FOUNTAIN", ("fountain",)),
        ("WATER", ("water",)),
        ("ICE", ("ice",)),
        ("LAVA", ("molten lava",)),
        ("LOWDB", ("lowered drawbridge",)),
    ],
)
def test_map_symbols(name, texts):
    np.testing.assert_array_equal(having(name), explained(*texts))


def test_floor_is_lit_or_dark_and_stone_is_the_first_symbol():
    floor = explained("floor of a room", "dark part of a room")
    floor[g.STONE] = False  # NLE explains solid stone with the same words
    np.testing.assert_array_equal(having("FLOOR"), floor)
    assert np.flatnonzero(having("STONE")).tolist() == [nh.GLYPH_CMAP_OFF]


@pytest.mark.parametrize(
    ("name", "letter"),
    [
        ("FOOD", nh.FOOD_CLASS),
        ("POTION", nh.POTION_CLASS),
        ("SCROLL", nh.SCROLL_CLASS),
        ("WAND", nh.WAND_CLASS),
    ],
)
def test_object_classes(name, letter):
    expected = [g.OBJECT_OFFSET + i for i in range(nh.NUM_OBJECTS) if ord(nh.objclass(i).oc_class) == letter]
    assert np.flatnonzero(having(name)).tolist() == expected


@pytest.mark.parametrize(
    ("name", "objects"),
    [("GOLD", ("gold piece",)), ("BOULDER", ("boulder",)), ("BOX", ("large box", "chest", "ice box"))],
)
def test_single_objects(name, objects):
    found = [g.OBJECT_OFFSET + i for i in range(nh.NUM_OBJECTS) if nh.OBJ_NAME(nh.objclass(i)) in objects]
    assert np.flatnonzero(having(name)).tolist() == sorted(found)


def names_of(species):
    return {nh.permonst(i).mname for i in species}


def test_species():
    assert {"Oracle", "shopkeeper", "guard", "watchman", "aligned priest"} <= names_of(g.ALWAYS_PEACEFUL)
    assert names_of(g.PASSIVE_SPECIES) == {
        *("acid blob", "gelatinous cube", "chickatrice", "cockatrice", "gas spore", "floating eye"),
        *("blue jelly", "spotted jelly", "brown mold", "yellow mold", "green mold", "red mold"),
    }
    assert {"lichen", "lizard", "newt", "jackal"} & names_of(g.BAD_BODIES) == set()
    assert {"cockatrice", "green slime", "werewolf", "little dog", "kobold"} <= names_of(g.BAD_BODIES)
    assert "soldier ant" in names_of(g.FAST_SPECIES)
    assert "newt" not in names_of(g.FAST_SPECIES | g.TOUGH_SPECIES)


def test_pets_are_no_items_and_stone_and_corners_no_walls_and_doors():
    """The ranges that earlier code mistook for items and monsters."""
    assert not having("OBJ", "BODY")[400:800].any()
    assert not having("WALL")[2359]
    assert not having("NDOOR", "ODOOR", "CDOOR")[2363:2366].any()


def test_terrain_covers_every_glyph_with_the_class_of_its_category():
    kinds = [g.TERRAIN_CLASSES[k] for k in g.GLYPH_TERRAIN]
    assert g.GLYPH_TERRAIN.max() < g.NUM_TERRAIN_CLASSES == 16
    samples = {
        2359: "unseen", 2365: "wall", 2378: "floor", 2380: "corridor", 2371: "doorway", 2374: "closed_door",
        2382: "stairs_up", 2385: "stairs_down", 2390: "furniture", 2411: "trap", 2393: "liquid",
        2316: "pickup_item", 2200: "pickup_item", 2150: "other_item", 1150: "other_item",
        2353: "boulder", 5600: "boulder", 12: "hostile", 762: "hostile", 5590: "hostile",
        400: "friendly", 270: "friendly",
    }  # fmt: skip
    assert {glyph: kinds[glyph] for glyph in samples} == samples
    assert np.flatnonzero(g.GLYPH_TERRAIN == 0).tolist() == [g.STONE, nh.NO_GLYPH]


def test_attributes_are_bounded_and_tell_glyphs_apart():
    table = g.GLYPH_ATTRIBUTES
    assert table.shape == (g.NUM_GLYPHS, len(g.GLYPH_ATTRIBUTE_NAMES))
    assert table.dtype == np.float32
    assert table.min() == 0.0
    assert table.max() == 1.0
    kept = np.flatnonzero(~having("SWALLOW") & ((nh.GLYPH_EXPLODE_OFF > ALL) | (nh.GLYPH_SWALLOW_OFF <= ALL)))
    kept = kept[kept != nh.NO_GLYPH]
    assert len(np.unique(table[kept], axis=0)) == len(kept)


def test_hostile_attribute_spares_pets_and_the_peaceful():
    hostile = g.GLYPH_ATTRIBUTES[:, g.GLYPH_ATTRIBUTE_NAMES.index("hostile")]
    assert hostile[12] == 1
    assert hostile[g.PET_OFFSET + 12] == 0
    assert hostile[270] == 0
