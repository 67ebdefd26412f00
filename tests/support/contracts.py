"""What every part of a policy promises, each promise a check that fails with an AssertionError.

`tests/test_contracts.py` holds the parts of conf/ to them; wrong parts of every kind in
`tests/test_wrong_parts.py` show that they can fail.
"""

from __future__ import annotations

import dataclasses

import torch

from tedg.models.logic import remembering

STAGES = ("warmup", "transition", "finetune")
CLOSE = {"rtol": 1e-9, "atol": 1e-9}  # in float64: the same but for the order in which sums are rounded
NUMBERS = torch.arange(5) * 7919 + 3  # that a gate which is random draws from


def holds_for_a_gate(gate):
    """Rows on the simplex, as many keys as it says, no gradient of dropped ones, each state for itself."""
    for keys in (1, 2, 7, 82):
        generator = torch.Generator().manual_seed(keys)
        scores, direction = torch.randn(2, 5, 3, keys, generator=generator, dtype=torch.float64)
        scores = (2 * scores).requires_grad_()
        weights = gate(scores, NUMBERS)
        assert weights.shape == scores.shape
        assert weights.isfinite().all()
        assert (weights >= 0).all(), "a weight is negative"
        assert (weights.sum(-1) - 1).abs().max() < 1e-6, "rows do not sum to 1"
        promised, kept = gate.num_kept(keys), (weights > 0).sum(-1)
        assert promised is None or (kept == promised).all(), (
            f"{promised} of {keys} keys promised, {kept} kept"
        )
        (weights * direction).sum().backward()
        assert (scores.grad[weights == 0] == 0).all(), "the score of a dropped key gets a gradient"
        with torch.no_grad():
            torch.testing.assert_close(gate(scores, NUMBERS), weights, **CLOSE)
            torch.testing.assert_close(gate(scores[1:3], NUMBERS[1:3]), weights[1:3], **CLOSE)
            if not gate.random:
                torch.testing.assert_close(gate(scores, None), weights, **CLOSE)


def holds_for_a_routing(routing, experts=4):
    """Rows on the simplex at every point of every stage, each a function of its own logits alone."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, experts, generator=generator, dtype=torch.float64)
    for stage in STAGES:
        for progress in (0.0, 0.5, 1.0):
            at = routing.at(stage, progress)
            for size in (0.1, 1.0, 30.0):
                alpha = at(size * logits)
                assert alpha.shape == logits.shape
                assert alpha.isfinite().all()
                assert (alpha >= 0).all(), "a share is negative"
                assert (alpha.sum(1) - 1).abs().max() < 1e-6, "rows do not sum to 1"
                torch.testing.assert_close(at(size * logits), alpha, **CLOSE)
                torch.testing.assert_close(at(size * logits[2:4]), alpha[2:4], **CLOSE)
            assert at(logits.to(torch.bfloat16)).dtype == torch.float32


def attention_is_as_promised(policy, observation, settings):
    """A head's weights sum to 1, or are 0 where it takes no part; as many are above 0 as the fusion says."""
    weights = outputs(policy, observation, settings).attention_weights
    assert set(policy.fusion.attention_parameters.values()) <= dict(policy.fusion.named_parameters()).keys()
    if not policy.fusion.attention_parameters:
        assert weights is None
        return
    assert weights.isfinite().all()
    assert (weights >= 0).all(), "a weight is negative"
    used = (weights > 0).any(-1)
    assert (weights.sum(-1) - used.double()).abs().max() < 1e-6, "rows do not sum to 1"
    promised, kept = policy.fusion.promised_keys(weights.shape[-1]), (weights > 0).sum(-1)[used]
    assert promised is None or (kept == promised).all(), f"{promised} keys promised, {kept.unique()} kept"


def every_state_is_for_itself(policy, observation, settings):
    """What comes of a state does not depend on the states beside it, be they later or in another order."""
    whole = outputs(policy, observation, settings)
    order = torch.randperm(len(observation), generator=torch.Generator().manual_seed(1))
    for rows in (slice(0, 5), slice(3, 4), order):
        same(outputs(policy, observation[rows], settings), whole, rows)


