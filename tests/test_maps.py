"""The compiled features of maps are those of torch's convolutions, values and gradients; distinct blocks."""

from __future__ import annotations

import pytest
import torch

from tedg.models.maps import _distinct_blocks, cell_features, plain_cell_features

CLASSES = 5


def arguments(dtype, batch=6, width=16, inputs=3):
    """What both forms take: maps on which most blocks are alike, heroes in corners and in between."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()

    places = torch.randint(4, (batch, 5, 6), generator=generator)
    counts = torch.randint(13, (batch, 7, 4, CLASSES), generator=generator)
    counts[torch.rand(batch, 7, 4, generator=generator) < 0.8] = torch.tensor([12] + [0] * (CLASSES - 1))
    hero = torch.tensor([[0, 0], [6, 3], [0, 3], [6, 0], [3, 2], [2, 1]])[:batch]
    leaves = normal(4, inputs), normal(width, inputs, 3, 3), normal(width)
    leaves += normal(width, CLASSES + 1, 3, 3), normal(width)
    return (leaves[0], places, counts.to(torch.uint8), hero, *leaves[1:]), leaves


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("width", [1, 6, 16, 40])
def test_compiled_features_are_those_of_convolutions(width, dtype, tolerance):
    given, leaves = arguments(dtype, width=width)
    results = [form(*given) for form in (cell_features, plain_cell_features)]
    assert results[0].shape == (6, 5 * 6 + 4 * 2, width)
    assert results[0].dtype == dtype
    assert 0.2 < (results[1] > 0).double().mean() < 0.8
    weights = torch.randn(results[0].shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    gradients = [torch.autograd.grad((x * weights).sum(), leaves) for x in results]
    for ours, expected in zip((results[0], *gradients[0]), (results[1], *gradients[1]), strict=True):
        torch.testing.assert_close(
            ours, expected, rtol=tolerance, atol=tolerance * float(expected.detach().abs().max())
        )


def test_gradients_of_the_compiled_features_are_exact():
    given, leaves = arguments(torch.float64, batch=2, width=2, inputs=2)

    def features(table, *weights):
        return cell_features(table, *given[1:4], *weights)

    assert torch.autograd.gradcheck(features, leaves)


def test_a_weight_that_is_not_a_number_shows():
    given, leaves = arguments(torch.float32)
    with torch.no_grad():
        leaves[2][0] = leaves[4][1] = torch.nan
        features = cell_features(*given)
    assert features[:, :30, 0].isnan().all()
    assert features[:, 30:, 1].isnan().all()
    assert features[:, :30, 1:].isfinite().all()


@pytest.mark.parametrize("classes", [CLASSES, 8, 16])
@pytest.mark.parametrize("alike", [False, True])
def test_distinct_blocks_and_their_places(classes, alike):
    counts = arguments(torch.float32)[0][2]
    counts = torch.cat([counts] * 4, dim=3)[..., :classes]
    if alike:  # one map for all states, in memory once
        counts = counts[:1].expand(len(counts), -1, -1, -1)
    hero = torch.tensor([[3, 2]] * len(counts))
    contents, places = _distinct_blocks(counts, hero)
    assert not contents[-1].any()
    assert len(contents[:-1].unique(dim=0)) == len(contents) - 1 < places.numel()
    assert torch.equal(contents[places][..., :-1], counts)
    assert contents[places][..., -1].nonzero().tolist() == [[b, 3, 2] for b in range(len(counts))]
