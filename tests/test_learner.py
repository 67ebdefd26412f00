"""The update: it evaluates the policy that acted, every loss counts, and faults leave no trace."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from support.models import FUSIONS, STAGES, toy
from support.settings import NARROW

from tedg.config.auxiliary import AUXILIARY
from tedg.config.compose import compose
from tedg.learn import objective
from tedg.learn import ppo as ppo_module
from tedg.learn.objective import Evaluation, Targets, clipped_policy_loss, objective_terms, weighted_total
from tedg.learn.ppo import Learner
from tedg.learn.rollout import Collector, CollectorState
from tedg.learn.snapshot import RunState, find, resume, save
from tedg.learn.stages import LossWeights, make_schedule

CPU = torch.device("cpu")


def prepare(*overrides, double=False):
    """(learner, settings, rollout) of a composed configuration on the toy environment."""
    config, env, policy = toy(*NARROW, *overrides)
    if double:
        policy.double()
    learner = Learner(policy, config.ppo, env.num_envs, torch.Generator().manual_seed(0))
    collector = Collector(env, policy, config.ppo.num_steps, CPU, torch.Generator().manual_seed(0))
    stages, budget = make_schedule(config)
    settings = stages[0].settings(budget.total / 2)
    return learner, settings, collector.collect(settings)


@pytest.mark.more_than_first(3)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("vision", ["glyph", "state"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_ratio_is_one_before_the_first_gradient_step(fusion, vision, stage):
    learner, settings, rollout = prepare(
        f"fusion={fusion}", f"vision={vision}", f"stage={stage}", double=True
    )
    observation = rollout.flat_observation()
    acted = learner.policy.get_action_and_value(
        observation, settings.routing, rollout.temperature.flatten(), rollout.action.flatten()
    )
    worst = float((acted.log_prob - rollout.log_prob.flatten()).abs().max().detach())
    assert worst < 1e-5
    assert learner.update(rollout, settings).metrics["train/initial_log_ratio"] < 1e-5


@pytest.mark.more_than_first(2)
@pytest.mark.parametrize("stale", ["atoms", "mask", "temperature", "state"])
def test_ratio_notices_inputs_that_are_not_those_acted_on(stale):
    learner, settings, rollout = prepare("stage=transition", double=True)
    if stale == "temperature":
        rollout.temperature.fill_(0.01)
    else:
        stored = getattr(rollout.observation, stale)
        stored.copy_(torch.ones_like(stored) if stale == "mask" else stored[-1:].expand_as(stored).clone())
    assert learner.update(rollout, settings).metrics["train/initial_log_ratio"] > 1e-5


def test_an_update_reaches_every_part():
    learner, settings, rollout = prepare()
    before = copy.deepcopy(learner.policy.state_dict())
    learner.update(rollout, settings)
    after = learner.policy.state_dict()
    unchanged = [name for name in before if torch.equal(before[name], after[name])]
    assert unchanged == []


def test_a_frozen_hypergraph_stays_as_it_is():
    learner, settings, rollout = prepare("logic.freeze=true")
    before = copy.deepcopy(dict(learner.policy.logic.named_parameters()))
    learner.update(rollout, settings)
    for name, value in learner.policy.logic.named_parameters():
        assert torch.equal(value, before[name])


def test_a_frozen_router_stays_as_it_is_and_its_gradient_is_zero():
    config, env, policy = toy(*NARROW)
    policy.router.requires_grad_(False)
    learner = Learner(policy, config.ppo, env.num_envs, torch.Generator().manual_seed(0))
    collector = Collector(env, policy, config.ppo.num_steps, CPU, torch.Generator().manual_seed(0))
    settings = make_schedule(config)[0][0].settings(0)
    before = copy.deepcopy(policy.router.state_dict())
    result = learner.update(collector.collect(settings), settings)
    assert result.metrics["gradient/router"] == 0
    assert all(torch.equal(value, before[name]) for name, value in policy.router.state_dict().items())


@pytest.mark.more_than_first(1)
@pytest.mark.parametrize("stage", STAGES)
def test_the_stages_learning_rate_is_the_optimisers(stage):
    learner, settings, rollout = prepare(f"stage={stage}", "preset=described")
    for _ in range(2):
        learner.update(rollout, settings)
        rates = {group["lr"] for group in learner.optimizer.param_groups}
        assert rates == {{"warmup": 1e-4, "transition": 5e-5, "finetune": 1e-5}[stage]}


def test_clipped_policy_loss_by_hand():
    ratio = torch.tensor([1.0, 1.5, 0.5, 1.5, 0.5])
    advantage = torch.tensor([2.0, 1.0, 1.0, -1.0, -1.0])
    # min(1*2, 1*2)=2; min(1.5, 1.15)=1.15; min(0.5, 0.85)=0.5; min(-1.5, -1.15)=-1.5; min(-0.5, -0.85)=-0.85
    expected = -(2 + 1.15 + 0.5 - 1.5 - 0.85) / 5
    assert float(clipped_policy_loss(ratio.log(), advantage, 0.15)) == pytest.approx(expected, rel=1e-6)


def test_equal_advantages_do_no_harm():
    """Every reward alike, as in a rollout where nothing happened: the policy loss is 0, not NaN."""
    now = Evaluation(
        torch.zeros(4, requires_grad=True),
        torch.ones(4),
        torch.zeros(4),
        torch.zeros(4, 2),
        torch.zeros(4, 2, 3),
    )
    targets = Targets(
        torch.zeros(4), torch.full((4,), 0.3), torch.zeros(4), torch.ones(4, 2) / 2, torch.ones(4) > 0
    )
    config = compose(["env=fake"]).config.ppo
    policy = objective_terms(now, targets, config, None)["policy"]
    policy.backward()
    assert float(policy.detach()) == pytest.approx(0, abs=1e-6)
    assert now.log_prob.grad.abs().max() < 1e-6


def test_weighted_total_by_hand():
    names = ("policy", "value", "entropy", "alpha_entropy", *AUXILIARY)
    terms = {name: torch.tensor(10.0**i, dtype=torch.float64) for i, name in enumerate(names)}
    weights = LossWeights(
        entropy=2,
        alpha_entropy=3,
        auxiliary={name: 4 + i for i, name in enumerate(AUXILIARY)},
        alignment_temperature=1,
    )
    expected = 1 + 0.5 * 10 - 2e2 - 3e3 + sum((4 + i) * 10 ** (4 + i) for i in range(len(AUXILIARY)))
    assert float(weighted_total(terms, weights, 0.5)) == expected
    del terms["diversity"]  # left out where something it reads is not there
    assert float(weighted_total(terms, weights, 0.5)) == expected - 5e5


@pytest.mark.more_than_first(1)
@pytest.mark.parametrize(
    "loss",
    ["entropy", "alpha_entropy", *AUXILIARY],
)
def test_every_loss_changes_the_update(loss):
    results = []
    for coefficient in (0.0, 1.0):
        learner, settings, rollout = prepare("stage=transition")
        weights = settings.weights
        if loss in AUXILIARY:
            weights = dataclasses.replace(weights, auxiliary={**weights.auxiliary, loss: coefficient})
        else:
            weights = dataclasses.replace(weights, **{loss: coefficient})
        learner.update(rollout, dataclasses.replace(settings, weights=weights))
        results.append(torch.cat([p.detach().flatten() for p in learner.policy.parameters()]))
    assert not torch.equal(*results)


def test_without_a_hypergraph_alignment_is_off_and_says_so():
    learner, settings, rollout = prepare("logic=none")
    metrics = learner.update(rollout, settings).metrics
    assert learner.alignment is None
    assert "loss/alignment" not in metrics
    learner, settings, rollout = prepare()
    assert learner.update(rollout, settings).metrics["loss/alignment"] > 0


def test_missing_operator_scores_are_an_error_not_a_skipped_loss(monkeypatch):
    learner, settings, rollout = prepare()
    forward = learner.policy.forward
    monkeypatch.setattr(
        learner.policy, "forward", lambda *a: dataclasses.replace(forward(*a), operator_scores=None)
    )
    with pytest.raises(ValueError, match="operator scores"):
        learner.update(rollout, settings)


def test_what_a_rollback_keeps_is_what_a_checkpoint_holds(tmp_path, monkeypatch):
    """A part that is added to the list is taken back, saved and resumed without another line."""
    learner, *_ = prepare()
    assert list(learner.parts) == ["model", "optim", "normaliser", "alignment"]  # files of a checkpoint
    assert list(prepare("logic=none")[0].parts) == ["model", "optim", "normaliser"]
    extra, parts = torch.nn.Linear(1, 1, bias=False), learner.parts
    monkeypatch.setattr(Learner, "parts", {**parts, "extra": extra})
    extra.weight.data.fill_(1.0)
    before = learner.state()
    games = CollectorState([], torch.zeros(4, dtype=torch.bool), None)
    save(tmp_path, RunState(update=1), learner, {}, games, keep=1, meta={}, quality=None)
    saved = find(tmp_path, pytest.fail)
    assert set(saved.tensors) == {*parts, "extra", "rng", "collector"}
    extra.weight.data.fill_(2.0)
    learner.restore(before)
    assert extra.weight.item() == 1.0
    extra.weight.data.fill_(2.0)
    resume(saved, learner, {})
    assert extra.weight.item() == 1.0


def state_of(learner):
    return copy.deepcopy(learner.state())


def assert_same(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


@pytest.mark.more_than_first(2)
@pytest.mark.parametrize("where", ["reward", "loss", "gradient", "weight"])
def test_anything_not_finite_rolls_back_weights_optimiser_and_normalisers(where, monkeypatch):
    learner, settings, rollout = prepare()
    learner.update(rollout, settings)  # so that optimiser and normalisers hold something
    before = state_of(learner)
    poisoned = copy.deepcopy(rollout)
    calls = []

    def late(function, value):
        """`function`, until its third call, which gives `value`: by then two steps have been taken."""

        def wrapped(*args, **kwargs):
            calls.append(0)
            result = function(*args, **kwargs)
            return result * value if len(calls) == 3 else result

        return wrapped

    if where == "reward":
        poisoned.reward[3, 1] = math.nan
    elif where == "loss":
        monkeypatch.setattr(objective, "clipped_policy_loss", late(clipped_policy_loss, math.inf))
    elif where == "gradient":
        monkeypatch.setattr(ppo_module, "weighted_total", late(weighted_total, math.nan))
    else:
        step = learner.optimizer.step

        def poison():
            step()
            with torch.no_grad():
                next(learner.policy.experts.parameters()).fill_(math.inf)

        monkeypatch.setattr(learner.optimizer, "step", poison)
    result = learner.update(poisoned, settings)
    assert result.fault is not None
    assert "not finite" in result.fault
    assert_same(before, state_of(learner))
    monkeypatch.undo()
    assert learner.update(rollout, settings).fault is None
