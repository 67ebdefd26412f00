"""Reward scaling: the spread of the discounted return, exact over batches, episodes and resumes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tedg.learn.normalise import ReturnNormaliser


def discounted(rewards, ends, gamma):
    """Plain loop: the running return after every step."""
    out = np.zeros(rewards.shape)
    running = np.zeros(rewards.shape[1])
    for t in range(len(rewards)):
        running = running * gamma + rewards[t]
        out[t] = running
        running[ends[t]] = 0
    return out


def test_by_hand():
    normaliser = ReturnNormaliser(1, gamma=0.5)
    rewards = np.array([[2.0], [1.0], [4.0]], dtype=np.float32)
    ends = np.array([[False], [True], [False]])
    # Returns 2, 0.5 * 2 + 1 = 2, then a new episode: 4. Mean 8/3, variance 8/9.
    scaled = normaliser.update(rewards, ends)
    assert normaliser.std == pytest.approx((8 / 9) ** 0.5)
    np.testing.assert_allclose(scaled, rewards / (8 / 9) ** 0.5, rtol=1e-6)
    assert scaled.dtype == np.float32


def test_batches_add_up_to_the_variance_of_everything():
    rng = np.random.default_rng(0)
    rewards = (rng.normal(size=(60, 5)) + 1000).astype(np.float32)
    ends = rng.random((60, 5)) < 0.1
    normaliser = ReturnNormaliser(5, gamma=0.9)
    for start, stop in ((0, 1), (1, 20), (20, 60)):
        normaliser.update(rewards[start:stop], ends[start:stop])
    assert normaliser.std == pytest.approx(discounted(rewards.astype(np.float64), ends, 0.9).std(), rel=1e-9)


def test_one_step_at_a_time_gives_the_same_statistics():
    rng = np.random.default_rng(1)
    rewards, ends = rng.normal(size=(30, 3)), rng.random((30, 3)) < 0.2
    whole, stepwise = ReturnNormaliser(3, 0.99), ReturnNormaliser(3, 0.99)
    whole.update(rewards, ends)
    for reward, end in zip(rewards, ends, strict=True):
        assert stepwise.update(reward, end).shape == (3,)
    assert stepwise.std == pytest.approx(whole.std, rel=1e-12)


def test_start_without_spread_divides_by_one():
    normaliser = ReturnNormaliser(2, 0.99)
    assert normaliser.std == 1.0
    zeros = np.zeros((4, 2), dtype=np.float32)
    np.testing.assert_array_equal(normaliser.update(zeros, zeros > 0), zeros)
    assert normaliser.std == 1.0


def test_a_first_rare_reward_stays_bounded():
    normaliser = ReturnNormaliser(32, 0.995)
    rewards = np.zeros((128, 32), dtype=np.float32)
    rewards[100, 3] = 1e-3
    assert normaliser.update(rewards, rewards > 1).max() < 128 * 32


def test_a_nan_reward_is_not_hidden():
    normaliser = ReturnNormaliser(1, 0.99)
    good = normaliser.state_dict()
    assert np.isnan(normaliser.update(np.array([np.nan]), np.array([False]))).all()
    normaliser.load_state_dict(good)
    assert normaliser.std == 1.0


def test_state_round_trip_continues_exactly():
    rng = np.random.default_rng(2)
    rewards, ends = rng.normal(size=(40, 4)), rng.random((40, 4)) < 0.1
    through, first, second = (ReturnNormaliser(4, 0.97) for _ in range(3))
    first.update(rewards[:17], ends[:17])
    state = first.state_dict()
    first.update(rewards[17:20], ends[17:20])  # the state is a copy
    second.load_state_dict(state)
    through.update(rewards[:17], ends[:17])
    np.testing.assert_array_equal(
        second.update(rewards[17:], ends[17:]), through.update(rewards[17:], ends[17:])
    )
    assert all(value.dtype == torch.float64 for value in state.values())


def test_bad_arguments():
    with pytest.raises(ValueError, match="num_envs"):
        ReturnNormaliser(0, 0.9)
    with pytest.raises(ValueError, match="gamma"):
        ReturnNormaliser(2, 1.1)
    with pytest.raises(ValueError, match="must both end in 2"):
        ReturnNormaliser(2, 0.9).update(np.zeros((5, 3)), np.zeros((5, 3), dtype=bool))
    with pytest.raises(ValueError, match="3 environments, not 2"):
        ReturnNormaliser(2, 0.9).load_state_dict(ReturnNormaliser(3, 0.9).state_dict())
