"""Running games are brought back by playing them again, bit for bit, and those that stray are given up."""

from __future__ import annotations

import signal
from dataclasses import replace

import numpy as np
import pytest
from support.seeds import Deadly
from support.workers import make_games, play, search, values_of

from tedg.config.compose import compose
from tedg.envs.observation import Position
from tedg.envs.players import RandomLegalPlayer
from tedg.envs.vector import NetHackVectorEnv, training_seeds
from tedg.learn.setup import make_env

CAP = 40


def nethack(**kwargs):
    return make_games(num_envs=5, cap=CAP, **{"num_workers": 0, **kwargs})


def toy(**_):
    overrides = ["env=fake", "env.num_envs=5", f"env.max_episode_steps={CAP}"]
    return make_env(compose(overrides).config, training_seeds(3))


@pytest.mark.more_than_first(1)
@pytest.mark.parametrize("steps", [0, 1, 33, 111])
@pytest.mark.parametrize("kind", [nethack, toy])
def test_a_resumed_vector_goes_on_as_if_nothing_had_happened(kind, steps):
    env, player = kind(), RandomLegalPlayer(5, 0)
    shown, _ = play(env, env.reset(), steps, player)
    positions = env.positions()
    other = kind(num_workers=2)
    resumed = other.resume(positions)
    assert (resumed.lost, resumed.incidents) == ([], [])
    assert values_of(resumed.observation) == values_of(shown)
    assert other.positions() == positions
    again = RandomLegalPlayer(5, 1)
    _, expected = play(env, shown, 120, RandomLegalPlayer(5, 1))
    _, found = play(other, resumed.observation, 120, again)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == theirs
    assert sum(len(episodes) for *_, episodes in found) > 5
    assert other.positions() == env.positions()
    env.close()
    other.close()


@pytest.mark.parametrize("task", ["NetHackEat", "NetHackScout", "NetHackGold"])
def test_rewards_that_remember_are_brought_back(task):
    def env():
        return NetHackVectorEnv(task, "score", "nethack", 3, 200, "legal", training_seeds(1))

    one, other = env(), env()
    player = RandomLegalPlayer(3, 0)
    shown, _ = play(one, one.reset(), 90, player)
    resumed = other.resume(one.positions())
    _, expected = play(one, shown, 60, RandomLegalPlayer(3, 2))
    _, found = play(other, resumed.observation, 60, RandomLegalPlayer(3, 2))
    assert found == expected
    one.close()
    other.close()


@pytest.mark.parametrize("kind", [nethack, toy])
def test_a_game_that_strays_is_given_up_and_the_next_begins(kind):
    env = kind()
    shown, _ = play(env, env.reset(), 33, RandomLegalPlayer(5, 0))
    positions = env.positions()
    altered = [*positions]
    altered[3] = replace(positions[3], digest="0" * 32)
    other = kind()
    resumed = other.resume(altered)
    (lost,) = resumed.lost
    plan = training_seeds(3)
    assert (lost.env, lost.end) == (3, "lost")
    assert (lost.seed, lost.length) == (plan(3, positions[3].episode), len(positions[3].actions))
    keep = np.array([True, True, True, False, True])
    assert values_of(resumed.observation[keep]) == values_of(shown[keep])
    after = other.positions()
    assert (after[3].episode, after[3].actions) == (positions[3].episode + 1, b"")
    first = kind()
    fresh = first.resume([Position(positions[3].episode + 1)] * 5)
    assert values_of(fresh.observation[[3]]) == values_of(resumed.observation[[3]])
    for one in (env, other, first):
        one.close()


def test_a_changed_action_is_noticed():
    env = nethack()
    play(env, env.reset(), 33, RandomLegalPlayer(5, 0))
    positions = env.positions()
    actions = bytearray(positions[0].actions)
    assert actions
    actions[0] = 1 if actions[0] != 1 else 3
    other = nethack()
    resumed = other.resume([replace(positions[0], actions=bytes(actions)), *positions[1:]])
    assert [end.env for end in resumed.lost] == [0]
    env.close()
    other.close()


def test_a_game_that_dies_while_it_is_played_again_is_given_up():
    env = make_games(num_envs=1, cap=10_000, num_workers=0)
    observation, player, actions = env.reset(), RandomLegalPlayer(1, 0), b""
    while True:
        action = player.act(observation)
        actions += bytes([action.item()])
        step = env.step(action)
        if step.episodes:
            break
        observation = step.observation
    assert step.episodes[0].end == "death"
    beyond = Position(0, actions + bytes(5), "0" * 32)
    resumed = env.resume([beyond])
    assert [(end.env, end.length, end.end) for end in resumed.lost] == [(0, len(actions) + 5, "lost")]
    assert values_of(resumed.observation) == values_of(step.observation)
    assert env.positions()[0].episode == 1
    play(env, resumed.observation, 15, RandomLegalPlayer(1, 0))
    env.close()


@pytest.mark.more
def test_a_worker_that_dies_while_it_plays_games_again_costs_one_game():
    env = make_games(num_envs=2, num_workers=0)
    play(env, env.reset(), 20, RandomLegalPlayer(2, 0))
    positions = env.positions()
    deadly = make_games(num_envs=2, num_workers=1, seeds=Deadly(env=1, episode=positions[1].episode))
    resumed = deadly.resume(positions)
    assert [(end.env, end.length) for end in resumed.lost] == [(1, len(positions[1].actions))]
    assert len(resumed.incidents) == 1
    assert "SIGSEGV" in resumed.incidents[0]
    assert deadly.positions()[1].episode == positions[1].episode + 1
    env.close()
    deadly.close()


@pytest.mark.parametrize("kind", [nethack, toy])
def test_positions_need_games_that_stand_still(kind):
    env = kind()
    with pytest.raises(RuntimeError, match="after a reset"):
        env.positions()
    env.reset()
    env.send(0, np.full(2, 1))
    with pytest.raises(RuntimeError, match="not during a step"):
        env.positions()
    env.receive(0)
    assert [len(position.actions) for position in env.positions()] == [1, 1, 0, 0, 0]
    env.close()


@pytest.mark.more
def test_a_used_vector_can_be_resumed_and_a_worker_lost_afterwards(started):
    env = nethack(num_workers=2)
    shown, _ = play(env, env.reset(), 10, RandomLegalPlayer(5, 0))
    positions = env.positions()
    play(env, shown, 10, RandomLegalPlayer(5, 0))
    assert values_of(env.resume(positions).observation) == values_of(shown)
    started[-1].send_signal(signal.SIGKILL)
    step = search(env)
    assert {end.end for end in step.episodes} == {"lost"}
    env.close()
