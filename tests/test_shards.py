"""A minibatch in parts gives the gradient of the whole; flat parameters are the module's own."""

from __future__ import annotations

import copy
import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.learners import first_gradient, relative_difference, two_processes
from support.models import batch, toy
from support.processes import wait_until_gone
from support.settings import NARROW

from tedg.learn.objective import Evaluation
from tedg.learn.parameters import FlatParameters
from tedg.learn.ppo import Learner
from tedg.learn.rollout import Collector
from tedg.learn.shards import Inputs
from tedg.learn.stages import make_schedule
from tedg.models.routing import Softmax
from tedg.processes import WorkerError

CPU = torch.device("cpu")


@pytest.mark.more
@pytest.mark.parametrize("dtype", [torch.float64, pytest.param(torch.float32, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "variant",
    [
        ("fusion=cross_attn",),
        pytest.param(("fusion=concat", "vision=state"), marks=pytest.mark.slow),
        pytest.param(("stage=finetune",), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_the_gradient_of_the_parts_is_that_of_the_whole(variant, dtype):
    config, env, policy = toy(*NARROW, "ppo.num_steps=32", "ppo.minibatch_size=256", *variant)
    policy.to(dtype)
    stages, budget = make_schedule(config)
    settings = stages[0].settings(budget.total / 2)
    rollout = Collector(env, policy, 32, CPU, torch.Generator().manual_seed(0)).collect(settings)
    rollout.log_prob += 0.1 * torch.randn(rollout.log_prob.shape, generator=torch.Generator().manual_seed(1))
    gradients, losses = [], []
    for threads in (1, 3):
        learner = Learner(
            copy.deepcopy(policy), config.ppo, env.num_envs, torch.Generator().manual_seed(0), threads
        )
        # One minibatch, so one step, whose gradient stays as it was after clipping.
        result = learner.update(rollout, settings)
        losses.append(result.metrics["loss/total"])
        gradients.append(learner.parameters.gradient.clone())
    difference = float((gradients[0] - gradients[1]).norm() / gradients[0].norm())
    assert 0 < difference < (1e-5 if dtype == torch.float32 else 1e-13)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_shapes_are_those_of_an_evaluation():
    """By them memory is laid out before anything is evaluated."""
    _, env, policy = toy(*NARROW)
    observation = batch(env, policy)
    actions = torch.zeros(len(observation), dtype=torch.int64)
    acted = policy.get_action_and_value(observation, Softmax(), 1.0, actions)
    found = {name: tuple(value.shape) for name, value in Evaluation.of(acted).tensors().items()}
    expected = Evaluation.shapes(len(observation), policy.experts.num_experts, policy.experts.num_actions)
    assert list(found) == [field.name for field in dataclasses.fields(Evaluation)]
    assert found == expected


@pytest.mark.more
def test_a_killed_process_is_named(started):
    learner, rollout, settings = two_processes()
    (process,) = started
    process.kill()
    with pytest.raises(WorkerError, match=r"^learner process 1 \(process \d+\) was killed by SIGKILL"):
        learner.shards.evaluate(torch.arange(128))
    samples = rollout.flat_observation(), rollout.action.flatten(), rollout.temperature.flatten()
    with pytest.raises(WorkerError, match="closed"):
        learner.shards.begin(Inputs(*samples), settings.routing)
    learner.shards.restart()
    assert learner.update(rollout, settings).incidents == []
    learner.close()


@pytest.mark.more
def test_closing_ends_the_processes(started):
    learner, *_ = two_processes()
    (process,) = started
    assert process.poll() is None
    learner.close()
    assert process.poll() == 0
    learner.close()


ORPHAN = """
import os, signal
from support.learners import two_processes
from support.processes import children
learner, *_ = two_processes()
print(*children(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.more
def test_no_process_outlives_its_parent():
    parent = subprocess.run(
        [sys.executable, "-c", ORPHAN], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120
    )
    assert parent.returncode == -signal.SIGKILL
    assert wait_until_gone([int(parent.stdout)]) == []


@pytest.mark.more
def test_half_precision_changes_the_gradient_by_less_than_its_tolerance():
    exact, _ = first_gradient()
    half, result = first_gradient("precision=bfloat16")
    assert result.fault is None
    assert half.dtype == torch.float32
    assert 1e-5 < relative_difference(half, exact) < 0.03


COMPILED = """
from support.learners import first_gradient, relative_difference
for double, tolerance in ((True, 1e-7), (False, 1e-5)):
    exact, _ = first_gradient(double=double)
    compiled, result = first_gradient("compile=true", double=double)
    assert result.fault is None
    assert relative_difference(compiled, exact) < tolerance, (double, relative_difference(compiled, exact))
"""


@pytest.mark.slow
def test_compiling_changes_only_rounding():
    # In a process of its own: what checks types while testing cannot be compiled.
    subprocess.run([sys.executable, "-c", COMPILED], cwd=Path(__file__).parent, check=True, timeout=600)


def test_flat_parameters_are_the_modules_parameters():
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    before = copy.deepcopy(module.state_dict())
    flat = FlatParameters(module.parameters())
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    assert flat.value.shape == (13,)
    with torch.no_grad():
        flat.value.fill_(2.0)
    assert all((p == 2.0).all() for p in module.parameters())
    module.load_state_dict(before)
    assert torch.equal(flat.value[:6].view(3, 2), before["0.weight"])
    flat.set_gradient([torch.full((13,), 1.0), torch.full((13,), 4.0)])
    assert all((p.grad == 5.0).all() for p in module.parameters())


def test_flat_parameters_need_something_to_train():
    with pytest.raises(ValueError, match="trainable parameters"):
        FlatParameters([])
