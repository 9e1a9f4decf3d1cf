"""Inner loops of the motion search: errors of cells, proposals, the quadtree.

current: uint8 [H, W]; padded: uint8 [H + 2 MARGIN, W + 2 MARGIN], the reference with its border repeated; vectors:
int16 [H/8, W/8, 2] (x, y), quarter-pel, within +-LIMIT. Pixels are added up in int32 and indexed by unsigned numbers,
so that the compiler uses vector instructions; arrays to work in come from outside, which compiles faster.
"""

from __future__ import annotations

import numpy as np

from lrae.codec.jit import kernel
from lrae.codec.motion_field import CELL, LEVELS, LIMIT

MARGIN = 72  # pixels: the longest vector and the filter's taps, in whole cells
SUMS = 5  # Lucas-Kanade sums of a cell
STIFFNESS = 0.02 * CELL * CELL  # squared grey levels per (quarter-pel)^2: holds vectors where there is no texture
DRIFT = 10.0  # squared grey levels per quarter-pel: holds proposals together
LEAF_BITS, SPLIT_BITS = 0.3, 1.0  # side costs of the tree, before neighbours are known
STILL_BITS, NEW_BITS = 1.0, 5.0
OPTIONS = 10  # room for what a cell or a leaf may choose from

# 256 times the bicubic filter (a = -0.75) at quarters of a pixel
_TAPS = np.array([[0, 256, 0, 0], [-27, 225, 67, -9], [-24, 152, 152, -24], [-9, 67, 225, -27]], np.int32)
_0, _1, _2, _3, _SIDE = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(CELL)


@kernel
def _across(padded, r, c, t0, t1, t2, t3):
    return np.int32(t0 * padded[r, c] + t1 * padded[r, c + _1] + t2 * padded[r, c + _2] + t3 * padded[r, c + _3])


@kernel
def cell_error(current, padded, row, column, x, y):
    """Squared error of a cell moved by (x, y), grey levels; sampled as the warp does."""
    top, left = np.uint64(row * CELL), np.uint64(column * CELL)
    over, beside = np.uint64(row * CELL + MARGIN + (y >> 2) - 1), np.uint64(column * CELL + MARGIN + (x >> 2) - 1)
    u0, u1, u2, u3 = _TAPS[x & 3, 0], _TAPS[x & 3, 1], _TAPS[x & 3, 2], _TAPS[x & 3, 3]
    v0, v1, v2, v3 = _TAPS[y & 3, 0], _TAPS[y & 3, 1], _TAPS[y & 3, 2], _TAPS[y & 3, 3]
    total = np.int32(0)
    for i in range(_SIDE):
        r = over + i
        for j in range(_SIDE):
            c = beside + j
            s0 = _across(padded, r, c, u0, u1, u2, u3)
            s1 = _across(padded, r + _1, c, u0, u1, u2, u3)
            s2 = _across(padded, r + _2, c, u0, u1, u2, u3)
            s3 = _across(padded, r + _3, c, u0, u1, u2, u3)
            moved = np.int32(v0 * s0 + v1 * s1 + v2 * s2 + v3 * s3)
            error = np.int32((np.int32(current[top + i, left + j]) << 3) - (moved + 4096 >> 13))  # 8 times
            total = np.int32(total + error * error)
    return total / 64


@kernel
def errors(current, padded, fields, out):
    """cell_error() of all cells under several fields, int16 [n, H/8, W/8, 2]: to out, float32 [n, H/8, W/8]."""
    for row in range(out.shape[1]):
        for column in range(out.shape[2]):
            for n in range(len(fields)):
                x, y = np.int64(fields[n, row, column, 0]), np.int64(fields[n, row, column, 1])
                same = n
                for m in range(n):
                    if fields[m, row, column, 0] == x and fields[m, row, column, 1] == y:
                        same = m
                if same == n:
                    x, y = min(max(x, -LIMIT), LIMIT), min(max(y, -LIMIT), LIMIT)
                    out[n, row, column] = cell_error(current, padded, row, column, x, y)
                else:
                    out[n, row, column] = out[same, row, column]


