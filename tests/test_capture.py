"""What a GPU captures: recorded once and replayed on other inputs, it does what plain functions do.

`Tape` stands in for CUDA graphs. What the host computes within a captured function stays as it was at the
recording, so a cell in which that happens shows another result than the plain one.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.models import toy
from support.settings import NARROW
from support.tape import Tape

from tedg.learn.capture import Plain
from tedg.learn.ppo import Learner
from tedg.learn.rollout import Collector
from tedg.learn.stages import make_schedule
from tedg.models.formulas import fixed_shapes

CPU = torch.device("cpu")


class Training:
    """A learner and its games, in float64."""

    def __init__(self, capture, *overrides):
        config, env, policy = toy(*NARROW, *overrides)
        policy.double()
        self.capture = capture
        self.stages, self.budget = make_schedule(config)
        shuffling, sampling = (torch.Generator().manual_seed(seed) for seed in (0, 1))
        self.learner = Learner(policy, config.ppo, env.num_envs, shuffling, capture=capture)
        self.collector = Collector(env, policy, config.ppo.num_steps, CPU, sampling, capture=capture)

    def update(self, done):
        """One rollout and update where a share `done` of the budget is spent: (rollout, result)."""
        spent = done * self.budget.total
        stage = next(stage for stage in self.stages if spent < stage.end)
        # Exact in float32, which is what a captured optimiser keeps its rate in.
        settings = replace(stage.settings(spent), learning_rate=2.0**-10)
        with fixed_shapes():
            rollout = self.collector.collect(settings)
            return rollout, self.learner.update(rollout, settings)

    def weights(self):
        return self.learner.parameters.value.detach().clone()


def same(one, other, tolerance=1e-12):
    scale = max(float(other.abs().max()), 1.0)
    return float((one - other).abs().max()) <= tolerance * scale


@pytest.mark.parametrize("overrides", [("fusion=cross_attn", "stage=curriculum")])
def test_replayed_updates_equal_plain_ones(overrides):
    plain, captured = Training(Plain(), *overrides), Training(Tape(), *overrides)
    for done in (0.0, 0.1, 0.4, 0.5, 0.8, 0.9):
        (rollout, result), (again, replayed) = plain.update(done), captured.update(done)
        assert torch.equal(rollout.action, again.action)
        assert same(again.log_prob, rollout.log_prob)
        assert same(again.next_value, rollout.next_value)
        assert same(captured.weights(), plain.weights()), f"after {done} of the budget"
        assert result.metrics == pytest.approx(replayed.metrics, rel=1e-9, abs=1e-12)
