"""Softmax and sparsemax routing against the entmax package, closed forms and finite differences."""

from __future__ import annotations

import math

import entmax
import pytest
import torch

from tedg.models import simplex
from tedg.models.routing import (
    AnnealedEntmax,
    Entmax,
    Softmax,
    Sparsemax,
    TopKSoftmax,
    operator_membership,
)
from tedg.models.simplex import sparsemax


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(200, 4), (50, 1), (20, 3, 17)])
def test_sparsemax_equals_entmax(shape, dtype):
    z = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    torch.testing.assert_close(sparsemax(z), entmax.sparsemax(z, dim=-1), rtol=0, atol=1e-6)
    for dim in range(len(shape)):
        torch.testing.assert_close(sparsemax(z, dim), entmax.sparsemax(z, dim=dim), rtol=0, atol=1e-6)


def test_sparsemax_gradient_equals_entmax():
    z = torch.randn(64, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(64, 4, dtype=torch.float64)
    (ours,) = torch.autograd.grad((sparsemax(z) * weight).sum(), z)
    (theirs,) = torch.autograd.grad((entmax.sparsemax(z, dim=-1) * weight).sum(), z)
    torch.testing.assert_close(ours, theirs)


def test_sparsemax_gradcheck():
    z = torch.randn(8, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sparsemax, z)
    assert torch.autograd.gradcheck(Sparsemax(), z)


def test_sparsemax_by_hand():
    z = torch.tensor([1.0, 0.5, 0.2, 0.0])
    # Two entries in the support: tau = (1 + 0.5 - 1) / 2 = 0.25.
    torch.testing.assert_close(sparsemax(z), torch.tensor([0.75, 0.25, 0.0, 0.0]))
    torch.testing.assert_close(Sparsemax()(z[None])[0], torch.tensor([0.75, 0.25, 0.0, 0.0]))


@pytest.mark.parametrize(("margin", "one_hot"), [(0.99, False), (1.01, True)])
def test_one_hot_exactly_from_a_margin_of_one(margin, one_hot):
    z = torch.tensor([[margin, 0.0, -5.0, -5.0]], requires_grad=True)
    alpha = Sparsemax()(z)
    alpha[0, 0].backward()
    assert (alpha.max() == 1).item() is one_hot
    assert (z.grad == 0).all().item() is one_hot


def test_sparsemax_is_not_top_two():
    """With close logits all four experts share; top-2 softmax would drop two."""
    alpha = Sparsemax()(torch.tensor([[0.2, 0.1, 0.1, 0.0]]))
    torch.testing.assert_close(alpha, torch.tensor([[0.35, 0.25, 0.25, 0.15]]))
    one = Sparsemax()(torch.tensor([[3.0, 0.1, 0.1, 0.0]]))
    assert one.tolist() == [[1.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize("routing", [Softmax(), Sparsemax()])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_rows_lie_on_the_simplex(routing, dtype):
    z = (10 * torch.randn(500, 4, generator=torch.Generator().manual_seed(1))).to(dtype).requires_grad_()
    alpha = routing(z)
    assert alpha.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert (alpha >= 0).all()
    assert (alpha.sum(-1) - 1).abs().max() < 1e-6
    alpha[:, 0].sum().backward()
    assert z.grad.dtype == dtype


@pytest.mark.parametrize("routing", [Softmax(), Sparsemax()])
def test_large_logits_do_not_overflow(routing):
    alpha = routing(torch.tensor([[1e30, 0.0], [-1e30, -1e30], [1e4 + 0.5, 1e4]]))
    assert alpha.isfinite().all()
    torch.testing.assert_close(alpha[:2], torch.tensor([[1.0, 0.0], [0.5, 0.5]]))


def test_sparsemax_of_masked_logits():
    assert sparsemax(torch.tensor([0.0, -torch.inf, 0.0])).tolist() == [0.5, 0.0, 0.5]


@pytest.mark.parametrize("alpha", [1.0, 1.0003, 1.1, 1.5, 1.9, 1.999, 2.0])
@pytest.mark.parametrize("shape", [(300, 4), (50, 122), (20, 1)])
def test_entmax_equals_the_package(shape, alpha):
    z = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    theirs = torch.softmax(z, -1) if alpha == 1 else entmax.entmax_bisect(z, alpha, n_iter=100)
    torch.testing.assert_close(simplex.entmax(z, alpha), theirs, rtol=0, atol=1e-9)
    single = simplex.entmax(z.float(), alpha)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, theirs.float(), rtol=0, atol=3e-6)


@pytest.mark.parametrize("alpha", [1.02, 1.5, 1.97])
def test_entmax_gradcheck(alpha):
    z = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: simplex.entmax(x, alpha), z)


def test_entmax_is_a_continuous_path_from_softmax_to_sparsemax():
    z = torch.tensor([[1.0, 0.5, 0.2, 0.0]])
    path = torch.cat([simplex.entmax(z, 1 + step / 200) for step in range(201)])
    torch.testing.assert_close(path[0], torch.softmax(z, -1)[0])
    torch.testing.assert_close(path[-1], sparsemax(z)[0])
    assert (path[1:] - path[:-1]).abs().max() < 0.01
    with pytest.raises(ValueError, match="from 1 to 2"):
        simplex.entmax(z, 2.1)


def test_entmax_of_huge_and_of_missing_scores():
    p = simplex.entmax(torch.tensor([[1e30, 0.0], [-1e30, -1e30], [0.0, -torch.inf]]), 1.5)
    torch.testing.assert_close(p, torch.tensor([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]]))


def test_the_annealed_exponent_follows_the_stage():
    routing = AnnealedEntmax({"warmup": (1.0, 1.0), "transition": (1.0, 2.0)})
    assert routing.at("warmup", 0.7) == Entmax(1.0)
    assert routing.at("transition", 0.25) == Entmax(1.25)
    z = torch.randn(5, 4)
    torch.testing.assert_close(routing.at("transition", 1.0)(z), Sparsemax()(z))


def test_topk_softmax_uses_two_experts_and_at_most_ln_2():
    z = torch.tensor([[1.0, 1.0, 1.0, 0.0], [3.0, 0.0, 1.0, 2.0]], requires_grad=True)
    alpha = TopKSoftmax(2)(z)
    torch.testing.assert_close(alpha[0].detach(), torch.tensor([0.5, 0.5, 0.0, 0.0]))  # ties: the first
    assert (alpha > 0).sum(1).tolist() == [2, 2]
    assert torch.special.entr(alpha).sum(1).max() <= math.log(2) + 1e-6
    alpha[1, 0].backward()
    assert z.grad[1, 1] == z.grad[1, 2] == 0
    assert z.grad[1, 3] < 0 < z.grad[1, 0]


def test_membership_averages_scores_per_expert():
    membership = operator_membership(torch.tensor([0, 1, 0]), 2)
    torch.testing.assert_close(torch.tensor([[1.0, 7.0, 3.0]]) @ membership, torch.tensor([[2.0, 7.0]]))
