"""The vector of games and the toy that stands in for it: same-step autoreset, ownership, determinism."""

from __future__ import annotations

import numpy as np
import pytest

from tedg.envs.atoms import ATOMS
from tedg.envs.features import STATE_HIGH, STATE_LOW, SYMBOLIC_STATE
from tedg.envs.players import RandomLegalPlayer, RandomPlayer
from tedg.envs.toys.env import ToyVectorEnv
from tedg.envs.toys.fake import ACTION_IF_CUE, ACTION_IF_NOT, Fake
from tedg.envs.vector import NetHackVectorEnv, held_out_seeds, training_seeds
from tedg.hypergraph.schema import load_hypergraph

KINDS = ("nethack", "toy")


def make(kind, num_envs=4, cap=30, mask="legal", seeds=None, **kwargs):
    seeds = seeds or training_seeds(0)
    if kind == "toy":
        return ToyVectorEnv(Fake(), "nethack", num_envs, cap, mask, seeds)
    return NetHackVectorEnv("NetHackScore", "score", "nethack", num_envs, cap, mask, seeds, **kwargs)


def rollout(env, steps, player=None):
    """First observation, then (actions, step) pairs."""
    player = player or RandomLegalPlayer(env.num_envs, 0)
    observation = env.reset()
    history = [observation]
    for _ in range(steps):
        actions = player.act(observation)
        step = env.step(actions)
        history.append((actions, step))
        observation = step.observation
    return history


def assert_same(a, b):
    for (name, x), (_, y) in zip(a.items(), b.items(), strict=True):
        np.testing.assert_array_equal(x, y, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_types_and_ranges(kind):
    env = make(kind)
    spec = env.spec
    shapes = {
        "state": ((115,), np.float32), "atoms": ((128,), np.bool_), "mask": ((23,), np.bool_),
        "crop": ((9, 9), np.int16), "overview": ((7, 20, 16), np.uint8),
        "hero": ((2,), np.int16), "hostile_dirs": ((8,), np.bool_), "noise": ((), np.int64),
    }  # fmt: skip
    assert (spec.num_actions, spec.num_atoms, spec.state_dim, spec.crop_size) == (23, 128, 115, 9)
    assert spec.overview_shape == (7, 20, 16)
    np.testing.assert_array_equal(spec.symbolic_state, SYMBOLIC_STATE)
    first, *steps = rollout(env, 40)
    for observation in (first, *(step.observation for _, step in steps)):
        found = {name: (array.shape[1:], array.dtype) for name, array in observation.items()}
        assert found == shapes
        assert observation.mask.any(1).all()
        assert (observation.state >= STATE_LOW).all()
        assert (observation.state <= STATE_HIGH).all()
        assert (observation.overview.sum(3)[:, :, :-1] == 12).all()
        assert (observation.overview.sum(3)[:, :, -1] == 9).all()
        assert observation.crop.min() >= 0
        assert observation.crop.max() <= 5976


@pytest.mark.parametrize("kind", KINDS)
def test_step_limit_is_a_truncation_with_a_live_last_frame(kind):
    _, *steps = rollout(make(kind, cap=12), 40)
    cut = 0
    for _, step in steps:
        for k, env in enumerate(step.final_index):
            if step.truncated[env]:
                cut += 1
                assert not step.terminated[env]
                assert (step.episodes[k].end, step.episodes[k].length) == ("truncated", 12)
                assert step.final_observation.crop[k].any()
                assert step.final_observation.state[k, 0] >= (0 if kind == "toy" else 1e-3)  # hit points
    assert cut >= 4


@pytest.mark.parametrize("kind", KINDS)
def test_final_observation_is_the_ended_episodes(kind):
    """What a shorter limit cuts off is what the same game shows under a longer one, at that very step."""
    short, long = make(kind, cap=5), make(kind, cap=10**6)
    player = RandomPlayer(4, 3)
    seen = short.reset()
    long.reset()
    alive = np.ones(4, bool)
    for t in range(5):
        actions = player.act(seen)
        a, b = short.step(actions), long.step(actions)
        alive &= ~(a.terminated | b.terminated)
        if t < 4:
            assert_same(a.observation[alive], b.observation[alive])
    assert a.truncated[alive].all()
    rows = np.flatnonzero(alive)
    kept = np.isin(a.final_index, rows)
    assert_same(a.final_observation[kept], b.observation[rows])
    assert not np.array_equal(a.final_observation.crop[kept], a.observation.crop[rows])
    short.close()
    long.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_dead_leave_their_last_living_frame(kind):
    env = make(kind, cap=10**6, num_envs=8)
    rng, observation, deaths = np.random.default_rng(0), env.reset(), 0
    for _ in range(3000):
        before, dead = observation, []
        step = env.step(rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 20], size=8))
        observation = step.observation
        for k, i in enumerate(step.final_index):
            dead.append(i)
            assert step.episodes[k].end == "death"
            assert step.terminated[i]
            assert not step.truncated[i]
        if dead:
            deaths += len(dead)
            assert_same(step.final_observation, before[np.array(dead)])
        if deaths >= 2:
            break
    env.close()
    assert deaths >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_observations_are_not_overwritten(kind):
    env = make(kind, cap=10)
    player, kept = RandomLegalPlayer(4, 0), []
    observation = env.reset()
    for _ in range(25):
        step = env.step(player.act(observation))
        observation = step.observation
        for seen in (observation, step.final_observation):
            if seen is not None:
                kept.append((seen, seen.map(np.copy)))
    env.close()
    for seen, copy in kept:
        assert_same(seen, copy)


