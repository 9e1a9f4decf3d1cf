"""Overlapped block motion compensation, compiled: what codec/motion_field.py defines, cell by cell.

A row of a cell is eight floats of either plane: 8 pixels of luma, or 4 of chroma, which is (u, v) by turns. Between
kernels, memory goes by its address: to hand over an array, field by field, takes as long as to move a cell.
"""

from __future__ import annotations

import numpy as np

from lrae.codec.jit import inline, kernel
from lrae.codec.lanes import WIDE, floats, load, store
from lrae.models.blocks import PACKED

TERMS = 4
AREA = WIDE * WIDE  # floats of a cell of luma; chroma has half as many
STRIDE = 16  # floats of a row of a patch: a sample touches at most 11 pixels of luma or 7 of chroma
SAMPLES, ROWS, PATCH = AREA, 5 * AREA, 5 * AREA + 11 * WIDE  # places in the scratch memory, behind a cell of chroma
SCRATCH = PATCH + 11 * STRIDE


def _cubic(t: float, a: float = -0.75) -> list[float]:
    near = [((a + 2) * d - (a + 3)) * d * d + 1 for d in (t, 1 - t)]
    far = [((d - 5) * d + 8) * d * a - 4 * a for d in (1 + t, 2 - t)]
    return [far[0], *near, far[1]]


def _spread(weights: list) -> np.ndarray:
    """Weights [..., TERMS], the same for WIDE floats: flat float32 [..., TERMS, WIDE]."""
    return np.repeat(np.array(weights, np.float32), WIDE)


