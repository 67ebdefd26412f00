"""The atoms of real games, against a plain oracle and against what NetHack's numbers mean."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from support import atoms_oracle as oracle
from support.nethack_games import empty_frames, moments, update

from tedg.envs.atoms import ATOMS, AtomTracker
from tedg.envs.frames import Frames
from tedg.envs.messages import MessageTable, message_atoms

PLAYERS = ("random", "random_legal", "script")
CHANGE = ("t_frozen", "t_frozen_4", "still_8", "hp_lost", "hp_lost_big", "score_up", "gold_up", "xp_up")


def atom(view, name):
    return view.atoms[:, ATOMS.index(name)]


def compare(player, steps, **kwargs):
    """Every atom and every legality bit of every state equals the oracle's; returns the number of states."""
    states = 0
    for moment in moments(player, steps, **kwargs):
        wrong = sorted({ATOMS[j] for j in np.nonzero(moment.view.atoms != moment.atoms)[1]})
        assert not wrong, f"{wrong} differ after {states} states"
        np.testing.assert_array_equal(moment.legal, moment.mask)
        states += len(moment.atoms)
    return states


@pytest.mark.parametrize("player", PLAYERS)
def test_atoms_equal_the_oracle(player):
    assert compare(player, 170) == 170 * 8


@pytest.mark.slow
@pytest.mark.parametrize("player", PLAYERS)
def test_atoms_equal_the_oracle_on_many_states(player):
    assert compare(player, 1500, cap=1000, first_seed=77_000) == 12_000


def test_names_are_the_oracles_in_its_order():
    frames, memory = empty_frames(1), oracle.Memory(1)
    f = frames
    raw = (f.glyphs, f.blstats, f.message, f.inv_oclasses, f.inv_letters, f.misc)
    assert tuple(oracle.compute(*raw, memory, np.zeros(1, np.int64))[1]) == ATOMS
    assert len(ATOMS) == len(set(ATOMS)) == 128


def test_a_game_does_not_see_the_others():
    """Each game of a batch has the atoms, neighbours and overview that it has alone."""
    alone = [AtomTracker(1) for _ in range(4)]
    for moment in moments("script", 80, num_envs=4, cap=60):
        for i, tracker in enumerate(alone):
            if moment.first[i]:
                tracker.reset(0)
            row = Frames(*(getattr(moment.frames, f.name)[i : i + 1] for f in fields(Frames)))
            view = tracker.update(row, moment.actions[i : i + 1])
            np.testing.assert_array_equal(view.atoms[0], moment.view.atoms[i])
            for name in ("hostile_dirs", "overview", "crop", "offers", "previous"):
                here, there = getattr(view, name)[0], getattr(moment.view, name)[i]
                np.testing.assert_array_equal(here, there, err_msg=name)
            for name in view.scan.dtype.names:
                here, there = view.scan[name][0], moment.view.scan[name][i]
                np.testing.assert_array_equal(here, there, err_msg=name)


def test_atoms_of_change_are_false_on_a_first_frame():
    """Also when the frame before, of another game, was quite different."""
    firsts = 0
    for moment in moments("random_legal", 90, num_envs=4, cap=25):
        changes = moment.view.atoms[:, [ATOMS.index(name) for name in (*CHANGE, "level_changed")]]
        assert not changes[moment.first].any()
        firsts += moment.first.sum()
    assert firsts >= 12


def test_hunger_is_an_enumeration_not_a_number_of_turns():
    frames = empty_frames(7)
    frames.blstats[:, 21] = np.arange(7)
    view = update(frames)
    for status, names in enumerate(("satiated", "not_hungry", "hungry", "weak", *["fainting"] * 3)):
        hunger = ("satiated", "not_hungry", "hungry", "weak", "fainting")
        assert [name for name in hunger if atom(view, name)[status]] == [names]


def test_hero_is_not_its_own_neighbour():
    view = update(empty_frames(1))
    assert not atom(view, "hostile_adj")[0]
    assert not atom(view, "hostile_seen")[0]
    assert not view.hostile_dirs.any()


def test_monsters_beside_the_hero_are_told_by_direction():
    frames = empty_frames(8)
    steps = ((-1, 0), (0, 1), (1, 0), (0, -1), (-1, 1), (1, 1), (1, -1), (-1, -1))  # N E S W NE SE SW NW
    for i, (dy, dx) in enumerate(steps):
        frames.glyphs[i, 10 + dy, 40 + dx] = 12  # a jackal
    np.testing.assert_array_equal(update(frames).hostile_dirs, np.eye(8, dtype=bool))


@pytest.mark.parametrize(
    ("glyph", "true", "false"),
    [
        (2359, ("stone_adj",), ("wall_adj", "item_adj")),
        (2360, ("wall_adj",), ("odoor_adj", "cdoor_adj")),
        (2363, ("wall_adj",), ("odoor_adj", "cdoor_adj")),
        (2370, ("wall_adj",), ("odoor_adj", "cdoor_adj")),
        (2371, ("odoor_adj",), ("wall_adj", "cdoor_adj")),
        (2372, ("odoor_adj",), ("cdoor_adj",)),
        (2375, ("cdoor_adj",), ("odoor_adj",)),
        (2383, ("down_adj", "down_seen"), ("up_seen",)),
        (400, ("pet_adj",), ("item_adj", "hostile_adj")),
        (2316, ("item_adj", "autopick_adj"), ("hostile_adj",)),
        (2150, ("item_adj", "food_adj"), ("autopick_adj",)),
        (28, ("hostile_adj", "passive_adj"), ("tough_adj",)),
        (762, ("hostile_adj", "unseen_adj"), ()),
        (270, ("peaceful_adj",), ("hostile_adj",)),
    ],
)
def test_glyph_numbers(glyph, true, false):
    frames = empty_frames(1)
    frames.glyphs[0, 9, 40] = glyph
    view = update(frames)
    assert all(atom(view, name)[0] for name in true)
    assert not any(atom(view, name)[0] for name in false)


def test_background_under_the_hero_is_remembered():
    """A cell seen as a doorway is still one when the hero stands on it, until the level changes."""
    frames, tracker = empty_frames(1), AtomTracker(1)
    frames.glyphs[0, 10, 41] = 2371
    update(frames, tracker)
    frames.glyphs[0, 10, 40:42] = 2359, 333
    frames.blstats[0, 0] = 41
    assert atom(update(frames, tracker), "on_door")[0]
    frames.blstats[0, 24] = 2
    view = update(frames, tracker)
    assert not atom(view, "on_door")[0]
    assert atom(view, "level_changed")[0]


def test_stairs_taken_lie_under_the_hero():
    frames, tracker = empty_frames(2), AtomTracker(2)
    update(frames, tracker)
    frames.blstats[:, 24] = 2
    view = tracker.update(frames, np.array([18, 17]))  # down, up
    assert atom(view, "on_up").tolist() == [True, False]
    assert atom(view, "on_down").tolist() == [False, True]


def test_messages_are_read_alike_before_and_after_the_table_fills(monkeypatch):
    monkeypatch.setattr("tedg.envs.messages._CAPACITY", 4)
    table, rows = MessageTable(), np.arange(2)
    texts = [b"You kill it!", b"It's a wall.", b"$ - 12 gold pieces.", b"WHAMM!", b"You hear a door open."]
    for first, second in pairwise(texts):
        messages = np.zeros((2, 256), np.uint8)
        for row, text in zip(messages, (first, second), strict=True):
            row[: len(text)] = list(text)
        found = table.atoms[table.lookup(messages, rows)]
        np.testing.assert_array_equal(found, [message_atoms(first), message_atoms(second)])
