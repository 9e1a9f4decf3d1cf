"""Entropy coding of a motion field: integers and fixed tables, one walk for both directions.

Order: table set, global vector, split flags from 64 down (of a level the even places of a checkerboard, then the odd
ones), then the vectors of the leaves in phases: larger leaves first, and of one size the (even, even), (odd, odd),
(even, odd), (odd, even) places, so that a leaf is predicted from neighbours on all sides that came before it. Nothing
outside the frame's own bytes is used.
"""

from __future__ import annotations

import numpy as np

from lrae.codec.jit import kernel
from lrae.codec.motion_field import CELL, LEVELS, LIMIT, MotionField
from lrae.codec.motion_tables import (
    AGREEMENTS,
    FAR,
    MEDIAN,
    NEAR,
    NEW,
    OTHER,
    ZERO,
    Tables,
    default_tables,
    first_rows,
)
from lrae.codec.range_coder import NOTED, READING, RangeDecoder, RangeEncoder, code, new_tape

_FIRST = first_rows()
_SPLIT, _KIND, _DX, _DY, _MOVING = (_FIRST[name] for name in ("split", "kind", "dx", "dy", "moving"))
_PLAIN = 9  # bits of a component of the global vector
_AROUND = 8  # neighbours of a leaf: the middles of its sides, then its corners


def encode(field: MotionField, coder: RangeEncoder, tables: Tables | None = None) -> None:
    """Append a field to the coder."""
    tables = tables or default_tables()
    tape = _tape_for(field)
    _walk(coder.state, coder.data, tape, tables.sums[0], field.vectors, field.size, anchor_of(field), *_scratch(field))
    coder.tape(tape, tables.sums, tables.lengths)


def decode(coder: RangeDecoder, height: int, width: int, tables: Tables | None = None) -> MotionField:
    """The field that encode() appended. height, width: pixels, multiples of 16. Any bytes give a valid field."""
    tables = tables or default_tables()
    cells = height // CELL, width // CELL
    field = MotionField(np.zeros((*cells, 2), np.int16), np.full(cells, 3, np.uint8))
    table = tables.sums[coder.uniform(tables.sets)]
    anchor = np.zeros(2, np.int64)
    _walk(coder.state, coder.data, READING, table, field.vectors, field.size, anchor, *_scratch(field))
    return field


def symbols(field: MotionField) -> np.ndarray:
    """What is coded after the table set, in order: int32 [n, 2] (row as in motion_tables.first_rows(), symbol); the
    row −k stands for k plain bits."""
    tables, tape, state = default_tables(), _tape_for(field), np.zeros(4, np.int64)
    nowhere, anchor = np.empty(0, np.uint8), anchor_of(field)
    _walk(state, nowhere, tape, tables.sums[0], field.vectors, field.size, anchor, *_scratch(field))
    return tape[: state[NOTED]]


def bits(field: MotionField, tables: Tables | None = None) -> float:
    """Ideal code length of a field, bits."""
    tables = tables or default_tables()
    row, symbol = symbols(field).T
    coded = tables.lengths[:, row[row >= 0], symbol[row >= 0]].sum(1, dtype=np.float64)
    return float(coded.min() - row[row < 0].sum() + np.log2(tables.sets))


def anchor_of(field: MotionField) -> np.ndarray:
    """The global vector, int64 [2]: the lower median of each component over the cells."""
    middle = (field.size.size - 1) // 2
    return np.partition(field.vectors.reshape(-1, 2).T, middle, axis=1)[:, middle].astype(np.int64)


def _tape_for(field: MotionField) -> np.ndarray:
    """A leaf has at most five symbols, and four cells at most one and a third split flags."""
    return new_tape(6 * field.size.size + 16)


def _scratch(field: MotionField) -> tuple[np.ndarray, ...]:
    """(split, known, around) of _walk: the flags of each level's nodes, one node further down and right, those of the
    level above the first all set; which cells are known, one cell further; the vectors around a leaf."""
    rows, columns = field.size.shape
    split = np.zeros((LEVELS + 1, (rows >> 1) + 3, (columns >> 1) + 3), np.int64)
    split[LEVELS] = 1
    return split, np.zeros((rows + 2, columns + 2), np.uint8), np.empty((_AROUND, 2), np.int64)


@kernel
def _walk(state, data, tape, table, vectors, size, anchor, split, known, around):
    """Code a field, both ways: vectors int16 [rows, columns, 2] and size uint8 [rows, columns] are noted, or filled
    in (size: where it is more than 3)."""
    reading = len(tape) == 0
    rows, columns = size.shape
    anchor_x, anchor_y = anchor[0], anchor[1]
    if code(state, data, tape, table, _MOVING, np.int64(anchor_x != 0 or anchor_y != 0)):
        anchor_x = min(code(state, data, tape, table, -_PLAIN, anchor_x + LIMIT) - LIMIT, LIMIT)
        anchor_y = min(code(state, data, tape, table, -_PLAIN, anchor_y + LIMIT) - LIMIT, LIMIT)
    _splits(state, data, tape, table, size, split)
    for level in range(LEVELS - 1, -1, -1):
        side = 1 << level
        for phase in range(4):
            odd_y, odd_x = phase & 1, (phase & 1) ^ (phase >> 1)
            for y in range(odd_y * side, rows, 2 * side):
                for x in range(odd_x * side, columns, 2 * side):
                    if size[y, x] != level + 3:
                        continue
                    guess = predict_leaf(vectors, known, y, x, side, anchor_x, anchor_y, around)
                    vector = _vector(state, data, tape, table, level, guess, vectors[y, x])
                    for below in range(y, min(y + side, rows)):
                        for right in range(x, min(x + side, columns)):
                            known[below + 1, right + 1] = 1
                            if reading:
                                vectors[below, right, 0], vectors[below, right, 1] = vector