def _overlap(rows: int) -> np.ndarray:
    """H.263 Annex F, flat float32 [rows, TERMS, WIDE]: weights of the samples by a cell's own vector, the one above or
    below, to the left, to the right."""
    edge = np.minimum(np.arange(rows), np.arange(rows)[::-1])
    down = np.where(edge < rows // 4, 0.25, 0.125)[:, None]
    left = np.array([0.25, 0.25, 0.125, 0.125, 0, 0, 0, 0])
    weights = np.broadcast_arrays(1 - down - left - left[::-1], down, left, left[::-1])
    return np.stack(weights, 1).astype(np.float32).reshape(-1)


EIGHTHS = np.arange(8) / 8
CUBIC = _spread([_cubic(t) for t in EIGHTHS])  # of the pixels -1, 0, 1, 2; at eighths of a pixel
LINEAR = _spread([[((1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x) for x in EIGHTHS] for y in EIGHTHS])
OVERLAP = np.concatenate((_overlap(8), _overlap(4)))


@inline
def mix(out, to, source, i, j, k, l, table, row):  # noqa: E741
    """out[to + n] = w[0, n] source[i + n] + w[1, n] source[j + n] + w[2, n] source[k + n] + w[3, n] source[l + n] for
    n = 0...7 at once; w: table[row], [TERMS, WIDE]. out, source, table: of floats()."""
    at = TERMS * WIDE * row
    value = load(table, at) * load(source, i) + load(table, at + WIDE) * load(source, j)
    value += load(table, at + 2 * WIDE) * load(source, k)
    store(value + load(table, at + 3 * WIDE) * load(source, l), out, to)


@kernel
def warp(picture, vectors, rows, scratch, out):
    """Some rows of cells of the moved picture, packed: into out, float32 [R, columns, PACKED].

    picture: float32 [3/2 H, W], as State has it; vectors: int16 [H/8, W/8, 2], quarter-pel; rows: int64 [R]; scratch:
    float32 [SCRATCH].
    """
    lines, columns = vectors.shape[:2]
    source, packed, work = floats(picture), floats(out), floats(scratch)
    for n in range(len(rows)):
        for column in range(columns):
            to = (n * columns + column) * PACKED
            _cell(source, lines, columns, rows[n], column, _around(vectors, rows[n], column), packed, to, work)


@kernel
def warp_all(picture, fields, moved, first, still, rows, scratch, out):
    """The same by each of int16 [n, H/8, W/8, 2], fields: into out, float32 [n, R, columns, PACKED]. moved: the picture
    moved by field `first`, float32 [H/8, W/8, PACKED]; still: as it was, which stands for the last field's.

    What another field has moved alike is copied."""
    count, lines, columns = fields.shape[:3]
    source, packed, work, ready, unmoved = floats(picture), floats(out), floats(scratch), floats(moved), floats(still)
    for n in range(len(rows)):
        for column in range(columns):
            place, known = (rows[n] * columns + column) * PACKED, _around(fields[first], rows[n], column)
            for field in range(count):
                to = ((field * len(rows) + n) * columns + column) * PACKED
                if field == count - 1:
                    _copy(unmoved, place, packed, to)
                    continue
                vectors = _around(fields[field], rows[n], column)
                if vectors == known:
                    _copy(ready, place, packed, to)
                    continue
                same = -1
                for other in range(field):
                    if other != first and vectors == _around(fields[other], rows[n], column):
                        same = other
                        break
                if same < 0:
                    _cell(source, lines, columns, rows[n], column, vectors, packed, to, work)
                else:
                    _copy(packed, ((same * len(rows) + n) * columns + column) * PACKED, packed, to)


@inline
def _copy(source, at, out, to):
    """A packed cell."""
    for i in range(0, PACKED, WIDE):
        store(load(source, at + i), out, to + i)


@kernel
def _around(vectors, row, column):
    """The vectors of a cell and of those above, below, to the left and to the right: ten numbers."""
    up, down = max(row - 1, 0), min(row + 1, vectors.shape[0] - 1)
    left, right = max(column - 1, 0), min(column + 1, vectors.shape[1] - 1)
    own, above, below = vectors[row, column], vectors[up, column], vectors[down, column]
    before, after = vectors[row, left], vectors[row, right]
    return (
        own[0], own[1], above[0], above[1], below[0], below[1], before[0], before[1], after[0], after[1]
    )  # fmt: skip


@kernel
def _cell(source, lines, columns, row, column, vectors, target, to, work):
    """One cell moved, packed: target[to:]. vectors: of _around()."""
    dx, dy, ux, uy, vx, vy, lx, ly, rx, ry = vectors
    width, x, overlap = WIDE * columns, WIDE * column, floats(OVERLAP)
    alike = dx == ux == vx == lx == rx and dy == uy == vy == ly == ry
    packed, chroma = target, to + AREA
    for pixel in (1, 2):
        tall, begin = WIDE // pixel, WIDE * lines * (pixel - 1)
        y, half, height = tall * row, tall // 2, tall * lines
        if alike and (dx | dy) & (4 * pixel - 1) == 0:
            _move(source, begin, height, width, y, x, dx, dy, tall, pixel, False, target, to, work)
        else:
            a, b, c = SAMPLES + AREA, SAMPLES + 2 * AREA, SAMPLES + 3 * AREA
            _move(source, begin, height, width, y, x, dx, dy, tall, pixel, True, work, SAMPLES, work)
            if alike:
                _move(source, begin, height, width, y, x, dx, dy, tall, pixel, False, work, a, work)
                b = c = a
            else:
                _move(source, begin, height, width, y, x, ux, uy, half, pixel, False, work, a, work)
                lower = a + half * WIDE
                _move(source, begin, height, width, y + half, x, vx, vy, half, pixel, False, work, lower, work)
                _move(source, begin, height, width, y, x, lx, ly, tall, pixel, False, work, b, work)
                _move(source, begin, height, width, y, x, rx, ry, tall, pixel, False, work, c, work)
            for r in range(tall):
                at = WIDE * r
                weights = r + WIDE * (pixel - 1)
                mix(target, to + at, work, SAMPLES + at, a + at, b + at, c + at, overlap, weights)
        target, to = work, 0
    for i in range(AREA // 4):
        packed[chroma + i] = work[2 * i]
        packed[chroma + AREA // 4 + i] = work[2 * i + 1]


@kernel
def _move(source, begin, height, width, y, x, dx, dy, rows, pixel, cubic, target, to, work):
    """target[to:] = `rows` rows from row y and float x on of the plane that begins at row `begin` of the picture, moved
    by (dx, dy) quarter-pel of luma. pixel: floats of a pixel."""
    fx, fy = (dx & (4 * pixel - 1)) * (2 // pixel), (dy & (4 * pixel - 1)) * (2 // pixel)
    top, left = y + (dy >> (pixel + 1)) - 1, x + ((dx >> (pixel + 1)) - 1) * pixel
    at, stride = (begin + top) * width + left, width
    if top < 0 or left < 0 or top + rows + 3 > height or left + WIDE + 3 * pixel > width:
        for r in range(rows + 3):
            line = (begin + min(max(top + r, 0), height - 1)) * width
            for i in range(WIDE + 3 * pixel):
                place = left + i
                if place < 0:
                    place = place % pixel
                elif place >= width:
                    place = width - pixel + place % pixel
                work[PATCH + STRIDE * r + i] = source[line + place]
        source, at, stride = work, PATCH, STRIDE
    if cubic:
        table = floats(CUBIC)
        for r in range(rows + 3):
            mix(work, ROWS + WIDE * r, source, at, at + pixel, at + 2 * pixel, at + 3 * pixel, table, fx)
            at += stride
        for r in range(rows):
            at = ROWS + WIDE * r
            mix(target, to + WIDE * r, work, at, at + WIDE, at + 2 * WIDE, at + 3 * WIDE, table, fy)
    else:
        table, at = floats(LINEAR), at + stride + pixel
        for r in range(rows):
            below = at + stride
            mix(target, to + WIDE * r, source, at, at + pixel, below, below + pixel, table, 8 * fy + fx)
            at = below