@pytest.mark.parametrize("kind", KINDS)
def test_same_seeds_same_rollout_and_reset_starts_the_plan_anew(kind):
    env = make(kind, cap=15)
    player = RandomLegalPlayer(4, 0)
    first, *a = rollout(env, 35, player)
    again, *b = rollout(env, 35, RandomLegalPlayer(4, 0))
    env.close()
    assert_same(first, again)
    for (_, x), (_, y) in zip(a, b, strict=True):
        assert_same(x.observation, y.observation)
        np.testing.assert_array_equal(x.reward, y.reward)
        assert x.episodes == y.episodes


@pytest.mark.parametrize("kind", KINDS)
def test_a_game_is_the_same_in_any_vector(kind):
    """Environment i of a vector of five equals the one environment of a vector that plays its seeds."""
    plan = training_seeds(7)
    together, *steps = rollout(make(kind, num_envs=5, cap=20, seeds=plan), 45, RandomPlayer(5, 1))
    for i in (0, 4):
        alone = make(kind, num_envs=1, cap=20, seeds=lambda _, episode, i=i: plan(i, episode))
        assert_same(alone.reset(), together[i : i + 1])
        for actions, step in steps:
            own = alone.step(actions[i : i + 1])
            assert_same(own.observation, step.observation[i : i + 1])
            assert own.reward[0] == step.reward[i]
            ended = [e for e in step.episodes if e.env == i]
            assert [(e.seed, e.score, e.end) for e in own.episodes] == [
                (e.seed, e.score, e.end) for e in ended
            ]
        alone.close()


@pytest.mark.parametrize("kind", KINDS)
def test_episode_sums_are_the_steps(kind):
    _, *steps = rollout(make(kind, cap=25), 80)
    total, length, ended = np.zeros(4), np.zeros(4, int), 0
    for _, step in steps:
        total += step.reward
        length += 1
        for episode in step.episodes:
            ended += 1
            assert episode.length == length[episode.env]
            assert episode.episode_return == pytest.approx(total[episode.env], abs=1e-4)
            total[episode.env], length[episode.env] = 0, 0
    assert ended >= 8


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_mask_everything_is_legal_but_the_rules_still_speak(kind):
    masked, free = make(kind), make(kind, mask="none")
    a, b = masked.reset(), free.reset()
    assert not a.mask.all()
    assert b.mask.all()
    np.testing.assert_array_equal(a.state, b.state)
    masked.close()
    free.close()
    with pytest.raises(ValueError, match=r"leagl.*legal, none"):
        make(kind, mask="leagl")


