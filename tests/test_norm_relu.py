"""The compiled layer norm with ReLU is torch's, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from tedg.models.norm_relu import NormReLU, norm_relu


def plain(x, gain, shift):
    return torch.relu(functional.layer_norm(x, x.shape[-1:]) * gain + shift)


def leaves(dtype, shape=(3, 7, 10)):
    generator = torch.Generator().manual_seed(0)
    experts, _, size = shape
    shapes = (shape, (experts, 1, size), (experts, 1, size))
    return [torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("size", [1, 10, 128])
def test_values_and_gradients_are_those_of_torch(size, dtype, tolerance):
    given = leaves(dtype, (3, 7, size))
    results = [form(*given) for form in (norm_relu, plain)]
    weights = torch.randn(results[0].shape, dtype=dtype)
    gradients = [torch.autograd.grad((result * weights).sum(), given) for result in results]
    for ours, expected in zip((results[0], *gradients[0]), (results[1], *gradients[1]), strict=True):
        torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)


def test_gradients_are_exact():
    assert torch.autograd.gradcheck(norm_relu, leaves(torch.float64, (2, 3, 5)))


def test_memory_in_another_order_is_read_right():
    x, gain, shift = leaves(torch.float64)
    turned = x.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    torch.testing.assert_close(norm_relu(turned, gain, shift), norm_relu(x, gain, shift))
    weights = torch.randn(7, 3, 10, dtype=torch.float64).transpose(0, 1)
    found = [
        torch.autograd.grad((form(turned, gain, shift) * weights).sum(), turned)[0]
        for form in (norm_relu, plain)
    ]
    torch.testing.assert_close(*found)


def test_what_is_no_number_shows():
    x, gain, shift = leaves(torch.float32)
    with torch.no_grad():
        x[1, 2, 3] = torch.nan
        result = norm_relu(x, gain, shift)
    assert result[1, 2].isnan().all()
    assert result.isnan().sum() == 10


def test_the_layer_is_a_norm_and_a_relu():
    layer, x = NormReLU(10), leaves(torch.float32)[0][0]
    with torch.no_grad():
        layer.weight.uniform_()
        layer.bias.uniform_(-1, 1)
    expected = torch.relu(functional.layer_norm(x, (10,), layer.weight, layer.bias))
    torch.testing.assert_close(layer(x), expected)
