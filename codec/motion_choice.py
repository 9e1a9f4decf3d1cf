"""Which vector each leaf takes: in coding order, at the bits that the motion coder will spend (inner loops)."""

from __future__ import annotations

import numpy as np

from lrae.codec.jit import kernel
from lrae.codec.motion_coding import predict_leaf
from lrae.codec.motion_field import LEVELS, LIMIT
from lrae.codec.motion_kernels import OPTIONS, SUMS, add_slopes, cell_error, is_new, least
from lrae.codec.motion_tables import AGREEMENTS, FAR, MEDIAN, NEAR, NEW, OTHER, ZERO

_BESIDE = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])


@kernel
def choose(current, padded, size, start, anchor, price, tables, options, sums, around, known, vectors):
    """Give each leaf of a tree the cheapest of: its vector so far, the predicted ones, none, that of `start` (int16
    [H/8, W/8, 2]), a least-squares correction of the best of these, and what is a quarter-pel beside the best.

    anchor: the global vector (x, y); price: bits per squared error; tables: bits of (kinds, dx, dy), each float64
    [contexts, symbols]; vectors: changed in place. To work in: options int64 [OPTIONS, 2]; sums float64 [5]; around
    int64 [8, 2]; known: zeros, uint8 [H/8 + 2, W/8 + 2].
    """
    rows, columns = size.shape
    for phase in range(4 * LEVELS):
        level = LEVELS - 1 - (phase >> 2)
        odd_row, odd_column = phase & 1, (phase ^ phase >> 1) & 1
        for row in range(odd_row << level, rows, 2 << level):
            for column in range(odd_column << level, columns, 2 << level):
                if size[row, column] != level + 3:
                    continue
                below, right = min(row + (1 << level), rows), min(column + (1 << level), columns)
                prediction = predict_leaf(vectors, known, row, column, 1 << level, *anchor, around)
                options[1, 0], options[1, 1], options[2, 0], options[2, 1], _ = prediction
                for k in range(2):
                    options[0, k], options[3, k], options[4, k] = vectors[row, column, k], 0, start[row, column, k]
                best, best_x, best_y = np.inf, options[0, 0], options[0, 1]
                for option in range(OPTIONS):
                    if option == 5:
                        for k in range(SUMS):
                            sums[k] = 0.0
                        for r in range(row, below):
                            for c in range(column, right):
                                add_slopes(current, padded, r, c, best_x, best_y, sums)
                        options[option, 0], options[option, 1] = least(sums)
                    if option > 5:
                        options[option, 0] = min(max(best_x + _BESIDE[option - 6, 0], -LIMIT), LIMIT)
                        options[option, 1] = min(max(best_y + _BESIDE[option - 6, 1], -LIMIT), LIMIT)
                    if not is_new(options, option):
                        continue
                    x, y = options[option, 0], options[option, 1]
                    cost = vector_bits(x, y, level, prediction, tables)
                    for r in range(row, below):
                        if cost >= best:
                            break
                        for c in range(column, right):
                            cost += price * cell_error(current, padded, r, c, x, y)
                    if cost < best:
                        best, best_x, best_y = cost, x, y
                for r in range(row, below):
                    for c in range(column, right):
                        vectors[r, c, 0], vectors[r, c, 1], known[r + 1, c + 1] = best_x, best_y, 1


@kernel
def vector_bits(x, y, level, prediction, tables):
    """Of a leaf, given predict_leaf()'s answer."""
    median_x, median_y, other_x, other_y, agreement = prediction
    kind_bits, dx_bits, dy_bits = tables
    context = (level * AGREEMENTS + agreement) * 2 + (median_x != 0 or median_y != 0)
    if x == median_x and y == median_y:
        return kind_bits[context, MEDIAN]
    if x == 0 and y == 0:
        return kind_bits[context, ZERO]
    if x == other_x and y == other_y:
        return kind_bits[context, OTHER]
    dx, dy = x - median_x, y - median_y
    far = abs(dx)
    y_context = agreement * 4 + (far > 0) + (far > 2) + (far > NEAR)
    x_symbol, x_extra = _symbol(dx)
    y_symbol, y_extra = _symbol(dy)
    coded = dx_bits[agreement, x_symbol] + dy_bits[y_context, y_symbol]
    return kind_bits[context, NEW] + coded + x_extra + y_extra


@kernel
def _symbol(difference):
    """Of a difference, and how many plain bits follow."""
    size, extra = abs(difference), 0
    while size >= NEAR - 1 + (2 << extra):
        extra += 1
    symbol = min(size, NEAR) + extra
    return NEAR + FAR + (symbol if difference > 0 else -symbol), extra
