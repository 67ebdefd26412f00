"""Legality of the 23 actions, on real games and rule by rule."""

from __future__ import annotations

import numpy as np
import pytest
from nle.env.tasks import TASK_ACTIONS
from support.nethack_games import empty_frames, moments, update

from tedg.envs.actions import ACTION_KEYS, CANCEL, EAT, GO_DOWN, GO_UP, KICK, NO, YES
from tedg.envs.atoms import AtomTracker
from tedg.envs.masks import legal_actions
from tedg.envs.messages import offered_actions


@pytest.mark.parametrize("player", ["random", "random_legal"])
def test_mask_equals_the_oracle_and_is_never_empty(player):
    prompts = 0
    for moment in moments(player, 120, first_seed=40_000):
        np.testing.assert_array_equal(moment.legal, moment.mask)
        assert moment.legal.any(1).all()
        prompts += (moment.frames.misc[:, 0] != 0).sum()
    assert prompts > 5


def test_keys_are_those_of_nle():
    assert [int(action) for action in TASK_ACTIONS] == list(ACTION_KEYS)


def mask_of(frames):
    return legal_actions(update(frames), frames.blstats)


def test_a_dark_cell_is_open_and_a_wall_is_not():
    frames = empty_frames(1)
    frames.glyphs[0, 9, 40] = 2361  # north
    mask = mask_of(frames)[0]
    assert not mask[1]
    assert not mask[9]  # the run
    assert mask[2:9].all()


def test_no_diagonal_through_an_open_door():
    frames = empty_frames(1)
    frames.glyphs[0, 9, 41] = 2372  # north-east
    frames.glyphs[0, 9, 40] = 2373  # north
    mask = mask_of(frames)[0]
    assert mask[1]
    assert not mask[5]


def test_outside_prompts_there_is_nothing_to_cancel_eat_kick_or_climb():
    mask = mask_of(empty_frames(1))[0]
    assert not mask[[CANCEL, GO_UP, GO_DOWN, KICK, EAT]].any()
    assert mask[[19, 22]].all()  # wait, search


@pytest.mark.parametrize("glyph", [2374, 12])  # closed door, jackal
def test_kicks_are_for_doors_and_hostiles(glyph):
    frames = empty_frames(1)
    frames.glyphs[0, 9, 40] = glyph
    assert mask_of(frames)[0, KICK]


def test_the_first_level_cannot_be_left_upwards():
    frames = empty_frames(2)
    tracker = AtomTracker(2)
    frames.glyphs[:, 10, 41] = 2382
    frames.blstats[1, [12, 24]] = 2
    update(frames, tracker)
    frames.glyphs[:, 10, 40:42] = 2378, 333
    frames.blstats[:, 0] = 41
    mask = legal_actions(update(frames, tracker), frames.blstats)
    assert mask[:, GO_UP].tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "legal"),
    [
        (b"In what direction?", [CANCEL, *range(1, 9)]),
        (b"What do you want to eat? [b-eh or ?*]", [CANCEL, 4, 7, 21]),  # h, b, e typed by W, SW, EAT
        (b"There is a newt corpse here; eat it? [ynq] (n)", [CANCEL, NO, YES]),
        (b"Really attack the gnome?", [CANCEL, NO, YES]),
    ],
)
def test_prompts(text, legal):
    frames = empty_frames(1)
    frames.misc[0, 0] = 1
    frames.message[0, : len(text)] = list(text)
    assert np.flatnonzero(mask_of(frames)[0]).tolist() == legal


def test_runs_of_letters_are_expanded():
    offered = {chr(ACTION_KEYS[i]) for i in np.flatnonzero(offered_actions(b"eat? [g-kL or ?*]"))}
    assert offered == set("hjkL")
