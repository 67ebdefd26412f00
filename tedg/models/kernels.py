"""Compiled loops over arrays, for what would be many passes over large tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tedg.compiled import kernel, kernel_part, vector_kernel

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


@vector_kernel
def outer_products(left: _Reals, right: _Reals, sums: _Reals) -> None:
    """Set sums [B, F, C] to the sum of left[b, q, f] * right[b, q, c] over a multiple of four q."""
    zero = sums.dtype.type(0)
    for b in range(sums.shape[0]):
        for q in range(0, left.shape[1], 4):  # four at a time: a sum is then written once for all of them
            one, two, three, four = right[b, q], right[b, q + 1], right[b, q + 2], right[b, q + 3]
            for f in range(sums.shape[1]):
                w, x, y, z = left[b, q, f], left[b, q + 1, f], left[b, q + 2, f], left[b, q + 3, f]
                row = sums[b, f]
                for c in range(row.shape[0]):
                    before = row[c] if q > 0 else zero
                    row[c] = before + (w * one[c] + x * two[c] + y * three[c] + z * four[c])


@vector_kernel
def norm_relu(
    x: _Reals, gain: _Reals, shift: _Reals, eps: float, out: _Reals, mean: _Reals, inverse: _Reals
) -> None:
    """Set out [K, B, H] to relu(gain[k] * (x - mean) / std + shift[k]) over the last dimension of x.

    mean and inverse [K, B] get each row's mean and 1 / sqrt(variance + eps).
    """
    size, one, zero = x.shape[2], x.dtype.type(1), x.dtype.type(0)
    for k in range(x.shape[0]):
        for b in range(x.shape[1]):
            row, to = x[k, b], out[k, b]
            total, squares = zero, zero
            for h in range(size):
                total += row[h]
            middle = total / x.dtype.type(size)
            for h in range(size):
                squares += (row[h] - middle) * (row[h] - middle)
            scale = one / np.sqrt(squares / x.dtype.type(size) + x.dtype.type(eps))
            mean[k, b], inverse[k, b] = middle, scale
            for h in range(size):
                value = (row[h] - middle) * scale * gain[k, h] + shift[k, h]
                to[h] = zero if value < zero else value  # what is no number stays so


@vector_kernel
def norm_relu_backward(
    grad: _Reals,
    x: _Reals,
    gain: _Reals,
    out: _Reals,
    mean: _Reals,
    inverse: _Reals,
    x_grad: _Reals,
    gain_grad: _Reals,
    shift_grad: _Reals,
) -> None:
    """Set x_grad, and add to gain_grad and shift_grad [K, H], from grad of what `norm_relu` gave."""
    size, zero = x.shape[2], x.dtype.type(0)
    unit = np.empty(size, x.dtype)
    for k in range(x.shape[0]):
        for b in range(x.shape[1]):
            row, g, kept, to = x[k, b], grad[k, b], out[k, b], x_grad[k, b]
            middle, scale = mean[k, b], inverse[k, b]
            total, product = zero, zero
            for h in range(size):
                unit[h] = (row[h] - middle) * scale
                active = zero if kept[h] <= zero else g[h]
                shift_grad[k, h] += active
                gain_grad[k, h] += active * unit[h]
                to[h] = active * gain[k, h]
                total += to[h]
                product += to[h] * unit[h]
            total /= x.dtype.type(size)
            product /= x.dtype.type(size)
            for h in range(size):
                to[h] = (to[h] - total - unit[h] * product) * scale


@kernel
def keep_largest(scores: _Reals, count: int, kept: npt.NDArray[np.bool_]) -> None:
    """Mark the `count` largest entries of each row of scores [N, T] in `kept`; of equals the first."""
    size, half = scores.shape[1], scores.dtype.type(0.5)
    for n in range(scores.shape[0]):
        row = scores[n]
        finite = np.int32(0)
        for i in range(size):
            finite += np.int32(row[i] - row[i] == 0)
        if finite < size:
            _keep_by_rank(row, count, kept[n])
            continue
        low, high = row[0], row[0]
        for i in range(size):
            low, high = min(low, row[i]), max(high, row[i])
        # Halve the range of the count-th largest: `enough` are at least `low`, too few above `high`, until
        # these are exactly as many as asked for, or no number lies between the two.
        enough, middle = size, half * low + half * high
        while enough > count and low < middle < high:
            above = np.int32(0)
            for i in range(size):
                above += np.int32(row[i] >= middle)
            if above >= count:
                low, enough = middle, above
            else:
                high = middle
            middle = half * low + half * high
        if enough > count:
            at_most = np.int32(0)
            for i in range(size):
                at_most += np.int32(row[i] >= high)
            low = high if at_most >= count else low
        room = np.int32(count)  # for those that equal `low`, the first of them
        for i in range(size):
            kept[n, i] = row[i] >= low
        if enough > count:
            for i in range(size):
                room -= np.int32(row[i] > low)
            for i in range(size):
                if row[i] == low:
                    kept[n, i] = room > 0
                    room -= 1


@kernel_part
def _keep_by_rank(row: _Reals, count: int, kept: npt.NDArray[np.bool_]) -> None:
    """The same for one row, of which some entries may be infinite, or no numbers: those are kept."""
    size = len(row)
    larger = np.zeros(size, np.int32)  # how many entries of the row are larger than this one
    for value in row:
        for i in range(size):
            larger[i] += np.int32(value > row[i])
    total, edge = 0, -1
    for i in range(size):
        kept[i] = larger[i] < count
        if kept[i]:
            total += 1
            edge = max(edge, larger[i])
    i = size - 1
    while total > count and i >= 0:  # too many because of equals at the edge, or of NaN
        if larger[i] == edge:
            kept[i] = False
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
