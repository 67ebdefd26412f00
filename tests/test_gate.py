"""Gates: which keys get a weight, ties, gradients, and what each promises beside."""

from __future__ import annotations

import math

import entmax
import pytest
import torch

from tedg.models import largest
from tedg.models.gate import EntmaxGate, NoGate, RandomTopKGate, TopKGate

NOISE = torch.arange(5)


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
    for gate in (TopKGate(keep), RandomTopKGate(keep)):
        assert gate.num_kept(keys) == kept
        weights = gate(torch.randn(5, 4, keys), NOISE)
        assert ((weights > 0).sum(-1) == kept).all()
        torch.testing.assert_close(weights.sum(-1), torch.ones(5, 4))
    assert NoGate().num_kept(keys) == keys


def test_keeps_the_highest_scores_of_every_head_and_nothing_else():
    scores = torch.randn(5, 4, 50, generator=torch.Generator().manual_seed(0))
    weights = TopKGate(0.3)(scores, None)
    kept = weights > 0
    lowest_kept = scores.where(kept, math.inf).amin(-1)
    highest_dropped = scores.where(~kept, -math.inf).amax(-1)
    assert (lowest_kept > highest_dropped).all()
    assert not torch.equal(kept[:, 0], kept[:, 1])
    assert (weights[~kept] == 0).all()
    torch.testing.assert_close(weights, scores.where(kept, -math.inf).softmax(-1))


def kept_of(gate, scores):
    return gate(scores, None) > 0


def test_ties_go_to_the_lower_index():
    gate = TopKGate(0.3)
    assert kept_of(gate, torch.zeros(1, 1, 10))[0, 0].tolist() == [True] * 3 + [False] * 7
    scores = torch.tensor([[[0.0, 1.0, 0.0, 2.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]]])
    assert kept_of(gate, scores)[0, 0].nonzero().flatten().tolist() == [1, 3, 4]
    coarse = torch.randint(0, 4, (200, 4, 40)).float()
    order = coarse.sort(dim=-1, descending=True, stable=True).indices[..., :12]
    expected = torch.zeros_like(coarse, dtype=torch.bool).scatter(-1, order, True)
    assert torch.equal(kept_of(gate, coarse), expected)


def test_comparing_and_selecting_keep_the_same_keys(monkeypatch):
    scores = torch.randint(0, 9, (100, 2, 60)).float() - torch.randn(100, 1, 60).relu()
    few = kept_of(TopKGate(0.3), scores)
    monkeypatch.setattr(largest, "FEW", 59)
    assert torch.equal(kept_of(TopKGate(0.3), scores), few)


def test_whatever_the_scores_the_largest_are_kept_and_of_equals_the_first():
    generator = torch.Generator().manual_seed(0)
    plain = torch.randn(60, 2, 50, generator=generator, dtype=torch.float64)
    above = torch.tensor(1.0, dtype=torch.float64).nextafter(torch.tensor(2.0, dtype=torch.float64))
    kinds = {
        "all different": plain,
        "many equal": plain.round(),
        "neighbours": torch.where(plain > 0, above, 1.0),
        "zeros of both signs": plain.round() * -0.0,
        "infinite": plain.where(plain > -1, -torch.inf).where(plain < 1.5, torch.inf),
        "far apart": plain.exp().exp().exp(),
        "all alike": torch.ones_like(plain),
    }
    for kind, scores in kinds.items():
        for dtype in (torch.float32, torch.float64):
            given = scores.to(dtype)
            for count in (1, 7, 49):
                order = given.sort(dim=-1, descending=True, stable=True).indices[..., :count]
                expected = torch.zeros_like(given, dtype=torch.bool).scatter(-1, order, True)
                assert torch.equal(largest.largest(given, count), expected), kind


def test_the_gradient_is_that_of_a_softmax_over_what_is_kept():
    scores = torch.randn(5, 4, 20, dtype=torch.float64).requires_grad_()
    weights = torch.randn(5, 4, 20, dtype=torch.float64)
    gate = TopKGate(0.3)
    kept = scores.where(largest.largest(scores, gate.num_kept(20)), -torch.inf)
    found = [
        torch.autograd.grad((x * weights).sum(), scores)[0] for x in (gate(scores, None), kept.softmax(-1))
    ]
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


def test_scores_that_are_not_numbers_are_passed_on():
    scores = torch.randn(500, 1, 40, generator=torch.Generator().manual_seed(0))
    scores[torch.rand(500, 1, 40, generator=torch.Generator().manual_seed(1)) < 0.02] = math.nan
    bad = scores.isnan().any(-1)
    assert torch.equal(TopKGate(0.3)(scores, None).isnan().any(-1), bad)
    assert bad.any()
    assert not bad.all()


def test_gradient_flows_only_through_kept_keys():
    scores = torch.randn(2, 4, 20, requires_grad=True)
    weights = TopKGate(0.3)(scores, None)
    (weights * torch.randn(2, 4, 20)).sum().backward()
    assert (scores.grad[weights == 0] == 0).all()
    assert (scores.grad[weights > 0] != 0).all()


@pytest.mark.parametrize("gate", [NoGate(), TopKGate(0.3), RandomTopKGate(0.3), EntmaxGate(1.5)])
def test_a_single_key_is_the_constant_one(gate):
    scores = torch.randn(5, 4, 1, requires_grad=True)
    weights = gate(scores, NOISE)
    weights.sum().backward()
    assert (weights == 1).all()
    assert (scores.grad == 0).all()


def test_no_gate_is_the_softmax():
    scores = torch.randn(2, 3, 9)
    torch.testing.assert_close(NoGate()(scores, None), scores.softmax(-1))


def test_a_random_set_is_the_states_own_and_has_nothing_to_do_with_scores():
    gate, scores = RandomTopKGate(0.3), torch.randn(5, 4, 122)
    kept = gate(scores, NOISE) > 0
    assert torch.equal(gate(-7 * scores, NOISE) > 0, kept)
    assert torch.equal(gate(scores[2:], NOISE[2:]) > 0, kept[2:])
    assert not torch.equal(gate(scores, NOISE + 5) > 0, kept)
    assert not torch.equal(kept[:, 0], kept[:, 1])
    many = gate(torch.zeros(2000, 1, 122), torch.arange(2000)) > 0
    share = many.float().mean(0)[0]
    assert abs(float(share.mean()) - 37 / 122) < 1e-6
    assert float((share - 37 / 122).abs().max()) < 0.05  # no key is favoured
    with pytest.raises(ValueError, match="needs the states' noise"):
        gate(scores, None)


def test_entmax_keeps_as_many_keys_as_the_scores_say():
    scores = torch.stack([torch.linspace(0, 0.1, 50), torch.linspace(0, 20, 50)]).unsqueeze(1)
    weights = EntmaxGate(1.5)(scores, None)
    torch.testing.assert_close(weights, entmax.entmax15(scores, dim=-1), rtol=0, atol=1e-5)
    flat, steep = (weights > 0).sum(-1).flatten().tolist()
    assert flat == 50
    assert steep < 5
    assert EntmaxGate(1.5).num_kept(50) is None


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.5, float("nan")])
def test_keep_out_of_range_is_refused(keep):
    with pytest.raises(ValueError, match="keep"):
        TopKGate(keep)


@pytest.mark.parametrize("exponent", [1.0, 0.5, 2.1, float("nan")])
def test_an_exponent_out_of_range_is_refused(exponent):
    with pytest.raises(ValueError, match="exponent"):
        EntmaxGate(exponent)
