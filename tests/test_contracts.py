"""Every option of every group of parts keeps its contract. The options are found by their YAML files.

Whoever adds a part adds no test here: its file in conf/ is enough. A part whose file lies elsewhere is named
by its overrides: `pytest tests/test_contracts.py --part 'fusion=mine hydra.searchpath=[file:///my/conf]'`.
`tests/support/contracts.py` holds what is promised.
"""

from __future__ import annotations

import dataclasses
import shlex

import pytest
import torch
from support import contracts
from support.gradients import faint_parameters
from support.models import batch
from support.probes import solve
from support.seeds import numbered_seeds
from support.settings import ANY_PART

from tedg.config.compose import compose
from tedg.files import conf_dir
from tedg.learn.ppo import Learner
from tedg.learn.rollout import Collector
from tedg.learn.setup import make_env, make_hypergraph, make_policy
from tedg.learn.snapshot import RunState, find, save
from tedg.learn.stages import make_schedule

GROUPS = ("fusion", "fusion/gate", "vision", "logic", "routing", "policy")
OPTIONS = [
    (f"{group}={file.stem}",) for group in GROUPS for file in sorted((conf_dir() / group).glob("*.yaml"))
]
# These two are trained at every change, the others in the slow tier.
TRAINED = {"fusion=cross_attn", "routing=sparsemax"}
CPU = torch.device("cpu")


def pytest_generate_tests(metafunc):
    own = [tuple(shlex.split(part)) for part in metafunc.config.getoption("part")]
    for fixture, groups in {
        "option": GROUPS,
        "gate": ("fusion/gate",),
        "routing": ("routing",),
        "vision": ("vision",),
    }.items():
        if fixture in metafunc.fixturenames:
            fitting = [option for option in own or OPTIONS if chosen(option, groups) is not None]
            names = [chosen(option, GROUPS) for option in fitting]
            trains = metafunc.function is test_it_learns_which_action_answers_what_it_sees
            marks = [pytest.mark.slow if trains and not own and name not in TRAINED else () for name in names]
            cases = [pytest.param(one, marks=mark) for one, mark in zip(fitting, marks, strict=True)]
            metafunc.parametrize(fixture, cases, ids=names)


def chosen(option, groups):
    """The first override of an option that chooses from one of the groups; None where there is none."""
    return next((override for override in option if override.partition("=")[0] in groups), None)


def make(option, *overrides):
    """(environment, policy, learner, settings at the start of finetune) on a toy."""
    config = compose(["env=fake", "stage=finetune", "init_from=none", *ANY_PART, *option, *overrides]).config
    env = make_env(config, numbered_seeds)
    policy = make_policy(config, env, make_hypergraph(config), CPU)
    learner = Learner(policy, config.ppo, env.num_envs, torch.Generator().manual_seed(0))
    (stage,), _ = make_schedule(config)
    return env, policy, learner, stage.settings(0)


@pytest.mark.more_than_first(12)
def test_outputs_have_their_shapes_and_ranges(option):
    env, policy, _, settings = make(option)
    observation = batch(env, policy, steps=4)
    output = policy(observation, settings.routing, settings.temperature)
    states, actions, experts = len(observation), env.spec.num_actions, policy.experts.num_experts
    expected = {
        "policy_logits": (states, actions),
        "value": (states,),
        "alpha": (states, experts),
        "router_logits": (states, experts),
        "context_vector": (states, policy.fusion.context_dim),
        "expert_logits": (states, experts, actions),
        "h_logic": (states, policy.logic.output_dim),
        "h_vis": (states, policy.vision.vision_dim),
    }
    for field, shape in expected.items():
        value = getattr(output, field)
        assert tuple(value.shape) == shape, field
        assert value.isfinite().all(), field
    assert (output.alpha >= 0).all()
    torch.testing.assert_close(output.alpha.sum(1), torch.ones(states))
    if policy.fusion.attention_parameters:
        assert (output.attention_weights >= 0).all()
        assert output.attention_weights.isfinite().all()
    else:
        assert output.attention_weights is None


