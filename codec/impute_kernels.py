"""What the imputer sees and what it decides, compiled: models/imputer.py for the rows that need it."""

from __future__ import annotations

import numpy as np

from lrae.codec.jit import kernel
from lrae.models.blocks import PACKED
from lrae.models.imputer import NEAR, VECTOR_SCALE

LUMA = 64  # channels of a packed picture
QUARTER = PACKED // 4
TINY, SCALE = np.float32(1e-6), np.float32(1 / VECTOR_SCALE)


@kernel
def describe(vectors, last, unmoved):
    """Imputer.describe() of int16 [h, w, 2] twice, and bool [h, w]: float32 [6, h, w]."""
    rows, columns = unmoved.shape
    out = np.empty((6, rows, columns), np.float32)
    sums = np.zeros((rows + 1, columns + 1, 4), np.int64)  # of all above and to the left
    for y in range(rows):
        for x in range(columns):
            a, b = np.int64(vectors[y, x, 0]), np.int64(vectors[y, x, 1])
            c, d = np.int64(last[y, x, 0]), np.int64(last[y, x, 1])
            out[0, y, x] = np.sqrt(np.float32(a * a + b * b) + TINY) * SCALE
            out[1, y, x] = np.sqrt(np.float32(c * c + d * d) + TINY) * SCALE
            out[2, y, x] = np.sqrt(np.float32((a - c) * (a - c) + (b - d) * (b - d)) + TINY) * SCALE
            out[4, y, x] = unmoved[y, x]
            here = (a, b, a * a + b * b, np.int64(unmoved[y, x]))
            for n in range(4):
                sums[y + 1, x + 1, n] = here[n] + sums[y, x + 1, n] + sums[y + 1, x, n] - sums[y, x, n]
    for y in range(rows):
        top, bottom = max(y - NEAR, 0), min(y + NEAR + 1, rows)
        for x in range(columns):
            left, right = max(x - NEAR, 0), min(x + NEAR + 1, columns)
            count = np.float64((bottom - top) * (right - left))
            spread = 0.0
            for n in range(4):
                total = sums[bottom, right, n] - sums[top, right, n] - sums[bottom, left, n] + sums[top, left, n]
                if n < 2:
                    spread -= (total / count) ** 2
                elif n == 2:
                    spread += total / count
                else:
                    out[5, y, x] = total / np.float64((2 * NEAR + 1) ** 2)
            out[3, y, x] = np.sqrt(max(np.float32(spread), TINY)) * SCALE
    return out


@kernel
def compare(rows, moved, before, still, seen):
    """Imputer.compare() of some rows: float32 [3, R, w] into seen. rows: int64 [R]; moved, still: float32
    [h, w, PACKED]; before: [R, w, PACKED], these rows alone."""
    for n in range(len(rows)):
        for x in range(moved.shape[1]):
            a, b, c = moved[rows[n], x], before[n, x], still[rows[n], x]
            p = q = r = s = t = u = v = w = np.float32(0)  # four sums of each: one would wait for itself
            for i in range(QUARTER):
                j, k, l = i + QUARTER, i + 2 * QUARTER, i + 3 * QUARTER  # noqa: E741
                p += abs(b[i] - a[i])
                q += abs(b[j] - a[j])
                r += abs(b[k] - a[k])
                s += abs(b[l] - a[l])
                t += abs(c[i] - a[i])
                u += abs(c[j] - a[j])
                v += abs(c[k] - a[k])
                w += abs(c[l] - a[l])
            seen[0, n, x] = (p + q + r + s) / np.float32(8 * PACKED)
            seen[1, n, x] = (t + u + v + w) / np.float32(8 * PACKED)
            p = q = r = s = t = u = v = w = np.float32(0)
            for i in range(0, LUMA, 4):
                p += a[i]
                q += a[i + 1]
                r += a[i + 2]
                s += a[i + 3]
                t += a[i] * a[i]
                u += a[i + 1] * a[i + 1]
                v += a[i + 2] * a[i + 2]
                w += a[i + 3] * a[i + 3]
            mean = (p + q + r + s) / np.float32(LUMA)
            spread = (t + u + v + w) / np.float32(LUMA) - mean * mean
            seen[2, n, x] = np.sqrt(max(spread * np.float32(LUMA / (LUMA - 1)), TINY)) / np.float32(16)


@kernel
def choose(rows, weights, unmoved, before, still, moved):
    """Where motion did not arrive, moved takes the share weights[0] of `before` and weights[1] of `still`.
    weights: float32 [2, R, w]; the others as in compare()."""
    for n in range(len(rows)):
        for x in range(moved.shape[1]):
            if unmoved[rows[n], x]:
                u, v = weights[0, n, x], weights[1, n, x]
                a, b, c = moved[rows[n], x], before[n, x], still[rows[n], x]
                for i in range(PACKED):
                    a[i] += u * (b[i] - a[i]) + v * (c[i] - a[i])
