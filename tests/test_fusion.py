"""Fusions: the folded cross-attention against the textbook form, the gate inside it, and its contract."""

from __future__ import annotations

import pytest
import torch

from tedg.models.fusion import ConcatFusion, ConcatTokensFusion, CrossAttentionFusion, HeadGateFusion
from tedg.models.gate import NoGate, TopKGate
from tedg.models.norm import observing
from tedg.models.tokens import DenseTokens

BATCH, TOKENS, TOKEN_DIM, LOGIC_DIM, HEADS, HEAD_DIM = 5, 11, 8, 16, 4, 6


@pytest.fixture(autouse=True)
def _double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def make(gate):
    return CrossAttentionFusion(256, TOKEN_DIM, TOKENS, LOGIC_DIM, gate, HEADS, HEAD_DIM)


def inputs(tokens=TOKENS):
    return (
        DenseTokens(torch.randn(BATCH, tokens, TOKEN_DIM)),
        torch.randn(BATCH, 256),
        torch.randn(BATCH, LOGIC_DIM),
    )


def textbook(fusion, tokens, h_logic):
    """softmax(Q K^T / sqrt(d)) V, one head and one state at a time, with keys and values written out."""
    attended, all_weights = [], []
    for x, h in zip(tokens.dense(), h_logic, strict=True):
        queries = fusion.query(h).view(HEADS, HEAD_DIM)
        heads, weights = [], []
        for head in range(HEADS):
            keys = x @ fusion.key[head].T
            values = x @ fusion.value[head]
            scores = keys @ queries[head] / HEAD_DIM**0.5
            weight = fusion.gate(scores.view(1, 1, -1), None).flatten()
            weights.append(weight)
            heads.append(weight @ values)
        attended.append(fusion.output(torch.cat(heads)))
        all_weights.append(torch.stack(weights))
    context = fusion.norm(fusion.attended_norm(torch.stack(attended)) + h_logic)
    return context, torch.stack(all_weights).unsqueeze(2)


@pytest.mark.parametrize("gate", [NoGate(), TopKGate(0.3)], ids=["dense", "topk"])
def test_equals_textbook_attention(gate):
    fusion = make(gate)
    tokens, h_vis, h_logic = inputs()
    with observing(fusion):  # statistics under which the norm is not the identity
        fusion(*inputs(), None)
    context, weights = fusion(tokens, h_vis, h_logic, None)
    expected_context, expected_weights = textbook(fusion, tokens, h_logic)
    torch.testing.assert_close(weights, expected_weights)
    torch.testing.assert_close(context, expected_context)


def test_the_softmax_runs_over_keys_not_heads():
    _, weights = make(NoGate())(*inputs(), None)
    assert weights.shape == (BATCH, HEADS, 1, TOKENS)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(BATCH, HEADS, 1))
    assert not torch.allclose(weights.sum(dim=1), torch.ones(BATCH, 1, TOKENS))


def test_the_gate_drops_keys_of_every_head():
    _, weights = make(TopKGate(0.3))(*inputs(), None)
    assert ((weights > 0).sum(dim=-1) == 4).all()  # ceil(0.3 * 11)


@pytest.mark.parametrize("gate", [NoGate(), TopKGate(0.3)], ids=["dense", "topk"])
def test_query_and_key_get_gradients_from_several_keys_and_none_from_one(gate):
    for tokens, alive in ((TOKENS, True), (1, False)):
        fusion = make(gate)
        context, _ = fusion(*inputs(tokens), None)
        context.square().mul(torch.arange(LOGIC_DIM)).sum().backward()
        for path in fusion.attention_parameters.values():
            norm = float(fusion.get_parameter(path).grad.norm())
            assert (norm > 1e-6) if alive else (norm == 0.0)


def test_concat_keeps_both_streams_side_by_side():
    tokens, h_vis, h_logic = inputs()
    fusion = ConcatFusion(256, TOKEN_DIM, TOKENS, LOGIC_DIM)
    context, weights = fusion(tokens, h_vis, h_logic, None)
    assert weights is None
    assert context.shape[1] == fusion.context_dim == 256 + LOGIC_DIM
    torch.testing.assert_close(context[:, :256], h_vis)
    torch.testing.assert_close(context[:, 256:], h_logic)


def test_concat_tokens_adds_the_mean_token():
    tokens, h_vis, h_logic = inputs()
    fusion = ConcatTokensFusion(256, TOKEN_DIM, TOKENS, LOGIC_DIM)
    context, _ = fusion(tokens, h_vis, h_logic, None)
    assert context.shape[1] == fusion.context_dim == 256 + LOGIC_DIM + TOKEN_DIM
    torch.testing.assert_close(context[:, -TOKEN_DIM:], tokens.dense().mean(dim=1))


def test_a_gate_over_heads_keeps_one_head_with_weight_one_whatever_the_state():
    fusion = HeadGateFusion(256, TOKEN_DIM, TOKENS, LOGIC_DIM, HEADS, HEAD_DIM, keep=0.3)
    tokens, h_vis, h_logic = inputs()
    context, weights = fusion(tokens, h_vis, h_logic, None)
    assert weights.shape == (BATCH, HEADS, 1, 1)
    assert float((weights == 0).double().mean()) == 0.75
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(BATCH, 1, 1))
    assert len(set(weights.flatten(1).argmax(1).tolist())) > 1  # which head it is does vary
    context.square().mul(torch.arange(LOGIC_DIM)).sum().backward()
    for path in fusion.attention_parameters.values():
        assert float(fusion.get_parameter(path).grad.norm()) == 0.0
    # By hand: the best head's value of the mean token.
    mean, head = tokens.dense().mean(dim=1)[0], int(weights[0].argmax())
    scores = [fusion.query(h_logic[0]).view(HEADS, -1)[h] @ fusion.key[h] @ mean for h in range(HEADS)]
    assert head == int(torch.stack(scores).argmax())
    values = torch.zeros(HEADS, HEAD_DIM)
    values[head] = mean @ fusion.value[head]
    expected = fusion.norm(fusion.attended_norm(fusion.output(values.flatten())[None]) + h_logic[:1])
    torch.testing.assert_close(context[:1], expected)


@pytest.mark.parametrize("keep", [0.0, 1.1])
def test_a_share_of_heads_out_of_range_is_refused(keep):
    with pytest.raises(ValueError, match="keep"):
        HeadGateFusion(256, TOKEN_DIM, TOKENS, LOGIC_DIM, HEADS, HEAD_DIM, keep=keep)
