"""Trainings on the toy that go through the same updates, one captured and one not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from support.models import toy
from support.settings import NARROW
from tedg.learn.ppo import Learner
from tedg.learn.rollout import Collector
from tedg.learn.stages import make_schedule
from tedg.models.formulas import fixed_shapes

# Eight steps of four games in minibatches of 12, 12 and 8.
SMALL = (*NARROW, "env.num_envs=4", "ppo.num_steps=8", "ppo.minibatch_size=12", "logic.embedding_dim=8")
SMALL_WITHOUT_GRAPH = SMALL[:-1]


class Training:
    """A learner and its games, by the formulas of a GPU."""

    def __init__(self, capture, *overrides, device="cpu", double=True):
        small = SMALL_WITHOUT_GRAPH if "logic=none" in overrides else SMALL
        config, env, policy = toy(*small, "env.max_episode_steps=5", *overrides)
        self.policy = policy = (policy.double() if double else policy).to(device)
        self.stages, self.budget = make_schedule(config)
        shuffling, sampling = torch.Generator().manual_seed(0), torch.Generator(device).manual_seed(1)
        self.learner = Learner(policy, config.ppo, env.num_envs, shuffling, capture=capture)
        self.collector = Collector(
            env, policy, config.ppo.num_steps, torch.device(device), sampling, capture=capture
        )

    def settings(self, done):
        """Those where a share `done` of the budget is spent."""
        spent = done * self.budget.total
        stage = next(stage for stage in self.stages if spent < stage.end)
        # Exact in float32, which is what a captured optimiser keeps its rate in.
        return replace(stage.settings(spent), learning_rate=2.0**-10)

    def update(self, done, spoil=lambda rollout: None):
        """One rollout, spoilt before it is learnt from, and its update: (rollout, result)."""
        settings = self.settings(done)
        with fixed_shapes():
            rollout = self.collector.collect(settings)
            spoil(rollout)
            return rollout, self.learner.update(rollout, settings)


def close(ours, expected, tolerance=1e-12):
    """Asserts that no entry differs by more than `tolerance` times the largest."""
    ours, expected = ours.detach(), expected.detach()
    largest = float(expected.nan_to_num().abs().max())
    torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance * max(largest, 1.0), equal_nan=True)


def compare(captured, plain, shares, **spoil):
    """Both go through the same updates, step by step alike."""
    for done in shares:
        (again, replayed), (rollout, result) = captured.update(done, **spoil), plain.update(done, **spoil)
        assert torch.equal(again.action, rollout.action)
        for name in ("log_prob", "value", "next_value", "soft_alpha", "advantage"):
            close(getattr(again, name), getattr(rollout, name))
        close(captured.learner.parameters.value, plain.learner.parameters.value)
        for ours, expected in zip(captured.policy.buffers(), plain.policy.buffers(), strict=True):
            close(ours.double(), expected.double())
        assert replayed.fault == result.fault
        assert replayed.metrics == pytest.approx(result.metrics, rel=1e-9, abs=1e-12)
