"""Compiled loops of the loop filter, over cells: eight floats a row, 8 rows of luma or 4 of chroma, u and v by turns.

What they read are `lines`, float32 [H + 4 + H/2 + 4, 4 + W + 4]: the rows of luma, then those of chroma, each plane
with its border repeated.
"""

from __future__ import annotations

import numpy as np

from lrae.codec.jit import inline, kernel
from lrae.codec.lanes import (
    clip,
    floats,
    load,
    load_by_turns,
    load_octets,
    magnitude,
    octets,
    splat,
    store,
    store_by_turns,
    total,
)
from lrae.models.blocks import CHROMA_GAIN, PACKED

CELL, SIDE = 8, 4  # pixels a side of a cell; cells a side of an area
ABOVE, LEFT = 2, 4  # lines, floats of a border
AREA = CELL * CELL
LOW, HIGH, GAIN = np.float32(-128), np.float32(127), np.float32(CHROMA_GAIN)
STAYING = 255
DIRECTED = 2.0  # the larger second difference over the smaller, from which a cell has a direction
DIRECTIONS = 5
LIMITS = 3


@kernel
def unfold(packed, lines):
    """A packed picture, float32 [h, w, PACKED], clipped to what 8 bits can show, as lines."""
    rows, columns = packed.shape[:2]
    width = CELL * columns
    stride, cells, out = width + 2 * LEFT, floats(packed), floats(lines)
    for chroma in range(2):
        tall, pixel, gain = CELL >> chroma, 1 + chroma, GAIN if chroma else np.float32(1)
        low, high, first = splat(LOW * gain), splat(HIGH * gain), _first(rows, chroma)
        for row in range(rows):
            for column in range(columns):
                cell, at = (row * columns + column) * PACKED, (first + row * tall) * stride + LEFT + column * CELL
                for y in range(tall):
                    if chroma:
                        place = cell + AREA + CELL // 2 * y
                        value = load_by_turns(cells, place, place + AREA // 4)
                    else:
                        value = load(cells, cell + CELL * y)
                    store(clip(value, low, high), out, at + stride * y)
        last = first + rows * tall - 1
        for y in range(first, last + 1):
            for x in range(LEFT):
                lines[y, x] = lines[y, LEFT + x % pixel]
                lines[y, LEFT + width + x] = lines[y, LEFT + width - pixel + x % pixel]
        for y in range(1, ABOVE + 1):
            lines[first - y], lines[last + y] = lines[first], lines[last]


@inline
def _first(rows, chroma):
    """The first line of a plane behind its border."""
    return ABOVE + chroma * (rows * CELL + 2 * ABOVE)


@kernel
def classify(lines, vectors, levels, filters, step, bounds, classes):
    """The class of each cell, uint8 [2 rows, 2 columns], STAYING where no filter touches it.

    vectors: int16 [2 rows, 2 columns, 2]; levels: int64 [rows columns, n], all those of a position; filters: uint8
    [rows, columns]; bounds: float32, of the activity.
    """
    rows, columns = filters.shape
    stride, source, two = lines.shape[1], floats(lines), splat(np.float32(2))
    classes[:] = STAYING
    for n in range(rows * columns):
        if filters[n // columns, n % columns] == 0:
            continue
        coded = False
        for level in levels[n]:
            coded |= level != 0
        for cell in range(4):
            row, column = 2 * (n // columns) + (cell >> 1), 2 * (n % columns) + (cell & 1)
            if not (coded or vectors[row, column, 0] or vectors[row, column, 1]):
                continue
            down = across = falling = rising = splat(np.float32(0))
            for y in range(ABOVE + row * CELL, ABOVE + (row + 1) * CELL):
                at = y * stride + LEFT + column * CELL
                twice = two * load(source, at)
                down += magnitude(twice - load(source, at + stride) - load(source, at - stride))
                across += magnitude(twice - load(source, at + 1) - load(source, at - 1))
                falling += magnitude(twice - load(source, at + stride + 1) - load(source, at - stride - 1))
                rising += magnitude(twice - load(source, at + stride - 1) - load(source, at - stride + 1))
            place = _place(total(down), total(across), total(falling), total(rising), step, bounds)
            classes[row, column] = 2 * place + coded


@inline
def _place(down, across, falling, rising, step, bounds):
    """How busy, and along which direction: from sums of second differences over a cell."""
    activity = (down + across) / (CELL * CELL * step)
    busy = 0
    while busy < len(bounds) and activity >= bounds[busy]:
        busy += 1
    straight = max(down, across) / (min(down, across) + np.float32(0.064))
    slanted = max(falling, rising) / (min(falling, rising) + np.float32(0.064))
    direction = 0
    if straight >= slanted:
        if straight > DIRECTED:
            direction = 1 if down > across else 2
    elif slanted > DIRECTED:
        direction = 3 if falling > rising else 4
    return busy * DIRECTIONS + direction


@inline
def _offsets(pairs, stride):
    """From a float to the first of each pair, int64 [2, pairs]: luma, chroma."""
    out = np.empty((2, len(pairs)), np.int64)
    for pair in range(len(pairs)):
        for chroma in range(2):
            out[chroma, pair] = pairs[pair, 0] * stride + pairs[pair, 1] * (1 + chroma)
    return out


@kernel
def apply(lines, classes, filters, weights, limits, pairs, packed):
    """Write the cells that a filter serves into a packed picture; not clipped.

    filters: uint8, of each position; weights: float32 [2, FILTERS, CLASSES, pairs, LIMITS] of luma and chroma;
    limits: float32 [LIMITS], grey levels; pairs: int64 [pairs, 2].
    """
    rows, columns = classes.shape
    stride, source, table, out = lines.shape[1], floats(lines), floats(weights), floats(packed)
    l0, l1, l2, offsets = splat(limits[0]), splat(limits[1]), splat(limits[2]), _offsets(pairs, stride)
    zero = splat(np.float32(0))
    m0, m1, m2 = zero - l0, zero - l1, zero - l2
    for row in range(rows):
        for column in range(columns):
            if classes[row, column] == STAYING:
                continue
            for chroma in range(2):
                tall = CELL >> chroma
                which = chroma * weights.shape[1] + filters[row >> 1, column >> 1] - 1
                first = (which * weights.shape[2] + classes[row, column]) * len(pairs) * LIMITS
                cell = (row * columns + column) * PACKED
                for y in range(tall):
                    at = (_first(rows, chroma) + row * tall + y) * stride + LEFT + column * CELL
                    here = value = load(source, at)
                    for pair in range(len(pairs)):
                        p = load(source, at + offsets[chroma, pair]) - here
                        q = load(source, at - offsets[chroma, pair]) - here
                        w = first + LIMITS * pair
                        value += (
                            splat(table[w]) * (clip(p, m0, l0) + clip(q, m0, l0))
                            + splat(table[w + 1]) * (clip(p, m1, l1) + clip(q, m1, l1))
                            + splat(table[w + 2]) * (clip(p, m2, l2) + clip(q, m2, l2))
                        )
                    if chroma:
                        place = cell + AREA + CELL // 2 * y
                        store_by_turns(value, out, place, place + AREA // 4)
                    else:
                        store(value, out, cell + CELL * y)


@kernel
def choose(lines, classes, weights, limits, pairs, wanted, prices, choices):
    """Of each area the choice that costs least: none, the first filter or the second.

    wanted: what was coded, uint8 [3/2 H, W], as lines are but without borders; prices: float32 [3], squared grey
    levels; choices: uint8 [area rows, area columns]. The rest as in apply().
    """
    rows, columns = classes.shape
    stride, width, source, table = lines.shape[1], wanted.shape[1], floats(lines), floats(weights)
    l0, l1, l2, offsets = splat(limits[0]), splat(limits[1]), splat(limits[2]), _offsets(pairs, stride)
    zero, middle = splat(np.float32(0)), splat(-LOW)
    m0, m1, m2 = zero - l0, zero - l1, zero - l2
    other = weights.shape[2] * len(pairs) * LIMITS  # from a weight of the first filter to that of the second
    for n in range(choices.size):
        top, left = SIDE * (n // choices.shape[1]), SIDE * (n % choices.shape[1])
        none = one = two = zero
        for chroma in range(2):
            tall, gain = CELL >> chroma, GAIN if chroma else np.float32(1)
            scale, low, high = splat(gain), splat(LOW * gain), splat(HIGH * gain)
            for row in range(top, min(top + SIDE, rows)):
                for column in range(left, min(left + SIDE, columns)):
                    k = np.int64(classes[row, column])
                    if k == STAYING:
                        continue
                    begin = (chroma * weights.shape[1] * weights.shape[2] + k) * len(pairs) * LIMITS
                    for y in range(row * tall, (row + 1) * tall):
                        at = (_first(rows, chroma) + y) * stride + LEFT + column * CELL
                        here = first = second = load(source, at)
                        for pair in range(len(pairs)):
                            p = load(source, at + offsets[chroma, pair]) - here
                            q = load(source, at - offsets[chroma, pair]) - here
                            s0 = clip(p, m0, l0) + clip(q, m0, l0)
                            s1 = clip(p, m1, l1) + clip(q, m1, l1)
                            s2 = clip(p, m2, l2) + clip(q, m2, l2)
                            w = begin + LIMITS * pair
                            first += splat(table[w]) * s0 + splat(table[w + 1]) * s1 + splat(table[w + 2]) * s2
                            w += other
                            second += splat(table[w]) * s0 + splat(table[w + 1]) * s1 + splat(table[w + 2]) * s2
                        place = (chroma * rows * CELL + y) * width + column * CELL
                        target = (load_octets(octets(wanted), place) - middle) * scale
                        error = here - target
                        none += error * error
                        error = clip(first, low, high) - target
                        one += error * error
                        error = clip(second, low, high) - target
                        two += error * error
        least = total(none) + prices[0]
        best = 0
        for choice, error in enumerate((one, two), 1):
            cost = total(error) + prices[choice]
            if cost < least:
                least, best = cost, choice
        choices.flat[n] = best