def acting_is_learning(policy, observation, settings):
    """The same output with and without gradients, and after another batch; observations stay as they are."""
    before = {name: value.clone() for name, value in observation.items() if value is not None}
    learning = policy(observation, settings.routing, settings.temperature)
    with torch.no_grad(), remembering(policy):
        same(policy(observation, settings.routing, settings.temperature), learning)
    outputs(policy, observation[2:7], settings)
    same(outputs(policy, observation, settings), learning)
    for name, value in before.items():
        assert torch.equal(getattr(observation, name), value), f"the observation's {name} was written to"


def both_streams_count(policy, observation):
    """The context changes when vision alone changes, and when the symbols alone do."""
    with torch.no_grad():
        tokens, h_vis = policy.vision(observation)
        other = policy.vision(observation[torch.arange(len(observation)).roll(1)])
        logic = policy.logic(observation)
        noise = observation.noise
        context = policy.fusion(tokens, h_vis, logic.h_logic, noise).context
        symbols = policy.fusion(tokens, h_vis, logic.h_logic.roll(1, 1), noise).context
        vision = policy.fusion(*other, logic.h_logic, noise).context
    assert differs(context, symbols), "the context does not depend on h_logic"
    assert differs(context, vision), "the context does not depend on vision"
    if policy.logic.inputs:
        assert differs(logic.h_logic, logic.h_logic.roll(1, 0)), "h_logic is the same in every state"
    operators = policy.logic.expert_of_operator
    if operators is None:
        assert logic.operator_scores is None
    else:
        assert logic.operator_scores is not None
        assert logic.operator_scores.shape == (len(observation), len(operators))


def hidden_symbols_stay_hidden(policy, observation, settings, symbolic):
    """Without operators nothing depends on state features [state_dim] that are read from the hypergraph."""
    assert policy.logic.expert_of_operator is None, "a policy with logic=none is needed"
    if "state" not in policy.inputs:
        return
    state = torch.where(torch.as_tensor(symbolic), observation.state + 1, observation.state)
    told = dataclasses.replace(observation, state=state)
    same(outputs(policy, told, settings), outputs(policy, observation, settings))


def tokens_are_one_set(policy, observation):
    """Scores, sums and mean are those of the tokens as they are written out."""
    with torch.no_grad():
        tokens = policy.vision(observation).tokens
        dense = tokens.dense()
        assert dense.shape == (len(observation), policy.vision.num_tokens, policy.vision.token_dim)
        generator = torch.Generator().manual_seed(0)
        queries = torch.randn(len(dense), 2, dense.shape[2], generator=generator, dtype=dense.dtype)
        weights = torch.rand(len(dense), 2, dense.shape[1], generator=generator, dtype=dense.dtype)
        torch.testing.assert_close(tokens.scores(queries), queries @ dense.transpose(1, 2), **CLOSE)
        torch.testing.assert_close(tokens.pooled(weights), weights @ dense, **CLOSE)
        torch.testing.assert_close(tokens.mean(), dense.mean(1), **CLOSE)


def outputs(policy, observation, settings):
    """A forward pass without gradients."""
    with torch.no_grad():
        return policy(observation, settings.routing, settings.temperature)


def same(output, expected, rows=slice(None)):
    """Every field of one PolicyOutput is that of some rows of the other."""
    for field in dataclasses.fields(expected):
        one, other = getattr(output, field.name), getattr(expected, field.name)
        if other is None:
            assert one is None, field.name
        else:
            torch.testing.assert_close(
                one, other[rows], **CLOSE, msg=lambda text, name=field.name: f"{name}: {text}"
            )


def differs(one, other):
    """Whether most rows of two matrices do, by more than rounding."""
    return float(((one - other).abs().amax(1) > 1e-6).double().mean()) > 0.5
