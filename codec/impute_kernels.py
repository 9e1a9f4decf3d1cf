"""What the imputer sees and what it decides, compiled (codec/impute.py, models/imputer.py)."""

from __future__ import annotations

import numpy as np

from lrae.codec.jit import inline, kernel
from lrae.codec.lanes import WIDE, floats, load, splat, store, total
from lrae.models.blocks import PACKED
from lrae.models.imputer import NEAR, VECTOR_SCALE

LUMA = 64  # channels of a packed picture
TINY, SCALE = np.float32(1e-6), np.float32(1 / VECTOR_SCALE)


@kernel
def describe(vectors, last):
    """lrae.models.imputer.describe() of int16 [h, w, 2] twice: float32 [3, h, w]."""
    rows, columns = vectors.shape[:2]
    out = np.empty((3, rows, columns), np.float32)
    sums = np.zeros((rows + 1, columns + 1, 3), np.int64)  # of all above and to the left
    for y in range(rows):
        for x in range(columns):
            a, b = np.int64(vectors[y, x, 0]), np.int64(vectors[y, x, 1])
            c, d = np.int64(last[y, x, 0]), np.int64(last[y, x, 1])
            out[0, y, x] = np.sqrt(np.float32(a * a + b * b) + TINY) * SCALE
            out[1, y, x] = np.sqrt(np.float32((a - c) * (a - c) + (b - d) * (b - d)) + TINY) * SCALE
            here = (a, b, a * a + b * b)
            for n in range(3):
                sums[y + 1, x + 1, n] = here[n] + sums[y, x + 1, n] + sums[y + 1, x, n] - sums[y, x, n]
    for y in range(rows):
        top, bottom = max(y - NEAR, 0), min(y + NEAR + 1, rows)
        for x in range(columns):
            left, right = max(x - NEAR, 0), min(x + NEAR + 1, columns)
            count = np.float64((bottom - top) * (right - left))
            spread = 0.0
            for n in range(3):
                part = sums[bottom, right, n] - sums[top, right, n] - sums[bottom, left, n] + sums[top, left, n]
                spread += part / count if n == 2 else -((part / count) ** 2)
            out[2, y, x] = np.sqrt(max(np.float32(spread), TINY)) * SCALE
    return out


@kernel
def fares(picture, vectors, last, lost, rows, out):
    """How far off other motion is where motion arrived: into out, float32 [3, h, w], for the places of some rows, int64
    [R], that are not `lost`, bool [h, w]: the mean square difference of luma moved by `last` and not moved at all from
    luma moved by `vectors`, int16 [h, w, 2], to whole pixels and of every other row; how far the two fields are apart,
    in pixels. picture: float32 [3/2 H, W], as State has it."""
    source, width, count = floats(picture), WIDE * lost.shape[1], np.float32(1 / 32)
    bottom, right = WIDE * (lost.shape[0] - 1), width - WIDE
    for y in rows:
        for x in range(lost.shape[1]):
            if lost[y, x]:
                continue
            places = WIDE * y * width + WIDE * x
            here = _place(vectors[y, x], y, x, bottom, right, width)
            there = _place(last[y, x], y, x, bottom, right, width)
            moved = stayed = splat(np.float32(0))
            for line in range(0, WIDE * width, 2 * width):
                luma = load(source, here + line)
                d, e = luma - load(source, there + line), luma - load(source, places + line)
                moved += d * d
                stayed += e * e
            out[0, y, x], out[1, y, x] = total(moved) * count, total(stayed) * count
            apart = abs(vectors[y, x, 0] - last[y, x, 0]) + abs(vectors[y, x, 1] - last[y, x, 1])
            out[2, y, x] = np.float32(0.25) * np.float32(apart)


@inline
def _place(vector, y, x, bottom, right, width):
    """Where a cell comes from, to whole pixels, within the picture."""
    top = min(max(WIDE * y + ((vector[1] + 2) >> 2), 0), bottom)
    return top * width + min(max(WIDE * x + ((vector[0] + 2) >> 2), 0), right)


@kernel
def distances(pictures, pairs, out):
    """out, float32 [P, h, w]: the mean square differences of pictures float32 [n, h, w, PACKED], by pairs int64
    [P, 2]."""
    source, (rows, columns) = floats(pictures), out.shape[1:]
    size = rows * columns
    for place in range(size):
        for n in range(len(pairs)):
            first, second = (size * pairs[n, 0] + place) * PACKED, (size * pairs[n, 1] + place) * PACKED
            squares = splat(np.float32(0))
            for i in range(0, PACKED, WIDE):
                d = load(source, first + i) - load(source, second + i)
                squares += d * d
            out[n, place // columns, place % columns] = total(squares) / np.float32(PACKED)


@kernel
def texture(cells, rows, out):
    """out, float32 [R, w]: the mean square deviation of luma, of some rows, int64 [R], of float32 [h, w, PACKED]."""
    source, one = floats(cells), np.float32(1 / LUMA)
    columns = out.shape[1]
    for n in range(len(rows)):
        for x in range(columns):
            at = (rows[n] * columns + x) * PACKED
            values = load(source, at)
            sums, squares = values, values * values
            for i in range(WIDE, LUMA, WIDE):
                values = load(source, at + i)
                sums += values
                squares += values * values
            mean = total(sums) * one
            out[n, x] = max(total(squares) * one - mean * mean, np.float32(0))


@kernel
def blend(rows, weights, unmoved, pictures, out):
    """Where motion did not arrive, what is shown is the sum of weights times pictures. rows: int64 [R], of the places;
    weights: float32 [n, R, w]; unmoved: bool [h, w]; pictures: [n, R, w, PACKED]; out: [h, w, PACKED]."""
    source, target = floats(pictures), floats(out)
    count, lines, columns = weights.shape
    for n in range(lines):
        for x in range(columns):
            if not unmoved[rows[n], x]:
                continue
            to = (rows[n] * columns + x) * PACKED
            for i in range(0, PACKED, WIDE):
                at = (n * columns + x) * PACKED + i
                value = splat(weights[0, n, x]) * load(source, at)
                for g in range(1, count):
                    at += lines * columns * PACKED
                    value += splat(weights[g, n, x]) * load(source, at)
                store(value, target, to + i)