@kernel
def _splits(state, data, tape, table, size, split):
    """The quadtree's flags."""
    reading = len(tape) == 0
    rows, columns = size.shape
    for level in range(LEVELS - 1, 0, -1):
        side = 1 << level
        high, wide = (rows + side - 1) >> level, (columns + side - 1) >> level
        above, here = split[level + 1], split[level]
        for half in range(2):
            for i in range(high):
                for j in range((i + half) & 1, wide, 2):
                    if not above[(i >> 1) + 1, (j >> 1) + 1]:
                        continue
                    context = (level - 1) * 5
                    if half:
                        beside = here[i, j + 1] + here[i + 2, j + 1] + here[i + 1, j] + here[i + 1, j + 2]
                        context += 1 + min(beside, 3)
                    y, x = i << level, j << level
                    flag = code(state, data, tape, table, _SPLIT + context, np.int64(size[y, x] < level + 3))
                    here[i + 1, j + 1] = flag
                    if reading and not flag:
                        size[y : y + side, x : x + side] = level + 3


@kernel
def predict_leaf(vectors, known, y, x, side, anchor_x, anchor_y, around):
    """What is known of the leaf of side × side cells at (y, x): the median (x, y) of the known neighbours at its sides
    (else corners; else the anchor), the first known vector that is not the median (else the median), and how well the
    neighbours agree, 0 … AGREEMENTS − 1. around: scratch, int64 [8, 2]."""
    rows, columns = vectors.shape[:2]
    bottom, right = min(y + side, rows), min(x + side, columns)
    middle_y, middle_x = (y + bottom) >> 1, (x + right) >> 1
    places_y = (middle_y, middle_y, y - 1, bottom, y - 1, y - 1, bottom, bottom)
    places_x = (x - 1, right, middle_x, middle_x, x - 1, right, x - 1, right)
    count = used = 0
    for index in range(_AROUND):
        if index == 4:
            used = count
        if known[places_y[index] + 1, places_x[index] + 1]:
            around[count, 0] = vectors[places_y[index], places_x[index], 0]
            around[count, 1] = vectors[places_y[index], places_x[index], 1]
            count += 1
    if count == 0:
        return anchor_x, anchor_y, anchor_x, anchor_y, 0
    if used == 0:
        used = count
    median_x, median_y = _median(around, 0, used), _median(around, 1, used)
    other_x, other_y, agreement = median_x, median_y, 1
    for index in range(count):
        if around[index, 0] != median_x or around[index, 1] != median_y:
            other_x, other_y = around[index, 0], around[index, 1]
            spread = 0
            for each in range(used):
                spread = max(spread, abs(around[each, 0] - median_x), abs(around[each, 1] - median_y))
            agreement = 2 + (spread > 2) + (spread > 6) + (spread > 16)
            break
    return median_x, median_y, other_x, other_y, agreement


@kernel
def _median(around, axis, count):
    """The lower median of the first `count` vectors."""
    for index in range(count):
        below = upto = 0
        for each in range(count):
            below += around[each, axis] < around[index, axis]
            upto += around[each, axis] <= around[index, axis]
        if 2 * below < count <= 2 * upto:
            return around[index, axis]
    return np.int64(0)


@kernel
def _vector(state, data, tape, table, level, guess, own):
    """Code a leaf's vector (x, y), `own` where it is not read, given predict_leaf()'s answer."""
    median_x, median_y, other_x, other_y, agreement = guess
    x, y = min(max(np.int64(own[0]), -LIMIT), LIMIT), min(max(np.int64(own[1]), -LIMIT), LIMIT)
    kind = NEW
    if x == median_x and y == median_y:
        kind = MEDIAN
    elif x == 0 and y == 0:
        kind = ZERO
    elif x == other_x and y == other_y:
        kind = OTHER
    context = (level * AGREEMENTS + agreement) * 2 + (median_x != 0 or median_y != 0)
    kind = code(state, data, tape, table, _KIND + context, kind)
    if kind == MEDIAN:
        return median_x, median_y
    if kind == OTHER:
        return other_x, other_y
    if kind == ZERO:
        return 0, 0
    apart = _difference(state, data, tape, table, _DX + agreement, x - median_x)
    far = abs(apart)
    context = agreement * 4 + (far > 0) + (far > 2) + (far > NEAR)
    x = median_x + apart
    y = median_y + _difference(state, data, tape, table, _DY + context, y - median_y)
    return min(max(x, -LIMIT), LIMIT), min(max(y, -LIMIT), LIMIT)


@kernel
def _difference(state, data, tape, table, row, value):
    """Code a difference: up to ±NEAR by itself, else the class k of NEAR − 1 + 2^k … NEAR − 2 + 2^(k+1), the sign, and
    k plain bits."""
    size, extra = abs(value), 0
    while size >= NEAR - 1 + (2 << extra):
        extra += 1
    symbol = min(size, NEAR) + extra
    symbol = code(state, data, tape, table, row, NEAR + FAR + (symbol if value >= 0 else -symbol)) - NEAR - FAR
    extra = abs(symbol) - NEAR
    if extra <= 0:
        return symbol
    base = NEAR - 1 + (1 << extra)
    size = base + code(state, data, tape, table, -extra, size - base)
    return size if symbol > 0 else -size
