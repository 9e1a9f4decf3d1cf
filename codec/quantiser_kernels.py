"""Compiled loops of the quantiser. Coefficients are in steps; those below VISIT are zero under every table."""

from __future__ import annotations

import numpy as np

from lrae.codec.jit import inline, kernel
from lrae.models.tables import BUCKETS, CLASSES, LEVELS, MAX_LEVEL, TRANSFORMS

BINS_PER_STEP = 8
BINS = BINS_PER_STEP * 2 * LEVELS
VISIT = np.float32(0.5)


@inline
def _visit(row, channels):
    """How many of row are to be visited; their indices are written into the buffer. Both loops are without branches:
    the first is vectorised, and most rows need no second."""
    count = 0
    for channel in range(len(row)):
        count += abs(row[channel]) >= VISIT
    if count:
        end = 0
        for channel in range(len(row)):
            channels[end] = channel
            end += abs(row[channel]) >= VISIT
    return count


@inline
def _bin(coefficient):
    return min(np.uint32(abs(coefficient) * np.float32(BINS_PER_STEP)), np.uint32(BINS - 1))


@kernel
def add_costs(values, owner, first, rows, delta, cost):
    """Add to cost float32 [N, CLASSES] what values float32 [R, W] change against zeros.

    values[r] are the coefficients of channels first… of owner int64 [R] = position·TRANSFORMS + transform.
    rows uint8 [CLASSES, CHANNELS] tables; delta float32 [BINS, tables].
    """
    channels, bins = np.empty(values.shape[1], np.uint32), np.empty(values.shape[1], np.uint32)
    for r in range(len(values)):
        row = values[r]
        count = _visit(row, channels)
        if count == 0:
            continue
        for i in range(count):
            bins[i] = _bin(row[channels[i]])
        position, transform = divmod(owner[r], TRANSFORMS)
        for k in range(transform, CLASSES, TRANSFORMS):
            table, total = rows[k, first:], np.float32(0)
            for i in range(count):
                total += delta[bins[i], table[channels[i]]]
            cost[position, k] += total


@kernel
def set_levels(values, owner, first, classes, rows, level, levels):
    """Write into levels int16 [N, CHANNELS] the best ones under classes uint8 [N]; values, owner, first: add_costs.

    rows uint8 [CLASSES, CHANNELS] tables; level int16 [BINS, tables] the best magnitude.
    """
    channels = np.empty(values.shape[1], np.uint32)
    for r in range(len(values)):
        position, transform = divmod(owner[r], TRANSFORMS)
        if classes[position] % TRANSFORMS != transform:
            continue
        row, table, out = values[r], rows[classes[position], first:], levels[position, first:]
        for i in range(_visit(row, channels)):
            channel = channels[i]
            bin_ = _bin(row[channel])
            best = level[bin_, table[channel]]
            if bin_ == BINS - 1 and best > 0:
                best = min(np.rint(abs(row[channel])), MAX_LEVEL)
            out[channel] = -best if row[channel] < 0 else best


# whose contexts a class is in (lrae.codec.class_map): rows down, columns right, the weight of its rank in the index
_OF_EVEN = np.array([(0, -1, BUCKETS), (0, 1, BUCKETS**2), (1, 0, BUCKETS**2)])
_OF_ODD = np.array([(1, 0, 1), (1, -1, 1), (1, 1, BUCKETS)])


@inline
def _context(ranks, row, column):
    """class_map.contexts of one position; ranks int64 [rows + 1, columns + 2], zero around the map."""
    y, x = row + 1, column + 1
    if column % 2 == 0:
        return (ranks[y - 1, x] * BUCKETS + ranks[y - 1, x - 1]) * BUCKETS + ranks[y - 1, x + 1]
    return BUCKETS**3 + (ranks[y, x - 1] * BUCKETS + ranks[y, x + 1]) * BUCKETS + ranks[y - 1, x]


@inline
def _cheapest(sets, ranks, classes):
    """The set of fewest bits for the map."""
    best, least = 0, np.float32(np.inf)
    for i in range(len(sets)):
        total = np.float32(0)
        for row in range(classes.shape[0]):
            for column in range(classes.shape[1]):
                total += sets[i, _context(ranks, row, column), classes[row, column]]
        if total < least:
            best, least = i, total
    return best


@kernel
def settle(cost, sets, rank, classes):
    """Give every position of classes uint8 [rows, columns], in turn, the class of least cost while the others stay.

    cost float32 [rows·columns, CLASSES], and sets float32 [MAP_SETS, CONTEXTS, CLASSES] of bits in its unit: of a
    class's own, and of those of the neighbours that it is a context of. rank uint8 [CLASSES].
    """
    rows, columns = classes.shape
    ranks = np.zeros((rows + 1, columns + 2), np.int64)
    for row in range(rows):
        for column in range(columns):
            ranks[row + 1, column + 1] = rank[classes[row, column]]
    bits = sets[_cheapest(sets, ranks, classes)]
    others = np.empty(BUCKETS, np.float32)  # by the rank of the class
    for row in range(rows):
        for column in range(columns):
            now = ranks[row + 1, column + 1]
            others[:] = 0
            neighbours = _OF_ODD if column % 2 else _OF_EVEN
            for i in range(len(neighbours)):
                y, x, weight = row + neighbours[i, 0], column + neighbours[i, 1], neighbours[i, 2]
                if y < rows and 0 <= x < columns:
                    without = _context(ranks, y, x) - weight * now
                    for r in range(BUCKETS):
                        others[r] += bits[without + weight * r, classes[y, x]]
            mine, price, best = bits[_context(ranks, row, column)], cost[row * columns + column], 0
            least = np.float32(np.inf)
            for k in range(CLASSES):
                total = price[k] + mine[k] + others[rank[k]]
                if total < least:
                    least, best = total, k
            classes[row, column] = best
            ranks[row + 1, column + 1] = rank[best]
