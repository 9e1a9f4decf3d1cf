"""What the imputer sees and what it decides, compiled (codec/impute.py, models/imputer.py)."""

from __future__ import annotations

import numpy as np

from lrae.codec.jit import kernel
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
def distance(a, b, out):
    """out, float32 [h, w]: the mean square difference of float32 [h, w, PACKED], a and b."""
    first, second = floats(a), floats(b)
    rows, columns = out.shape
    for y in range(rows):
        for x in range(columns):
            at = (y * columns + x) * PACKED
            d = load(first, at) - load(second, at)
            squares = d * d
            for i in range(WIDE, PACKED, WIDE):
                d = load(first, at + i) - load(second, at + i)
                squares += d * d
            out[y, x] = total(squares) / np.float32(PACKED)


@kernel
def texture(pictures, out):
    """out, float32 [h, w]: the mean square deviation of luma, of float32 [h, w, PACKED]."""
    source, one = floats(pictures), np.float32(1 / LUMA)
    rows, columns = out.shape
    for y in range(rows):
        for x in range(columns):
            at = (y * columns + x) * PACKED
            values = load(source, at)
            sums, squares = values, values * values
            for i in range(WIDE, LUMA, WIDE):
                values = load(source, at + i)
                sums += values
                squares += values * values
            mean = total(sums) * one
            out[y, x] = max(total(squares) * one - mean * mean, np.float32(0))


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
