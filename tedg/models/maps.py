"""Features of the cells of maps: two small convolutions, over glyphs and over counts, side by side."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from tedg.models.formulas import loops_serve
from tedg.models.map_kernels import (
    convolve_blocks,
    convolve_blocks_backward,
    convolve_glyphs,
    convolve_glyphs_backward,
    number_blocks,
)


def cell_features(
    glyphs: Float[Tensor, "D E"],
    places: Int[Tensor, "B R K"],
    counts: UInt8[Tensor, "B rows columns N"],
    hero: Int[Tensor, "B 2"],
    glyph_weight: Float[Tensor, "C E 3 3"],
    glyph_bias: Float[Tensor, " C"],
    count_weight: Float[Tensor, "C N+1 3 3"],
    count_bias: Float[Tensor, " C"],
) -> Float[Tensor, "B F C"]:
    """relu of both convolutions, R * K cells of the first and then those of the second, which has stride 2.

    The first reads row `places` of the table of embedded `glyphs`; the second `counts` and a plane that
    is 1 at `hero` and 0 elsewhere. Both see zeros around the map.

    On the CPU this is done by compiled loops. Few glyphs and few blocks of counts are distinct, so each is
    multiplied with the weights once, and a cell adds up what its nine neighbours give.
    """
    if not loops_serve(places) or torch.compiler.is_compiling():
        return plain_cell_features(
            glyphs, places, counts, hero, glyph_weight, glyph_bias, count_weight, count_bias
        )
    contents, blocks = _distinct_blocks(counts, hero)
    # A glyph gives to the cell on its lower right what that one reads under its upper left tap: flipped.
    near = glyphs @ glyph_weight.flip(2, 3).permute(1, 2, 3, 0).flatten(1)
    far = contents.to(count_weight.dtype) @ count_weight.permute(1, 2, 3, 0).flatten(1)
    # Compiled loops know no bfloat16, in which a mixed-precision forward pass may hand patches over.
    near, far = (x.float() if x.dtype == torch.bfloat16 else x for x in (near, far))
    features: Tensor = _CellFeatures.apply(  # type: ignore[no-untyped-call]
        near.view(len(near), 3, -1), glyph_bias, far.view(len(far), 3, 3, -1), count_bias, places, blocks
    )
    return features


def _distinct_blocks(counts: Tensor, hero: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct blocks, the hero as one more count, followed by an empty one; and every block's row."""
    *shape, classes = counts.shape
    counts = counts.contiguous()
    # Eight counts at a time, where they are so many, are compared as one number.
    words = counts.view(torch.int64) if classes % 8 == 0 else counts
    firsts, with_hero = torch.empty(math.prod(shape), dtype=torch.int64), torch.empty(math.prod(shape)).bool()
    places = torch.empty(shape, dtype=torch.int64)
    found = number_blocks(*(x.numpy() for x in (words, hero, firsts, with_hero, places)))
    contents = counts.new_zeros(found + 1, classes + 1)
    contents[:found, :classes] = counts.reshape(-1, classes).index_select(0, firsts[:found])
    contents[:found, classes] = with_hero[:found]
    return contents, places


def plain_cell_features(
    glyphs: Tensor,
    places: Tensor,
    counts: Tensor,
    hero: Tensor,
    glyph_weight: Tensor,
    glyph_bias: Tensor,
    count_weight: Tensor,
    count_bias: Tensor,
) -> Tensor:
    """The same by torch's convolutions, for other devices."""
    # The gradient of index_select is several times faster than that of an embedding.
    crop = glyphs.index_select(0, places.flatten()).view(*places.shape, -1).permute(0, 3, 1, 2)
    near = functional.conv2d(crop, glyph_weight, glyph_bias, padding=1)
    rows, columns = counts.shape[1:3]
    # Writing a 1 to its place would copy it from the host, in every call.
    hero_block = (hero[:, :1] * columns + hero[:, 1:]).unsqueeze(2)
    here = torch.arange(rows * columns, device=hero.device).view(1, rows, columns) == hero_block
    planes = torch.cat([counts, here.unsqueeze(3)], dim=3).to(glyphs.dtype).permute(0, 3, 1, 2)
    far = functional.conv2d(planes, count_weight, count_bias, stride=2, padding=1)
    return torch.cat([part.flatten(2).transpose(1, 2) for part in (near, far)], dim=1).relu()


class _CellFeatures(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        near: Tensor,
        near_bias: Tensor,
        far: Tensor,
        far_bias: Tensor,
        places: Tensor,
        blocks: Tensor,
    ) -> Tensor:
        batch, rows, columns = blocks.shape
        cells = places[0].numel() + (rows + 1) // 2 * ((columns + 1) // 2)
        features = near.new_empty(batch, cells, len(near_bias))
        convolve_glyphs(*(x.detach().numpy() for x in (places, near, near_bias, features)))
        convolve_blocks(*(x.detach().numpy() for x in (blocks, far, far_bias, features)))
        ctx.save_for_backward(features, places, blocks)
        ctx.shapes = near.shape, near_bias.shape, far.shape, far_bias.shape
        return features

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        features, places, blocks = (x.numpy() for x in ctx.saved_tensors)
        grad = grad_outputs[0].contiguous()
        gradients = [grad.new_zeros(shape) for shape in ctx.shapes]
        near, near_bias, far, far_bias = (x.numpy() for x in gradients)
        convolve_glyphs_backward(grad.numpy(), features, places, near, near_bias)
        convolve_blocks_backward(grad.numpy(), features, blocks, far, far_bias)
        return (*gradients, None, None)
