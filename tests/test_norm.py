"""Running standardisation: exact statistics, and nothing that moves between acting and updating."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from support.models import batch, toy
from support.settings import NARROW

from tedg.learn.ppo import Learner
from tedg.learn.rollout import Collector
from tedg.learn.stages import make_schedule
from tedg.models.norm import LIMIT, WINDOW, RunningNorm, observing
from tedg.models.routing import Softmax

CPU = torch.device("cpu")


def batches(count, size=64, features=3):
    """Batches whose means drift, so that the variance between them counts."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([1.0, 5.0, 0.1], dtype=torch.float64)
    return [
        torch.randn(size, features, generator=generator, dtype=torch.float64) * scale + scale * (i - 2)
        for i in range(count)
    ]


def observed(parts):
    norm = RunningNorm(3).double()
    with observing(norm):
        for part in parts:
            norm(part)
    return norm


def statistics(norm):
    return {name: value.clone() for name, value in norm.named_buffers()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_nothing_changes_before_the_first_batch_but_outliers():
    x = torch.tensor([[-3.0, 0.0, 2 * LIMIT]])
    expected = torch.tensor([[-3.0, 0.0, LIMIT]])
    torch.testing.assert_close(RunningNorm(3)(x), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("count", [1, 2, 7, WINDOW])
def test_statistics_of_the_first_batches_are_exact(count):
    parts = batches(count)
    norm = observed(parts)
    everything = torch.cat(parts)
    torch.testing.assert_close(norm.mean, everything.mean(dim=0))
    torch.testing.assert_close(norm.variance, everything.var(dim=0, correction=0))
    assert int(norm.batches) == count


def test_later_statistics_forget():
    norm = observed(batches(WINDOW))
    with observing(norm):
        for _ in range(10 * WINDOW):
            norm(torch.full((4, 3), 7.0, dtype=torch.float64))
    torch.testing.assert_close(norm.mean, torch.full((3,), 7.0, dtype=torch.float64), rtol=1e-3, atol=0)
    assert (norm.variance < 1e-2 * observed(batches(WINDOW)).variance).all()


def test_output_has_mean_zero_and_spread_one():
    parts = batches(5)
    output = observed(parts)(torch.cat(parts))
    torch.testing.assert_close(output.mean(dim=0), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)
    # The share of variance that is added for safety is largest in the smallest feature.
    torch.testing.assert_close(
        output.std(dim=0, correction=0), torch.ones(3, dtype=torch.float64), atol=5e-3, rtol=0
    )


def test_a_constant_feature_stays_near_zero():
    norm = observed([torch.full((8, 3), 4.0, dtype=torch.float64)])
    assert float(norm(torch.full((1, 3), 4.001, dtype=torch.float64)).max()) < 0.2


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_only_observing_moves_the_statistics(mode):
    norm = observed(batches(2))
    before = statistics(norm)
    getattr(norm, mode)()(batches(1)[0] + 100)
    assert same(before, statistics(norm))


def test_an_error_while_observing_ends_it():
    norm = RunningNorm(3)
    with pytest.raises(RuntimeError, match="mine"), observing(norm):
        raise RuntimeError("mine")
    assert not norm.observing


def norms(policy):
    return {name: m for name, m in policy.named_modules() if isinstance(m, RunningNorm)}


@pytest.mark.parametrize(
    ("fusion", "names"),
    [
        ("concat", {"vision.state_input.norm", "vision.head.2", "logic.norm"}),
        ("cross_attn", {"vision.state_input.norm", "fusion.attended_norm", "logic.norm"}),
    ],
)
def test_both_streams_of_a_policy_are_standardised(fusion, names):
    _, env, policy = toy(*NARROW, f"fusion={fusion}")
    assert set(norms(policy)) == names
    observation = batch(env, policy)
    with torch.no_grad(), observing(policy):
        policy(observation, Softmax(), 1.0)
    outputs = policy(observation, Softmax(), 1.0)
    assert float(outputs.h_logic.detach().mean(dim=0).abs().max()) < 1e-3
    assert all(int(norm.batches) == 1 for norm in norms(policy).values())


def learner_and_rollout():
    config, env, policy = toy(*NARROW)
    learner = Learner(policy, config.ppo, env.num_envs, torch.Generator().manual_seed(0))
    collector = Collector(env, policy, config.ppo.num_steps, CPU, torch.Generator().manual_seed(0))
    settings = make_schedule(config)[0][0].settings(0)
    return learner, collector, settings


def test_statistics_stand_still_while_acting_and_move_once_after_an_update(monkeypatch):
    learner, collector, settings = learner_and_rollout()
    start = statistics(learner.policy)
    rollout = collector.collect(settings)
    assert same(start, statistics(learner.policy))
    step, during = learner.optimizer.step, []

    def watch():
        step()
        during.append(same(start, statistics(learner.policy)))

    monkeypatch.setattr(learner.optimizer, "step", watch)
    learner.update(rollout, settings)
    assert during
    assert all(during)
    assert {int(norm.batches) for norm in norms(learner.policy).values()} == {1}
    monkeypatch.undo()
    # The next rollout is acted on and scored under the same, new statistics.
    figures = learner.update(collector.collect(settings), settings).metrics
    assert figures["train/initial_log_ratio"] < 1e-5


def test_a_rollback_takes_the_statistics_back():
    learner, collector, settings = learner_and_rollout()
    learner.update(collector.collect(settings), settings)
    before, state = statistics(learner.policy), learner.state()
    learner.update(collector.collect(settings), settings)
    assert not same(before, statistics(learner.policy))
    learner.restore(state)
    assert same(before, statistics(learner.policy))
    broken = collector.collect(settings)
    broken.reward[0, 0] = math.nan
    assert learner.update(broken, settings).fault is not None
    assert same(before, statistics(learner.policy))


def test_state_dict_carries_the_statistics():
    norm = observed(batches(3))
    other = RunningNorm(3).double()
    other.load_state_dict(copy.deepcopy(norm.state_dict()))
    x = batches(1)[0]
    assert torch.equal(other(x), norm(x))
    assert set(norm.state_dict()) == {"mean", "variance", "batches"}
