"""Learners on the toy after one update, alone or with a further process."""

from __future__ import annotations

import torch

from support.models import toy
from support.settings import NARROW
from tedg.learn.ppo import Learner
from tedg.learn.rollout import Collector
from tedg.learn.stages import make_schedule

CPU = torch.device("cpu")


def first_gradient(*overrides, double=False):
    """Gradient of an update of one minibatch, and the result of the update."""
    config, env, policy = toy("ppo.num_steps=32", "ppo.minibatch_size=256", "ppo.num_epochs=1", *overrides)
    if double:
        policy.double()
    stages, budget = make_schedule(config)
    settings = stages[0].settings(budget.total / 2)
    collector = Collector(env, policy, 32, CPU, torch.Generator().manual_seed(0))
    learner = Learner(policy, config.ppo, env.num_envs, torch.Generator().manual_seed(0))
    result = learner.update(collector.collect(settings), settings)
    return learner.parameters.gradient.clone(), result


def two_processes():
    """A learner with a further process, after one update; the rollout and settings of that."""
    config, env, policy = toy(*NARROW, "ppo.num_steps=32", "ppo.minibatch_size=128")
    stages, budget = make_schedule(config)
    settings = stages[0].settings(budget.total / 2)
    rollout = Collector(env, policy, 32, CPU, torch.Generator().manual_seed(0)).collect(settings)
    learner = Learner(policy, config.ppo, env.num_envs, torch.Generator().manual_seed(0), threads=2)
    learner.update(rollout, settings)
    return learner, rollout, settings


def relative_difference(ours, expected):
    """Size of the difference of two gradients, over that of the second."""
    return float((ours - expected).norm() / expected.norm())
