"""Compiled loops over arrays, for what would be many passes over large tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tedg.compiled import kernel, vector_kernel

_Reals = npt.NDArray[np.floating[Any]]


@vector_kernel
def pool_rows(table: _Reals, rows: npt.NDArray[np.int64], weights: _Reals, pooled: _Reals) -> None:
    """Add to pooled [N, H, C] the rows of table [R, H, C] under weights [N, L, H]; rows is [N, L]."""
    for n in range(rows.shape[0]):
        for k in range(rows.shape[1]):
            r = rows[n, k]
            for h in range(weights.shape[2]):
                weight, row, sums = weights[n, k, h], table[r, h], pooled[n, h]
                for c in range(row.shape[0]):
                    sums[c] += weight * row[c]


@vector_kernel
def pool_rows_backward(
    table: _Reals,
    rows: npt.NDArray[np.int64],
    weights: _Reals,
    grad: _Reals,
    table_grad: _Reals,
    weights_grad: _Reals,
) -> None:
    """Add to table_grad, and set weights_grad, from grad [N, H, C] of what `pool_rows` gave."""
    for n in range(rows.shape[0]):
        for k in range(rows.shape[1]):
            r = rows[n, k]
            for h in range(weights.shape[2]):
                weight, row, row_grad, g = weights[n, k, h], table[r, h], table_grad[r, h], grad[n, h]
                product = weight * 0  # of the arrays' own precision
                for c in range(row.shape[0]):
                    product += g[c] * row[c]
                for c in range(row.shape[0]):
                    row_grad[c] += weight * g[c]
                weights_grad[n, k, h] = product


@kernel
def keep_largest(scores: _Reals, count: int, kept: npt.NDArray[np.bool_]) -> None:
    """Mark the `count` largest entries of each row of scores [N, T] in `kept`; of equals the first."""
    size = scores.shape[1]
    larger = np.empty(size, np.int32)  # how many entries of the row are larger than this one
    for n in range(scores.shape[0]):
        row = scores[n]
        larger[:] = 0
        for value in row:
            for i in range(size):
                larger[i] += np.int32(value > row[i])
        total, edge = 0, -1
        for i in range(size):
            kept[n, i] = larger[i] < count
            if kept[n, i]:
                total += 1
                edge = max(edge, larger[i])
        i = size - 1
        while total > count and i >= 0:  # too many because of equals at the edge, or of NaN
            if larger[i] == edge:
                kept[n, i] = False
                total -= 1
            i -= 1


@kernel
def number_distinct(
    values: npt.NDArray[np.integer[Any]], numbers: npt.NDArray[np.int64], places: npt.NDArray[np.int64]
) -> int:
    """Write the distinct entries of values [N], ascending, to the front of numbers; return how many.

    Entries are from 0 to len(numbers) - 1; places [N] gets each one's place in numbers.
    """
    place = np.zeros(len(numbers), np.int64)
    for value in values:
        place[value] = 1
    count = 0
    for number in range(len(place)):
        if place[number]:
            numbers[count] = number
            place[number] = count
            count += 1
    for i in range(len(values)):
        places[i] = place[values[i]]
    return count
