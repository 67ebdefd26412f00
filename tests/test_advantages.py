"""Generalised advantage estimates: against a plain loop, and where truncation must not count as death."""

from __future__ import annotations

import pytest
import torch

from tedg.learn.rollout import advantages

STEPS, ENVS = 12, 3
GAMMA, LAMBDA = 0.9, 0.8


def plain_loop(reward, value, next_value, ended):
    """The definition, one sum per sample: A_t = sum_k (gamma lambda)^k delta_{t+k} to the episode's end."""
    result = torch.zeros_like(reward)
    for t in range(STEPS):
        for e in range(ENVS):
            weight = 1.0
            for k in range(t, STEPS):
                delta = reward[k, e] + GAMMA * next_value[k, e] - value[k, e]
                result[t, e] += weight * delta
                if ended[k, e]:
                    break
                weight *= GAMMA * LAMBDA
    return result


@pytest.fixture
def rollout():
    generator = torch.Generator().manual_seed(0)
    reward = torch.randn(STEPS, ENVS, generator=generator, dtype=torch.float64)
    value = torch.randn(STEPS, ENVS, generator=generator, dtype=torch.float64)
    next_value = torch.randn(STEPS, ENVS, generator=generator, dtype=torch.float64)
    ended = torch.rand(STEPS, ENVS, generator=generator) < 0.25
    return reward, value, next_value, ended


def test_equals_the_definition(rollout):
    expected = plain_loop(*rollout)
    torch.testing.assert_close(advantages(*rollout, GAMMA, LAMBDA), expected, rtol=0, atol=1e-12)


def test_nothing_flows_back_over_an_episodes_end(rollout):
    reward, value, next_value, ended = rollout
    ended[5] = True
    before = advantages(reward, value, next_value, ended, GAMMA, LAMBDA)
    reward[6:] += 100.0
    after = advantages(reward, value, next_value, ended, GAMMA, LAMBDA)
    assert torch.equal(before[:6], after[:6])
    assert not torch.equal(before[6:], after[6:])


def test_the_order_of_steps_matters(rollout):
    reward, value, next_value, ended = rollout
    order = torch.arange(STEPS).flip(0)
    shuffled = advantages(reward[order], value[order], next_value[order], ended[order], GAMMA, LAMBDA)[order]
    assert not torch.allclose(shuffled, advantages(*rollout, GAMMA, LAMBDA))


@pytest.mark.parametrize(("bootstraps", "expected"), [(True, 1 / (1 - GAMMA)), (False, None)])
def test_endless_reward_is_worth_its_geometric_sum(bootstraps, expected):
    """Reward 1 for ever, cut every 5 steps: iterating V <- V + A must reach 1 / (1 - gamma), and
    stays far below it when a cut is treated as a death."""
    value = torch.zeros((), dtype=torch.float64)
    cut = torch.zeros(STEPS, 1, dtype=torch.bool)
    cut[4::5] = True
    for _ in range(400):
        values = value.expand(STEPS, 1)
        next_value = values.clone()
        if not bootstraps:
            next_value[cut] = 0.0
        reward = torch.ones(STEPS, 1, dtype=torch.float64)
        value = value + advantages(reward, values, next_value, cut, GAMMA, LAMBDA).mean()
    if expected is None:
        assert float(value) < 0.7 / (1 - GAMMA)
    else:
        assert float(value) == pytest.approx(expected, rel=1e-6)
