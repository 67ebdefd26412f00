"""The policy: what it returns, what it reads, how it mixes experts, and the legality mask."""

from __future__ import annotations

import pytest
import torch
from support.models import FUSIONS, batch, toy

from tedg.models.policy import masked_log_probs
from tedg.models.routing import Softmax, Sparsemax, Symbolic, Uniform


@pytest.mark.parametrize("vision", ["glyph", "state"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_field_has_its_shape(fusion, vision):
    _, env, policy = toy(f"fusion={fusion}", f"vision={vision}")
    observation = batch(env, policy, steps=1)[:4]
    output = policy(observation, Softmax(), 1.0)
    tokens = policy.vision.num_tokens
    assert output.policy_logits.shape == (4, 23)
    assert output.value.shape == (4,)
    assert output.alpha.shape == output.router_logits.shape == (4, 4)
    assert output.expert_logits.shape == (4, 4, 23)
    assert output.h_logic.shape == (4, 256)
    assert output.operator_scores.shape == (4, 78)
    if fusion == "concat":
        assert output.context_vector.shape == (4, 512)
        assert output.attention_weights is None
        assert output.h_vis.shape == (4, 256)
    else:
        assert output.context_vector.shape == (4, 256)
        assert output.attention_weights.shape == (4, 4, 1, tokens)
        assert output.h_vis.shape == (4, 64)  # nothing reads a head, so it is the token mean


def test_policy_logits_are_the_mixture_of_expert_logits():
    _, env, policy = toy()
    output = policy(batch(env, policy), Sparsemax(), 0.5)
    expected = sum(output.alpha[:, k, None] * output.expert_logits[:, k] for k in range(4))
    torch.testing.assert_close(output.policy_logits, expected)


def test_temperature_reaches_the_router():
    _, env, policy = toy()
    observation = batch(env, policy)
    warm, cold = (policy(observation, Softmax(), t).alpha.detach() for t in (1.0, 0.1))
    entropy = [float(torch.special.entr(a).sum(1).mean()) for a in (warm, cold)]
    assert entropy[1] < entropy[0] - 1e-4
    per_row = torch.full((len(observation),), 0.1)
    torch.testing.assert_close(policy(observation, Softmax(), per_row).alpha.detach(), cold)
    warm, cold = (policy(observation, Sparsemax(), t) for t in (1.0, 0.1))
    torch.testing.assert_close(cold.router_logits, warm.router_logits / 0.1)
    assert torch.equal(cold.alpha, Sparsemax()(cold.router_logits))  # divided once, and not again


def test_soft_alpha_is_softmax_of_the_same_logits_under_any_routing():
    _, env, policy = toy()
    observation = batch(env, policy)
    soft = policy(observation, Softmax(), 0.5)
    sparse = policy(observation, Sparsemax(), 0.5)
    torch.testing.assert_close(sparse.soft_alpha, soft.alpha)


def test_illegal_actions_are_never_sampled_and_do_not_count():
    _, env, policy = toy()
    observation = batch(env, policy)
    race = policy.race(len(observation), torch.Generator().manual_seed(0))
    acted = policy.get_action_and_value(observation, Softmax(), 1.0, race=race)
    assert observation.mask.gather(1, acted.action.unsqueeze(1)).all()
    assert not observation.mask.all()
    probs = masked_log_probs(acted.output.policy_logits, observation.mask).exp()
    assert (probs[~observation.mask] == 0).all()
    torch.testing.assert_close(probs.sum(1), torch.ones(len(observation)))
    only = torch.zeros(1, 23, dtype=torch.bool)
    only[0, 7] = True
    assert masked_log_probs(torch.randn(1, 23), only).exp()[0, 7] == 1.0


def test_forward_is_the_same_in_training_and_evaluation_mode():
    """No dropout and nothing else random hides in the ratio."""
    _, env, policy = toy()
    observation = batch(env, policy)
    first = policy.train()(observation, Softmax(), 1.0)
    assert torch.equal(first.policy_logits, policy(observation, Softmax(), 1.0).policy_logits)
    assert torch.equal(first.policy_logits, policy.eval()(observation, Softmax(), 1.0).policy_logits)


def test_expert_input_vision_builds_the_head_and_cuts_experts_off_from_logic():
    _, env, policy = toy("policy.expert_input=vision")
    observation = batch(env, policy)
    assert policy.vision.vision_dim == 256
    loss = policy(observation, Softmax(), 1.0).expert_logits.square().sum()
    loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in policy.logic.parameters())


def test_without_logic_the_symbols_do_not_matter():
    _, env, policy = toy("logic=none", "vision=glyph")
    observation = batch(env, policy)
    assert "atoms" not in policy.inputs
    symbols = torch.as_tensor(env.spec.symbolic_state)
    assert int(symbols.sum()) == 49
    before = policy(observation, Softmax(), 1.0).policy_logits
    observation.state[:, symbols] = torch.rand(len(observation), int(symbols.sum()))
    assert torch.equal(policy(observation, Softmax(), 1.0).policy_logits, before)
    observation.state[:, ~symbols] = 0.5
    assert not torch.equal(policy(observation, Softmax(), 1.0).policy_logits, before)


def test_uniform_routing_has_no_router_and_gives_equal_shares():
    _, env, policy = toy("routing=uniform")
    assert policy.router is None
    alpha = policy(batch(env, policy), Uniform(), 0.5).alpha
    torch.testing.assert_close(alpha, torch.full_like(alpha, 0.25))


def test_symbolic_routing_follows_the_operators_of_each_expert():
    _, env, policy = toy("routing=symbolic")
    assert policy.router is None
    observation = batch(env, policy)
    output = policy(observation, Symbolic(), 0.5)
    experts = policy.logic.expert_of_operator
    means = torch.stack([output.operator_scores[:, experts == k].mean(dim=1) for k in range(4)], dim=1)
    torch.testing.assert_close(output.alpha, torch.softmax(means / 0.5, dim=1))
    assert output.alpha.std(dim=0).min() > 0
    without = toy("routing=uniform", "logic=none")[2]
    with pytest.raises(ValueError, match="needs a hypergraph"):
        without(observation, Symbolic(), 1.0)


def test_one_expert_has_no_router():
    _, env, policy = toy("policy.num_experts=1")
    assert policy.router is None
    output = policy(batch(env, policy), Softmax(), 1.0)
    assert (output.alpha == 1).all()
    torch.testing.assert_close(output.policy_logits, output.expert_logits[:, 0])
