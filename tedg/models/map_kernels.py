"""Compiled loops over the cells of maps: small convolutions over cells of which many hold the same.

What a content gives to the 3 x 3 cells around it, its patch, is one product per distinct content. A
convolution then only adds patches up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tedg.compiled import kernel, kernel_part, vector_kernel

_Reals = npt.NDArray[np.floating[Any]]


@vector_kernel
def convolve_glyphs(places: npt.NDArray[np.int64], patches: _Reals, bias: _Reals, features: _Reals) -> None:
    """Set the first cells of features [B, F, C] to relu(bias + what each glyph gives to its neighbours).

    patches [D, 3, 3C]: what glyph d adds to the 3 x 3 cells around it; places [B, R, K]: the cells' glyphs.
    """
    batch, rows, columns = places.shape
    width, zero = len(bias), bias.dtype.type(0)  # of the arrays' own precision
    sums = np.empty((rows + 2, (columns + 2) * width), patches.dtype)  # with a border that is not read
    for b in range(batch):
        sums[:] = 0
        for r in range(rows):
            for c in range(columns):
                patch = patches[places[b, r, c]]
                for i in range(3):
                    given, around = patch[i], sums[r + i, c * width : (c + 3) * width]
                    for k in range(len(given)):
                        around[k] += given[k]
        for r in range(rows):
            for c in range(columns):
                cell, total = features[b, r * columns + c], sums[r + 1, (c + 1) * width : (c + 2) * width]
                for k in range(width):
                    total[k] += bias[k]
                    cell[k] = zero if total[k] < zero else total[k]


@vector_kernel
def convolve_glyphs_backward(
    grad: _Reals,
    features: _Reals,
    places: npt.NDArray[np.int64],
    patches_grad: _Reals,
    bias_grad: _Reals,
) -> None:
    """Add to patches_grad and bias_grad from grad [B, F, C] of what `convolve_glyphs` set."""
    batch, rows, columns = places.shape
    width, zero = len(bias_grad), grad.dtype.type(0)
    active = np.zeros((rows + 2, (columns + 2) * width), grad.dtype)  # gradient before the relu
    for b in range(batch):
        for r in range(rows):
            for c in range(columns):
                cell, g = features[b, r * columns + c], grad[b, r * columns + c]
                inner = active[r + 1, (c + 1) * width : (c + 2) * width]
                for k in range(width):
                    inner[k] = zero if cell[k] <= zero else g[k]
                for k in range(width):
                    bias_grad[k] += inner[k]
        for r in range(rows):
            for c in range(columns):
                patch = patches_grad[places[b, r, c]]
                for i in range(3):
                    given, around = patch[i], active[r + i, c * width : (c + 3) * width]
                    for k in range(len(given)):
                        given[k] += around[k]


@vector_kernel
def convolve_blocks(places: npt.NDArray[np.int64], patches: _Reals, bias: _Reals, features: _Reals) -> None:
    """The same for the last cells of features, and with stride 2.

    patches [D, 3, 3, C]: what block d gives under each tap, zeros in the last row; places [B, R, K].
    """
    _, rows, columns = places.shape
    height, width = (rows + 1) // 2, (columns + 1) // 2
    around = np.full((rows + 2, columns + 2), len(patches) - 1)  # with a border of zeros
    zero = bias.dtype.type(0)
    for b in range(len(places)):
        around[1:-1, 1:-1] = places[b]
        cells = features[b, features.shape[1] - height * width :]
        for y in range(height):
            for x in range(width):
                cell = cells[y * width + x]
                for k in range(len(cell)):
                    cell[k] = bias[k]
                for i in range(3):
                    d = around[2 * y + i, 2 * x : 2 * x + 3]
                    left, middle, right = patches[d[0], i, 0], patches[d[1], i, 1], patches[d[2], i, 2]
                    for k in range(len(cell)):
                        cell[k] += left[k] + middle[k] + right[k]
                for k in range(len(cell)):
                    cell[k] = zero if cell[k] < zero else cell[k]


@vector_kernel
def convolve_blocks_backward(
    grad: _Reals,
    features: _Reals,
    places: npt.NDArray[np.int64],
    patches_grad: _Reals,
    bias_grad: _Reals,
) -> None:
    """Add to patches_grad and bias_grad from grad [B, F, C] of what `convolve_blocks` set."""
    _, rows, columns = places.shape
    height, width = (rows + 1) // 2, (columns + 1) // 2
    around = np.full((rows + 2, columns + 2), len(patches_grad) - 1)
    active, zero = np.empty(len(bias_grad), grad.dtype), grad.dtype.type(0)
    first = features.shape[1] - height * width
    for b in range(len(places)):
        around[1:-1, 1:-1] = places[b]
        for y in range(height):
            for x in range(width):
                cell, g = features[b, first + y * width + x], grad[b, first + y * width + x]
                for k in range(len(active)):
                    active[k] = zero if cell[k] <= zero else g[k]
                for k in range(len(active)):
                    bias_grad[k] += active[k]
                for i in range(3):
                    for j in range(3):
                        patch = patches_grad[around[2 * y + i, 2 * x + j], i, j]
                        for k in range(len(active)):
                            patch[k] += active[k]


@kernel
def number_blocks(
    words: npt.NDArray[np.integer[Any]],
    hero: npt.NDArray[np.int64],
    firsts: npt.NDArray[np.int64],
    with_hero: npt.NDArray[np.bool_],
    places: npt.NDArray[np.int64],
) -> int:
    """Number the distinct blocks of words [B, R, K, W], each with whether the hero, at hero [B, 2], is there.

    Returns how many there are. For each, the front of firsts [B * R * K] gets where it lies first, as a place
    in B * R * K, and that of with_hero whether the hero is there; places [B, R, K] gets every block's number.
    """
    batch, rows, columns, size = words.shape
    blocks = words.reshape(-1, size)
    slots_count = 1
    while slots_count < 2 * len(firsts):
        slots_count *= 2
    slots = np.full(slots_count, -1, np.int32)  # a hash table with open addressing, of numbers
    found, number, at = 0, -1, 0
    for b in range(batch):
        for r in range(rows):
            for c in range(columns):
                here = r == hero[b, 0] and c == hero[b, 1]
                # Neighbours are mostly equal, and then need no look-up.
                if number < 0 or not _same(blocks, at, firsts[number], here, with_hero[number]):
                    code = np.uint64(here)
                    for w in range(size):  # FNV-1a over words
                        code = (code ^ np.uint64(blocks[at, w])) * np.uint64(0x100000001B3)
                    slot = np.int64((code ^ (code >> np.uint64(32))) & np.uint64(slots_count - 1))
                    number = slots[slot]
                    while number >= 0 and not _same(blocks, at, firsts[number], here, with_hero[number]):
                        slot = (slot + 1) & (slots_count - 1)
                        number = slots[slot]
                    if number < 0:
                        firsts[found], with_hero[found] = at, here
                        number = slots[slot] = found
                        found += 1
                places[b, r, c] = number
                at += 1
    return found


@kernel_part
def _same(
    blocks: npt.NDArray[np.integer[Any]], one: int, other: int, with_hero: bool, other_with_hero: bool
) -> bool:
    same = with_hero == other_with_hero
    for w in range(blocks.shape[1]):
        same &= blocks[one, w] == blocks[other, w]
    return same