def test_every_parameter_gets_a_gradient_but_those_declared_dead(option):
    env, policy, _, settings = make(option)
    policy.double()
    faint = faint_parameters(policy, batch(env, policy, steps=16), settings.routing, settings.temperature)
    assert sorted(faint) == sorted(f"fusion.{name}" for name in policy.fusion.without_gradient)


@pytest.mark.more_than_first(1)
def test_what_is_computed_is_the_states_own_and_uses_both_streams(option):
    env, policy, _, settings = make(option)
    policy.double()
    observation = batch(env, policy, steps=4)
    contracts.attention_is_as_promised(policy, observation, settings)
    contracts.every_state_is_for_itself(policy, observation, settings)
    contracts.acting_is_learning(policy, observation, settings)
    contracts.both_streams_count(policy, observation)
    contracts.tokens_are_one_set(policy, observation)


@pytest.mark.more_than_first(1)
def test_a_gate_gives_rows_on_the_simplex_and_keeps_as_many_keys_as_it_says(gate):
    contracts.holds_for_a_gate(make(gate)[1].fusion.gate)


@pytest.mark.more_than_first(1)
def test_a_routing_gives_rows_on_the_simplex_at_every_point_of_every_stage(routing):
    (stage,), _ = make_schedule(compose(["env=fake", "stage=finetune", "init_from=none", *routing]).config)
    contracts.holds_for_a_routing(stage.routing)


@pytest.mark.more_than_first(1)
def test_an_encoder_tells_nothing_of_symbols_that_are_hidden(vision):
    env, policy, _, settings = make(vision, "logic=none")
    policy.double()
    observation = batch(env, policy, steps=4)
    contracts.hidden_symbols_stay_hidden(policy, observation, settings, env.spec.symbolic_state)


@pytest.mark.more_than_first(1)
def test_the_ratio_is_one_before_the_first_step_and_parts_make_the_whole(option):
    env, policy, learner, settings = make(option, "policy.dropout=0.1")
    policy.double()
    rollout = Collector(env, policy, 16, CPU, torch.Generator().manual_seed(0)).collect(settings)
    observation = rollout.flat_observation()
    for rows in (slice(None), slice(5, 37)):
        with torch.no_grad():
            acted = policy.get_action_and_value(
                observation[rows],
                settings.routing,
                rollout.temperature.flatten()[rows],
                rollout.action.flatten()[rows],
            )
        assert float((acted.log_prob - rollout.log_prob.flatten()[rows]).abs().max()) < 1e-9
    policy.float()
    rollout = Collector(env, policy, 16, CPU, torch.Generator().manual_seed(0)).collect(settings)
    assert learner.update(rollout, settings).metrics["train/initial_log_ratio"] < 1e-5


@pytest.mark.more_than_first(1)
def test_a_saved_policy_is_the_same_policy(option, tmp_path):
    env, policy, learner, settings = make(option)
    collector = Collector(env, policy, 16, CPU, torch.Generator().manual_seed(0))
    rollout = collector.collect(settings)
    learner.update(rollout, settings)
    generators = {"one": torch.Generator()}
    save(tmp_path, RunState(), learner, generators, collector.state(), keep=1, meta={}, quality=None)
    saved = find(tmp_path, pytest.fail)
    other = make(option, "seed=1")[1]
    other.load_state_dict(saved.tensors["model"])
    observation = rollout.flat_observation()
    one, two = (p(observation, settings.routing, settings.temperature) for p in (policy, other))
    for field in dataclasses.fields(one):
        torch.testing.assert_close(getattr(one, field.name), getattr(two, field.name), rtol=0, atol=0)


@pytest.mark.more
def test_it_learns_which_action_answers_what_it_sees(option):
    figures = solve("context", *option, updates=60, settings=ANY_PART)
    assert figures.solved, figures
    assert figures.chance < 0.6 * figures.best
