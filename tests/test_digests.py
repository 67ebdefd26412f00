"""The digest of a position covers everything that a game shows, and digests of schema 2 still count."""

from __future__ import annotations

import json
import signal
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from support.workers import SEARCH, make_games, play, search

from tedg.config.compose import compose
from tedg.envs.digests import SCHEMA_2, Shown
from tedg.envs.frames import FRAME_KEYS, Frames
from tedg.envs.observation import Observation, Position
from tedg.envs.players import RandomLegalPlayer
from tedg.envs.vector import training_seeds
from tedg.learn.setup import make_env

FROZEN = json.loads((Path(__file__).parent / "frozen" / "positions_v2.json").read_text())
FIELDS = tuple(field.name for field in fields(Observation))


def nethack(num_workers=0):
    return make_games(cap=40, num_workers=num_workers)


def toy():
    overrides = ["env=fake", "env.num_envs=5", "env.max_episode_steps=40"]
    return make_env(compose(overrides).config, training_seeds(3))


def frozen_positions(kind):
    """Positions after 33 steps of a random legal player, as the version before wrote them, and migrated."""
    return [
        Position(p["episode"], bytes.fromhex(p["actions"]), SCHEMA_2 + p["digest"])
        for p in FROZEN[kind.__name__]
    ]


def copied(shown):
    """The same, in memory that nobody else writes to."""
    frames = Frames(**{name: getattr(shown.frames, name).copy() for name in FRAME_KEYS})
    return Shown(shown.observation.map(np.copy), frames)


def flip(array, env):
    """Change the last bit of the last element of one row."""
    row = array[env].reshape(-1) if array.ndim > 1 else array[env : env + 1]
    row.view(np.uint8)[-row.itemsize] ^= 1


@pytest.fixture(scope="module")
def shown():
    env = nethack()
    play(env, env.reset(), 20, RandomLegalPlayer(5, 0))
    found = copied(env._all_shown())
    env.close()
    return found


@pytest.mark.more_than_first(4)
@pytest.mark.parametrize("name", [*FIELDS, *(f"frames.{key}" for key in FRAME_KEYS)])
def test_a_change_anywhere_in_a_game_changes_its_digest_alone(name, shown):
    positions = [Position(digest=shown.digest(env)) for env in range(5)]
    changed = copied(shown)
    assert changed.strayed(positions) == []
    owner = changed.frames if name.startswith("frames.") else changed.observation
    flip(getattr(owner, name.removeprefix("frames.")), env=3)
    assert changed.strayed(positions) == [3]


@pytest.mark.more_than_first(1)
@pytest.mark.parametrize("workers", [0, 2])
def test_positions_tell_a_cell_of_the_map_that_no_observation_shows(workers):
    env = nethack(workers)
    play(env, env.reset(), 5, RandomLegalPlayer(5, 0))
    before = env.positions()
    hero = env._observation().hero[4]
    far = (20 if hero[0] < 10 else 0, 78 if hero[1] < 39 else 0)  # outside the crop
    env._players.memory.frames.glyphs[(4, *far)] ^= 1
    assert [a == b for a, b in zip(env.positions(), before, strict=True)] == [True] * 4 + [False]
    env.close()


@pytest.mark.more_than_first(1)
@pytest.mark.parametrize("workers", [0, 2])
def test_after_a_death_the_next_games_first_frame_counts(workers):
    env = make_games(num_envs=8, cap=10**6, num_workers=workers)
    env.reset()
    rng, died = np.random.default_rng(0), False
    while not died:
        step = env.step(rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 20], size=8))
        died = any(end.end == "death" for end in step.episodes)
    positions = env.positions()
    assert b"" in [position.actions for position in positions]
    frames = env._players.memory.frames
    assert frames.blstats.any(axis=1).all()
    other = make_games(num_envs=8, cap=10**6)
    assert other.resume(positions).lost == []
    assert other.positions() == positions
    for one in (env, other):
        one.close()


@pytest.mark.more
def test_games_that_wait_for_a_new_worker_are_still_told_by_their_last_frames(started):
    env = make_games(num_envs=4, num_workers=1)
    env.reset()
    search(env)
    before = env.positions()
    started[0].send_signal(signal.SIGKILL)
    env.send(0, np.full(2, SEARCH))
    assert len(env.receive(0).incidents) == 1
    assert env.positions()[2:] == before[2:]  # group 1 goes on at its next step, with the next games
    env.close()


def test_games_of_schema_2_come_back():
    env = toy()
    play(env, env.reset(), 33, RandomLegalPlayer(5, 0))
    now, positions = env.positions(), frozen_positions(toy)
    assert [(p.episode, p.actions) for p in now] == [(p.episode, p.actions) for p in positions]
    other = toy()
    assert other.resume(positions).lost == []
    assert other.positions() == now
    for one in (env, other):
        one.close()


def test_games_whose_state_features_have_changed_since_are_given_up():
    env = nethack()
    lost = env.resume(frozen_positions(nethack)).lost
    assert [(end.env, end.end) for end in lost] == [(number, "lost") for number in range(5)]
    env.close()


def test_a_game_of_schema_2_that_strays_is_given_up():
    positions = frozen_positions(toy)
    shorter = replace(positions[2], actions=positions[2].actions[:-1])
    env = toy()
    (lost,) = env.resume([*positions[:2], shorter, *positions[3:]]).lost
    assert (lost.env, lost.end, lost.length) == (2, "lost", len(shorter.actions))
    env.close()


@pytest.mark.more_than_first(3)
@pytest.mark.parametrize("name", [*FIELDS, "frames.glyphs"])
def test_digests_of_schema_2_tell_a_change_of_what_was_observed_then(name, shown):
    positions = [Position(digest=shown._digest_of_schema_2(env)) for env in range(5)]
    changed = copied(shown)
    assert changed.strayed(positions) == []
    owner = changed.frames if name.startswith("frames.") else changed.observation
    flip(getattr(owner, name.removeprefix("frames.")), env=1)
    assert changed.strayed(positions) == [1]


def test_a_digest_of_a_toy_covers_its_observation():
    env = toy()
    observation = env.reset()
    positions = env.positions()
    for name in FIELDS:
        changed = observation.map(np.copy)
        flip(getattr(changed, name), env=2)
        assert Shown(changed, None).strayed(positions) == [2]
