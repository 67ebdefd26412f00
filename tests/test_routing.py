"""Softmax and sparsemax routing against the entmax package, closed forms and finite differences."""

from __future__ import annotations

import entmax
import pytest
import torch

from tedg.models.routing import Softmax, Sparsemax, sparsemax


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
    temperature = torch.rand(8, dtype=torch.float64) + 0.2
    assert torch.autograd.gradcheck(lambda x: Sparsemax()(x, temperature), z)


def test_sparsemax_by_hand():
    z = torch.tensor([1.0, 0.5, 0.2, 0.0])
    # Two entries in the support: tau = (1 + 0.5 - 1) / 2 = 0.25.
    torch.testing.assert_close(sparsemax(z), torch.tensor([0.75, 0.25, 0.0, 0.0]))
    torch.testing.assert_close(Sparsemax()(z[None] / 2, 0.5)[0], torch.tensor([0.75, 0.25, 0.0, 0.0]))


@pytest.mark.parametrize(("margin", "one_hot"), [(0.49, False), (0.51, True)])
def test_one_hot_exactly_from_a_margin_of_the_temperature(margin, one_hot):
    z = torch.tensor([[margin, 0.0, -5.0, -5.0]], requires_grad=True)
    alpha = Sparsemax()(z, 0.5)
    alpha[0, 0].backward()
    assert (alpha.max() == 1).item() is one_hot
    assert (z.grad == 0).all().item() is one_hot


def test_sparsemax_is_not_top_two():
    """With close logits all four experts share; top-2 softmax would drop two."""
    alpha = Sparsemax()(torch.tensor([[0.2, 0.1, 0.1, 0.0]]), 1.0)
    torch.testing.assert_close(alpha, torch.tensor([[0.35, 0.25, 0.25, 0.15]]))
    one = Sparsemax()(torch.tensor([[3.0, 0.1, 0.1, 0.0]]), 1.0)
    assert one.tolist() == [[1.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize("routing", [Softmax(), Sparsemax()])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_rows_lie_on_the_simplex(routing, dtype):
    z = (10 * torch.randn(500, 4, generator=torch.Generator().manual_seed(1))).to(dtype).requires_grad_()
    alpha = routing(z, torch.full((500,), 0.7))
    assert alpha.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert (alpha >= 0).all()
    assert (alpha.sum(-1) - 1).abs().max() < 1e-6
    alpha[:, 0].sum().backward()
    assert z.grad.dtype == dtype


@pytest.mark.parametrize("routing", [Softmax(), Sparsemax()])
def test_large_logits_do_not_overflow(routing):
    alpha = routing(torch.tensor([[1e30, 0.0], [-1e30, -1e30], [1e4 + 0.5, 1e4]]), 1.0)
    assert alpha.isfinite().all()
    torch.testing.assert_close(alpha[:2], torch.tensor([[1.0, 0.0], [0.5, 0.5]]))


def test_sparsemax_of_masked_logits():
    assert sparsemax(torch.tensor([0.0, -torch.inf, 0.0])).tolist() == [0.5, 0.0, 0.5]


@pytest.mark.parametrize("routing", [Softmax(), Sparsemax()])
def test_temperature_per_sample_equals_one_number(routing):
    z = torch.randn(6, 4)
    temperatures = torch.tensor([1.0, 0.5, 0.25, 2.0, 1.0, 0.1])
    rows = torch.cat([routing(z[i : i + 1], float(t)) for i, t in enumerate(temperatures)])
    torch.testing.assert_close(routing(z, temperatures), rows)
    sharpness = [routing(z, t).max().item() for t in (2.0, 1.0, 0.5)]
    assert sharpness == sorted(sharpness)


@pytest.mark.parametrize("routing", [Softmax(), Sparsemax()])
@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_temperature_must_be_positive(routing, temperature):
    with pytest.raises(ValueError, match="temperature"):
        routing(torch.zeros(1, 4), temperature)
