"""What the motion coder knows of a leaf before it is coded: geometry, predicted vectors, contexts."""

from __future__ import annotations

import numpy as np

from lrae.codec.motion_field import LEVELS
from lrae.codec.motion_tables import AGREEMENTS, FAR, MEDIAN, NEAR, NEW, OTHER, ZERO

_POWERS = 1 << np.arange(FAR + 1)
_STILL = np.zeros(2, np.intp)


def framed(cells: np.ndarray) -> np.ndarray:
    """A frame of zeros, one cell wide, around [rows, columns, ...]; several times as fast as np.pad."""
    rows, columns = cells.shape[:2]
    out = np.zeros((rows + 2, columns + 2, *cells.shape[2:]), cells.dtype)
    out[1:-1, 1:-1] = cells
    return out


def same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Which vectors [..., 2] are equal (several times faster than a reduction over so short an axis)."""
    return (a[..., 0] == b[..., 0]) & (a[..., 1] == b[..., 1])


class Leaves:
    """Geometry of a quadtree, leaves in coding order. All of it follows from `size` alone.

    Several fields may lie in one array, below one another: cells of size 0 belong to none; ends, int [rows, 2], are
    the row and the column before which the field ends that a row belongs to (default: the array's own).

    y, x: first cell; level: 0..3 (8..64 px); starts: bounds of the phases; of_cell: leaf id of each cell (N = none);
    neighbours: int [N, 8] ids (N = none), sides first, then corners; known: bool [N, 8], coded earlier.
    """

    def __init__(self, size: np.ndarray, ends: np.ndarray | None = None):
        rows, columns = size.shape
        level = np.maximum(size, 3).astype(np.intp) - 3
        yy, xx = np.indices(size.shape)
        first_y, first_x = yy >> level << level, xx >> level << level
        y, x = np.nonzero((first_y == yy) & (first_x == xx) & (size > 0))
        k = level[y, x]
        odd_y, odd_x = y >> k & 1, x >> k & 1
        phase = (LEVELS - 1 - k) * 4 + np.where(odd_y == odd_x, odd_y, 2 + odd_y)
        order = np.argsort(phase, kind="stable")
        self.y, self.x, self.level, phase = y[order], x[order], k[order], phase[order]
        self.count = count = len(order)
        self.starts = np.searchsorted(phase, np.arange(4 * LEVELS + 1))
        ids = np.full(size.shape, count)
        ids[self.y, self.x] = np.arange(count)
        self.of_cell = ids[first_y, first_x]
        padded = np.full((rows + 2, columns + 2), count)
        padded[1:-1, 1:-1] = self.of_cell
        n = 1 << self.level
        y0, x0 = self.y, self.x
        below, right = (rows, columns) if ends is None else ends[y0].T
        y1, x1 = np.minimum(y0 + n, below), np.minimum(x0 + n, right)
        ym, xm = (y0 + y1) >> 1, (x0 + x1) >> 1
        ny = np.stack([ym, ym, y0 - 1, y1, y0 - 1, y0 - 1, y1, y1], 1) + 1
        nx = np.stack([x0 - 1, x1, xm, xm, x0 - 1, x1, x0 - 1, x1], 1) + 1
        self.neighbours = padded[ny, nx]
        self.known = np.append(phase, 99)[self.neighbours] < phase[:, None]


_BEHIND = 1 << 12  # sorts behind every vector


def predict(around: np.ndarray, known: np.ndarray, fallback: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From the neighbours' vectors [n, 8, 2] and which are known [n, 8]: median [n, 2] (`fallback`, [2] or [n, 2],
    where none is), other [n, 2]: the first known vector that is not the median, else the median, and agreement [n],
    0..5.
    """
    use = known.copy()
    use[:, 4:] &= ~known[:, :4].any(1, keepdims=True)  # corners only where no side is known
    count = use.sum(1)
    ordered = np.sort(np.where(use[..., None], around, _BEHIND), axis=1)
    at = np.maximum(count - 1, 0) >> 1
    pick = np.arange(len(at))
    median = np.where(count[:, None] > 0, ordered[pick, at], fallback)
    differs = known & ~same(around, median[:, None])
    first = differs.argmax(1)
    some = differs[pick, first]
    other = np.where(some[:, None], around[pick, first], median)
    spread = np.where(use[..., None], np.abs(around - median[:, None]), 0).max((1, 2))
    agreement = np.where(some, 2 + (spread > 2) + (spread > 6) + (spread > 16), known.any(1))
    return median, other, agreement


def kind_context(level: np.ndarray, median: np.ndarray, agreement: np.ndarray) -> np.ndarray:
    return (level * AGREEMENTS + agreement) * 2 + ~same(median, _STILL)


def dy_context(agreement: np.ndarray, dx: np.ndarray) -> np.ndarray:
    far = np.abs(dx)
    return agreement * 4 + (far > 0) + (far > 2) + (far > NEAR)


def split_difference(difference: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Differences to (symbol, number of plain bits, their value). Class k holds NEAR - 1 + 2^k ... + 2^(k+1) - 1."""
    size = np.abs(difference)
    over = np.maximum(size - NEAR + 1, 1)  # 2^k .. 2^(k+1) - 1 in class k, 1 if near
    extra = np.searchsorted(_POWERS, over, side="right") - 1
    symbol = np.where(extra > 0, NEAR + extra, size) * np.sign(difference) + NEAR + FAR
    return symbol, extra, np.where(extra > 0, over - (1 << extra), 0)


def kinds(vectors: np.ndarray, median: np.ndarray, other: np.ndarray) -> np.ndarray:
    kind = np.where(same(vectors, other), OTHER, NEW)
    kind[same(vectors, _STILL)] = ZERO
    kind[same(vectors, median)] = MEDIAN
    return kind


def vector_bits(
    vectors: np.ndarray, level: np.ndarray, prediction: tuple[np.ndarray, ...], lengths: dict[str, np.ndarray]
) -> np.ndarray:
    """Bits of leaves' vectors [..., n, 2] given predict()'s answer. lengths: name -> bits [contexts, symbols]."""
    median, other, agreement = prediction
    kind = kinds(vectors, median, other)
    difference = vectors - median
    symbol, extra, _ = split_difference(difference)
    coded = lengths["dx"][agreement, symbol[..., 0]] + extra[..., 0] + extra[..., 1]
    coded = coded + lengths["dy"][dy_context(agreement, difference[..., 0]), symbol[..., 1]]
    return lengths["kind"][kind_context(level, median, agreement), kind] + np.where(kind == NEW, coded, 0)