@kernel
def add_slopes(current, padded, row, column, x, y, sums):
    """Add a cell's Lucas-Kanade sums at (x, y) to sums, float64 [5] (a, b, c, d, e): the squared error is least where
    (a u + b v, b u + c v) = (d, e), as far as it is a quadratic; u, v: quarter-pel. Bilinear sampling."""
    top, left = np.uint64(row * CELL), np.uint64(column * CELL)
    over, beside = np.uint64(row * CELL + MARGIN + (y >> 2) - 1), np.uint64(column * CELL + MARGIN + (x >> 2) - 1)
    u, v = np.int32(x & 3), np.int32(y & 3)
    xx = xy = yy = xe = ye = np.int32(0)
    for i in range(_SIDE):
        r0 = over + i
        r1, r2, r3 = r0 + _1, r0 + _2, r0 + _3
        for j in range(_SIDE):
            c0 = beside + j
            c1, c2, c3 = c0 + _1, c0 + _2, c0 + _3
            above = np.int32((4 - u) * padded[r0, c1] + u * padded[r0, c2])
            here = np.int32((4 - u) * padded[r1, c1] + u * padded[r1, c2])
            below = np.int32((4 - u) * padded[r2, c1] + u * padded[r2, c2])
            further = np.int32((4 - u) * padded[r3, c1] + u * padded[r3, c2])
            left_here = np.int32((4 - u) * padded[r1, c0] + u * padded[r1, c1])
            right_here = np.int32((4 - u) * padded[r1, c2] + u * padded[r1, c3])
            left_below = np.int32((4 - u) * padded[r2, c0] + u * padded[r2, c1])
            right_below = np.int32((4 - u) * padded[r2, c2] + u * padded[r2, c3])
            # 128 times the slope per quarter-pel, 16 times the error
            gx = np.int32((4 - v) * (right_here - left_here) + v * (right_below - left_below))
            gy = np.int32((4 - v) * (below - above) + v * (further - here))
            error = np.int32((np.int32(current[top + i, left + j]) << 4) - ((4 - v) * here + v * below))
            xx = np.int32(xx + gx * gx)
            xy = np.int32(xy + gx * gy)
            yy = np.int32(yy + gy * gy)
            xe = np.int32(xe + gx * error)
            ye = np.int32(ye + gy * error)
    a, b, c = xx / 16384 + STIFFNESS, xy / 16384, yy / 16384 + STIFFNESS
    sums[0] += a
    sums[1] += b
    sums[2] += c
    sums[3] += xe / 2048 + a * x + b * y
    sums[4] += ye / 2048 + b * x + c * y


@kernel
def least(sums):
    """Where the error is least: integers (x, y)."""
    a, b, c, d, e = sums[0], sums[1], sums[2], sums[3], sums[4]
    scale = 1 / (a * c - b * b)
    x, y = np.rint((c * d - b * e) * scale), np.rint((a * e - b * d) * scale)
    return np.int64(min(max(x, -LIMIT), LIMIT)), np.int64(min(max(y, -LIMIT), LIMIT))


@kernel
def is_new(options, k):
    """Whether option k differs from all before it."""
    new = True
    for m in range(k):
        new &= options[m, 0] != options[k, 0] or options[m, 1] != options[k, 1]
    return new


@kernel
def scan(current, padded, reach, out):
    """Of the cells of a small picture, the best of all whole vectors up to `reach` pixels long."""
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            best = np.inf
            for i in range(-reach, reach + 1):
                for j in range(-reach, reach + 1):
                    cost = DRIFT * (abs(4 * i) + abs(4 * j)) + cell_error(current, padded, row, column, 4 * j, 4 * i)
                    if cost < best:
                        best = cost
                        out[row, column, 0], out[row, column, 1] = 4 * j, 4 * i


@kernel
def propose(current, padded, coarse, options, sums, out):
    """Vectors of a picture's cells from those of the picture half its size (coarse) and of the cells above and to the
    left, which came before, each with a least-squares correction. options: int64 [OPTIONS, 2]; sums: float64 [5]."""
    rows, columns = out.shape[0], out.shape[1]
    last_row, last_column = coarse.shape[0] - 1, coarse.shape[1] - 1
    for row in range(rows):
        for column in range(columns):
            r, c = row >> 1, column >> 1
            next_r, next_c = r + (row & 1) * 2 - 1, c + (column & 1) * 2 - 1  # the other coarse cells nearby
            next_r, next_c = min(max(next_r, 0), last_row), min(max(next_c, 0), last_column)
            for k in range(2):
                options[0, k] = 0
                options[1, k] = min(max(2 * coarse[r, c, k], -LIMIT), LIMIT)
                options[2, k] = min(max(2 * coarse[next_r, c, k], -LIMIT), LIMIT)
                options[3, k] = min(max(2 * coarse[r, next_c, k], -LIMIT), LIMIT)
                options[4, k] = out[row, max(column - 1, 0), k]
                options[5, k] = out[max(row - 1, 0), column, k]
                options[6, k] = out[max(row - 1, 0), min(column + 1, columns - 1), k]
            best, best_x, best_y = np.inf, options[0, 0], options[0, 1]
            for k in range(8):
                if k == 7:
                    for m in range(SUMS):
                        sums[m] = 0.0
                    add_slopes(current, padded, row, column, best_x, best_y, sums)
                    options[k, 0], options[k, 1] = least(sums)
                if is_new(options, k):
                    x, y = options[k, 0], options[k, 1]
                    cost = DRIFT * (abs(x - options[1, 0]) + abs(y - options[1, 1]))
                    cost += cell_error(current, padded, row, column, x, y)
                    if cost < best:
                        best, best_x, best_y = cost, x, y
            out[row, column, 0], out[row, column, 1] = best_x, best_y


