"""Projected tokens answer every read as their dense form does, values and gradients; distinct numbers."""

from __future__ import annotations

import pytest
import torch

from tedg.models.distinct import distinct
from tedg.models.tokens import DenseTokens, ProjectedTokens

B, F, C, D = 3, 5, 2, 4


def parts():
    generator = torch.Generator().manual_seed(0)
    shapes = ((B, F, C), (D, C), (B, D), (F + 1, D))
    return [
        torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes
    ], generator


READS = {
    **{f"scores {q}": (lambda tokens, x: tokens.scores(x), (B, q, D)) for q in (1, 2, 4, 5)},
    **{f"pooled {q}": (lambda tokens, x: tokens.pooled(x), (B, q, F + 1)) for q in (1, 2, 4, 5)},
    "mean": (lambda tokens, x: tokens.mean() * x, (B, D)),
    "dense": (lambda tokens, x: tokens.dense() * x, (B, F + 1, D)),
}


@pytest.mark.parametrize("name", READS)
def test_projected_tokens_read_as_their_dense_form(name):
    leaves, generator = parts()
    features, projection, last, offset = leaves
    read, shape = READS[name]
    argument = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
    written = torch.stack([f @ projection.t() for f in features])
    written = torch.cat([written, last[:, None]], dim=1) + offset
    results = [read(tokens, argument) for tokens in (ProjectedTokens(*leaves), DenseTokens(written))]
    torch.testing.assert_close(*results)
    probe = torch.randn(results[0].shape, generator=generator, dtype=torch.float64)
    gradients = [
        torch.autograd.grad((r * probe).sum(), (*leaves, argument), allow_unused=True) for r in results
    ]
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected)


def test_distinct_numbers_and_their_places():
    values = torch.tensor([[5, 0], [5, 3]])
    numbers, index = distinct(values, 7)
    assert numbers.tolist() == [0, 3, 5]
    assert index.tolist() == [[2, 0], [2, 1]]
    assert torch.equal(numbers[index], values)
