"""The sparse gate keeps exactly k keys per head and query, the lower index first among equals."""

from __future__ import annotations

import math

import pytest
import torch

from tedg.models.gate import NoGate, TopKGate


@pytest.mark.parametrize(
    ("keep", "keys", "kept"),
    [
        (0.3, 122, 37),  # 36.6
        (0.3, 120, 36),  # exact
        (0.3, 10, 3),
        (0.28, 25, 7),  # 7.000000000000001 in floats
        (0.07, 100, 7),
        (0.3, 1, 1),
        (0.3, 2, 2),
        (0.3, 5, 2),
        (0.01, 50, 2),
        (1.0, 7, 7),
        (0.999, 100, 100),
    ],
)
def test_number_of_kept_keys(keep, keys, kept):
    gate = TopKGate(keep)
    assert gate.num_kept(keys) == kept
    gated = gate(torch.randn(3, 4, 2, keys))
    assert (gated.isfinite().sum(-1) == kept).all()
    assert NoGate().num_kept(keys) == keys


def test_keeps_the_highest_scores_of_every_head_and_query():
    scores = torch.randn(5, 4, 3, 50, generator=torch.Generator().manual_seed(0))
    gated = TopKGate(0.3)(scores)
    kept = gated.isfinite()
    assert torch.equal(gated[kept], scores[kept])
    assert (gated[~kept] == -torch.inf).all()
    lowest_kept = scores.where(kept, math.inf).amin(-1)
    highest_dropped = scores.where(~kept, -math.inf).amax(-1)
    assert (lowest_kept > highest_dropped).all()
    assert not torch.equal(kept[:, 0], kept[:, 1])


def test_ties_go_to_the_lower_index():
    gate = TopKGate(0.3)
    assert gate(torch.zeros(10)).isfinite().tolist() == [True] * 3 + [False] * 7
    scores = torch.tensor([0.0, 1.0, 0.0, 2.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    assert gate(scores).isfinite().nonzero().flatten().tolist() == [1, 3, 4]
    coarse = torch.randint(0, 4, (200, 4, 1, 40)).float()
    order = coarse.sort(dim=-1, descending=True, stable=True).indices[..., :12]
    expected = torch.zeros_like(coarse, dtype=torch.bool).scatter(-1, order, True)
    assert torch.equal(gate(coarse).isfinite(), expected)


def test_comparing_and_selecting_keep_the_same_keys(monkeypatch):
    scores = torch.randint(0, 9, (100, 2, 1, 60)).float() - torch.randn(100, 1, 1, 60).relu()
    few = TopKGate(0.3)(scores)
    monkeypatch.setattr("tedg.models.gate.FEW_KEYS", 59)
    assert torch.equal(TopKGate(0.3)(scores), few)


def test_scores_that_are_not_numbers_are_passed_on():
    scores = torch.randn(500, 40, generator=torch.Generator().manual_seed(0))
    scores[torch.rand(500, 40, generator=torch.Generator().manual_seed(1)) < 0.2] = math.nan
    assert torch.equal(TopKGate(0.3)(scores).isnan(), scores.isnan())


def test_gradient_flows_only_through_kept_keys():
    scores = torch.randn(2, 4, 1, 20, requires_grad=True)
    gated = TopKGate(0.3)(scores)
    (gated.softmax(-1) * torch.randn(2, 4, 1, 20)).sum().backward()
    kept = gated.isfinite()
    assert (scores.grad[~kept] == 0).all()
    assert (scores.grad[kept] != 0).all()


def test_a_single_key_is_the_constant_one():
    scores = torch.randn(2, 4, 1, 1, requires_grad=True)
    weights = TopKGate(0.3)(scores).softmax(-1)
    weights.sum().backward()
    assert (weights == 1).all()
    assert (scores.grad == 0).all()


def test_no_gate_returns_the_scores():
    scores = torch.randn(2, 3)
    assert NoGate()(scores) is scores


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.5, float("nan")])
def test_keep_out_of_range_is_refused(keep):
    with pytest.raises(ValueError, match="keep"):
        TopKGate(keep)