@kernel
def fill(vectors, size, row, column, level, x, y):
    """A leaf: its vector, and log2 of its side."""
    for r in range(row, min(row + (1 << level), vectors.shape[0])):
        for c in range(column, min(column + (1 << level), vectors.shape[1])):
            vectors[r, c, 0], vectors[r, c, 1], size[r, c] = x, y, level + 3


@kernel
def tree(current, padded, start, price, sums, costs, own, vectors, size):
    """The quadtree, bottom up, to vectors and size (uint8 [H/8, W/8]). A leaf takes its least-squares vector near
    `start` or stands still; four join where that costs less.

    price: bits per squared error; sums: zeros, float64 [H/8, W/8, 5]; costs: zeros [2, H/8, W/8]; own: zeros, int16
    [LEVELS, H/8 + 2, W/8 + 2, 2].
    """
    rows, columns = size.shape
    best, still = costs[0], costs[1]
    for level in range(LEVELS):
        half, away = 1 << level >> 1, own[level]
        down, across = (rows + (1 << level) - 1) >> level, (columns + (1 << level) - 1) >> level
        # a node's sums stand at its first cell, its vector at (i, j) in a frame of zeros
        for i in range(down):
            for j in range(across):
                row, column = i << level, j << level
                if level == 0:
                    x, y = np.int64(start[row, column, 0]), np.int64(start[row, column, 1])
                    add_slopes(current, padded, row, column, x, y, sums[row, column])
                    x = y = 0
                    still[row, column] = price * cell_error(current, padded, row, column, x, y)
                for part in range(1, 4 if level else 1):
                    r, c = row + half * (part >> 1), column + half * (part & 1)
                    if r < rows and c < columns:
                        best[row, column] += best[r, c]
                        still[row, column] += still[r, c]
                        for k in range(SUMS):
                            sums[row, column, k] += sums[r, c, k]
                away[i + 1, j + 1, 0], away[i + 1, j + 1, 1] = least(sums[row, column])
        for i in range(down):
            for j in range(across):
                row, column = i << level, j << level
                x, y = np.int64(away[i + 1, j + 1, 0]), np.int64(away[i + 1, j + 1, 1])
                moves = NEW_BITS + _rough_bits(away, i + 1, j + 1)
                for r in range(row, min(row + (1 << level), rows)):
                    for c in range(column, min(column + (1 << level), columns)):
                        moves += price * cell_error(current, padded, r, c, x, y)
                stays = still[row, column] + STILL_BITS
                if stays <= moves:
                    x = y = 0
                cost = min(stays, moves) + LEAF_BITS
                apart = best[row, column] + SPLIT_BITS
                best[row, column] = cost
                if level == 0 or cost <= apart:
                    fill(vectors, size, row, column, level, x, y)
                else:
                    best[row, column] = apart


@kernel
def _rough_bits(own, i, j):
    """About the bits of a vector's difference from the nearest of its four neighbours, or from zero."""
    x, y = np.int64(own[i, j, 0]), np.int64(own[i, j, 1])
    least = 2 * (1 + abs(x)) ** 2 * (1 + abs(y)) ** 2
    for r, c in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
        least = min(least, (1 + abs(own[r, c, 0] - x)) ** 2 * (1 + abs(own[r, c, 1] - y)) ** 2)
    return np.log2(least)


@kernel
def join(vectors, size):
    """Four leaves with one vector become one, in `size`."""
    rows, columns = size.shape
    for level in range(1, LEVELS):
        n = 1 << level
        for row in range(0, rows, n):
            for column in range(0, columns, n):
                x, y = np.int64(vectors[row, column, 0]), np.int64(vectors[row, column, 1])
                alike = True
                for r in range(row, min(row + n, rows)):
                    for c in range(column, min(column + n, columns)):
                        alike &= size[r, c] == level + 2 and vectors[r, c, 0] == x and vectors[r, c, 1] == y
                if alike:
                    fill(vectors, size, row, column, level, x, y)