def test_wrong_actions_are_refused():
    env = make("nethack", num_envs=2)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.array([1, 1]))
    env.reset()
    for actions in ([1, 23], [-1, 0], [1]):
        with pytest.raises(ValueError, match="0 to 22"):
            env.step(np.array(actions))
    env.close()


def test_hypergraph_decides_which_atoms_are_seen(tmp_path):
    graph = load_hypergraph("nethack")
    named = make("nethack", num_envs=2).reset().atoms
    lines = ["version: test", "num_actions: 23", "atoms:"]
    used = ["on_floor", "prompt", "pet_adj", "hp_full"]
    lines += [f"  - name: {name}" for name in used]
    lines += [f"experts: [{', '.join(graph.experts)}]", "operators:"]
    for k, expert in enumerate(graph.experts):
        lines += [f"  - {{id: o{k}, name: o{k}, expert: {expert}, preconditions: [{used[k]}], actions: [1]}}"]
    path = tmp_path / "small.yaml"
    path.write_text("\n".join(lines) + "\n")
    env = NetHackVectorEnv("NetHackScore", "score", path, 2, 30, "legal", training_seeds(0))
    assert env.spec.num_atoms == 4
    np.testing.assert_array_equal(env.reset().atoms, named[:, [ATOMS.index(name) for name in used]])
    env.close()
    path.write_text(path.read_text().replace("on_floor", "on_the_moon"))
    with pytest.raises(ValueError, match="on_the_moon"):
        NetHackVectorEnv("NetHackScore", "score", path, 2, 30, "legal", training_seeds(0))


def test_seed_plans_never_meet():
    training = training_seeds(3)
    drawn = [training(env, episode) for env in range(32) for episode in range(50)]
    assert len(set(drawn)) > 1595
    assert all(2**30 <= seed < 2**31 for seed in drawn)
    assert drawn != [training_seeds(4)(env, episode) for env in range(32) for episode in range(50)]
    held_out = held_out_seeds(500_000, 10, 4)
    assert [held_out(1, episode) for episode in range(4)] == [500_001, 500_005, 500_009, 500_003]
    games = {held_out(env, episode) for env in range(4) for episode in range(3)}
    assert games == set(range(500_000, 500_010))
    for first, count in ((2**30, 1), (2**30 - 5, 10), (-1, 3), (0, 0)):
        with pytest.raises(ValueError, match="held-out"):
            held_out_seeds(first, count, 4)


def test_fakes_reward_is_told_by_the_cue():
    env, graph = make("toy", num_envs=8, cap=20), load_hypergraph("nethack")
    cue_atom = graph.atoms.index(graph.operators[0].preconditions[0].atom)
    observation, total = env.reset(), 0.0
    for _ in range(50):
        cue = observation.atoms[:, cue_atom]
        np.testing.assert_array_equal(observation.state[:, 0], cue)
        step = env.step(np.where(cue, ACTION_IF_CUE, ACTION_IF_NOT))
        total += step.reward.sum()
        observation = step.observation
    assert total == 400


def test_a_bonus_is_for_what_was_not_seen_at_the_start_and_counts_in_no_return():
    plain, paid = (make("nethack", cap=60, exploration_bonus=bonus) for bonus in (0.0, 1000.0))
    bonus, returns = [], []
    for (_, bare), (_, step) in zip(rollout(plain, 60)[1:], rollout(paid, 60)[1:], strict=True):
        bonus.append(step.reward - bare.reward)
        returns += [
            (a.episode_return, b.episode_return) for a, b in zip(step.episodes, bare.episodes, strict=True)
        ]
    assert (bonus[0] < 20_000).all()  # the first room alone has more than twenty cells
    assert np.sum(bonus) > 50_000
    assert returns
    assert all(a == b for a, b in returns)
    plain.close()
    paid.close()
