"""The encoder's motion search: optical flow proposes, rate and distortion choose tree and vectors.

Costs are in bits. Distortion counts as SSD / (LAMBDA step^2): what a dead-zone quantiser of that step leaves
in place costs its energy, and what it codes grows with the energy too; a saturating (logarithmic) cost was
tried and chose coarser fields that cost more in all (docs/experiments.md).
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass

import cv2
import numpy as np

from lrae.codec.motion_coding import anchor_of
from lrae.codec.motion_field import CELL, LEVELS, LIMIT, MotionField, chroma, dense, grid, warp
from lrae.codec.motion_prediction import Leaves, framed, predict, vector_bits
from lrae.codec.motion_tables import default_tables

__all__ = ["FAST", "GOOD", "Effort", "MotionField", "chroma", "dense", "join", "search", "warp"]

LAMBDA = 0.15  # SSD per bit, in squared quantiser steps
LEAF_BITS, SPLIT_BITS = 0.3, 1.0  # side costs of the first tree, before neighbours are known
STILL_BITS, NEW_BITS = 1.0, 5.0
STIFFNESS = 0.02  # squared grey levels per pixel and (quarter-pel)^2: holds vectors where there is no texture
QUARTER = 0.25


@dataclass(frozen=True)
class Effort:
    """finest: scale at which the flow stops (1: half size, 2: quarter size). newton: rounds of least-squares
    correction. rounds: rounds of merging. thin: look at every second row only when merging.
    """

    finest: int
    newton: int
    rounds: int
    thin: bool


FAST = Effort(finest=2, newton=1, rounds=1, thin=True)  # two thirds of the time, 3 % more bits
GOOD = Effort(finest=1, newton=1, rounds=1, thin=False)
LARGE = 200_000  # pixels: larger pictures are searched with FAST, to keep up


def search(current: np.ndarray, reference: np.ndarray, step: float, effort: Effort | None = None) -> MotionField:
    """The field that predicts `current` from `reference` at the least cost in bits.

    current: uint8 [H, W] luma; reference: the last reconstruction, uint8 or float32 [H, W] in 0..255;
    H, W: multiples of 16; step: quantiser step of the residual, grey levels; effort: by size if None.
    """
    current, reference = np.ascontiguousarray(current), np.ascontiguousarray(reference)
    effort = effort or (FAST if current.size > LARGE else GOOD)
    plain = reference if reference.dtype == np.uint8 else cv2.convertScaleAbs(reference)
    distortion = Distortion(current, reference, step)
    field = _tree(_flow(current, plain, effort.finest), distortion)
    return _refine(field, distortion, effort)


_local = threading.local()  # OpenCV's search keeps buffers: one set per thread


def _flow(current: np.ndarray, reference: np.ndarray, finest: int) -> np.ndarray:
    """DIS optical flow, float32 [H, W, 2]. The ultrafast preset taken down to half size beats the medium one
    in a third of its time. No start from the last field: OpenCV 5.0 crashes on some, and it was not needed."""
    searches = _local.__dict__.setdefault("searches", {})
    if finest not in searches:
        searches[finest] = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        searches[finest].setFinestScale(finest)
    return searches[finest].calc(current, reference, None)


class Distortion:
    """Distortion of a prediction in bits per cell [H/8, W/8]. Overlap is left out: costs of cells stay separate."""

    def __init__(self, current: np.ndarray, reference: np.ndarray, step: float):
        self.current, self.reference = current.astype(np.float32), reference.astype(np.float32)
        self.scale = CELL * CELL / (LAMBDA * step * step)
        self.rows, self.columns = current.shape[0] // CELL, current.shape[1] // CELL
        self.grid = grid(*current.shape)
        self.thin_current, self.thin_grid = self.current[1::2].copy(), self.grid[1::2].copy()

    def still(self, thin: bool) -> np.ndarray:
        """Without motion; to be compared with moved() of the same rows only."""
        if thin:
            return self._error(self.thin_current, self.reference[1::2])
        return self._error(self.current, self.reference)

    def moved(self, vectors: np.ndarray, thin: bool = False, interpolation: int = cv2.INTER_CUBIC) -> np.ndarray:
        """vectors: integers [H/8, W/8, 2]; thin: look at every second row only."""
        current, places = (self.thin_current, self.thin_grid) if thin else (self.current, self.grid)
        return self._error(current, self._predicted(vectors, places, interpolation))

    def quadratic(self, vectors: np.ndarray) -> np.ndarray:
        """The distortion near `vectors`, linearised (Lucas-Kanade): float32 [6, H/8, W/8] (a, b, c, d, e, f),
        bits(x, y) = a xx + 2 b xy + c yy - 2 d x - 2 e y + f in quarter-pel."""
        predicted = self._predicted(vectors, self.grid, cv2.INTER_LINEAR)
        error = cv2.subtract(self.current, predicted)
        slope = QUARTER / 2
        gx = cv2.Sobel(predicted, cv2.CV_32F, 1, 0, ksize=1, scale=slope, borderType=cv2.BORDER_REPLICATE)
        gy = cv2.Sobel(predicted, cv2.CV_32F, 0, 1, ksize=1, scale=slope, borderType=cv2.BORDER_REPLICATE)
        pairs = ((gx, gx), (gx, gy), (gy, gy), (gx, error), (gy, error), (error, error))
        a, b, c, d, e, f = (self._cells(cv2.multiply(*pair)) for pair in pairs)
        a, c = a + STIFFNESS, c + STIFFNESS
        x, y = vectors[..., 0].astype(np.float32), vectors[..., 1].astype(np.float32)
        f = f + 2 * (d * x + e * y) + a * x * x + 2 * b * x * y + c * y * y
        return np.stack([a, b, c, d + a * x + b * y, e + b * x + c * y, f]) * self.scale

    def _predicted(self, vectors: np.ndarray, places: np.ndarray, interpolation: int) -> np.ndarray:
        size = places.shape[1], places.shape[0]
        where = cv2.resize(vectors.astype(np.float32) * QUARTER, size, interpolation=cv2.INTER_NEAREST)
        cv2.add(where, places, dst=where)
        return cv2.remap(self.reference, where, None, interpolation, borderMode=cv2.BORDER_REPLICATE)

    def _error(self, current: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        error = cv2.subtract(current, predicted)
        return self._cells(cv2.multiply(error, error)) * self.scale

    def _cells(self, pixels: np.ndarray) -> np.ndarray:
        return cv2.resize(pixels, (self.columns, self.rows), interpolation=cv2.INTER_AREA)


def _least(quadratic: np.ndarray) -> np.ndarray:
    """Where quadratics [6, ...] are least: integers [..., 2]."""
    a, b, c, d, e, _ = quadratic
    least = np.stack([c * d - b * e, a * e - b * d], -1) / (a * c - b * b)[..., None]
    return np.clip(np.rint(least), -LIMIT, LIMIT).astype(np.intp)


def _at(quadratic: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    a, b, c, d, e, f = quadratic
    x, y = vectors[..., 0], vectors[..., 1]
    return f - 2 * (d * x + e * y) + a * x * x + 2 * b * x * y + c * y * y


def _tree(flow: np.ndarray, distortion: Distortion) -> MotionField:
    """The quadtree, bottom up: a leaf takes its least-squares vector or stands still; four join where that
    costs less."""
    rows, columns = distortion.rows, distortion.columns
    mean = cv2.resize(flow, (columns, rows), interpolation=cv2.INTER_AREA) / QUARTER
    quadratic = _whole(distortion.quadratic(mean))
    quadratic[[0, 2]] += 1e-6  # no division by zero where a cell lies outside
    still = _whole(distortion.still(thin=True))
    best = vectors = size = None
    for level in range(LEVELS):
        if level:
            quadratic, still = _sums(quadratic, 1), _sums(still, 1)
        own = _least(quadratic)
        moved = distortion.moved(_repeat(own, level)[:rows, :columns], True, cv2.INTER_LINEAR)
        moved_cost = _sums(_whole(moved), level) + NEW_BITS + _rough_bits(own.astype(np.float32))
        still_cost = still + STILL_BITS
        chosen = np.where((still_cost <= moved_cost)[..., None], 0, own)
        cost = np.minimum(still_cost, moved_cost) + LEAF_BITS
        if level == 0:
            best, vectors, size = cost, chosen, np.full(cost.shape, 3, np.uint8)
            continue
        parts = _sums(best, 1) + SPLIT_BITS
        joined = _repeat(cost <= parts, level)
        best = np.minimum(cost, parts)
        vectors = np.where(joined[..., None], _repeat(chosen, level), vectors)
        size = np.where(joined, np.uint8(level + 3), size)
    return MotionField(np.ascontiguousarray(vectors[:rows, :columns], np.int16), size[:rows, :columns].copy())


def _whole(cells: np.ndarray) -> np.ndarray:
    """Cells [..., rows, columns] on a grid of whole 64x64 leaves; what lies outside the picture costs nothing."""
    *lead, rows, columns = cells.shape
    n = 1 << LEVELS - 1
    out = np.zeros((*lead, rows + -rows % n, columns + -columns % n), cells.dtype)
    out[..., :rows, :columns] = cells
    return out


def _repeat(nodes: np.ndarray, level: int) -> np.ndarray:
    return nodes.repeat(1 << level, 0).repeat(1 << level, 1)


def _sums(cells: np.ndarray, level: int) -> np.ndarray:
    """Sums over squares of 2^level cells: [..., rows, columns]."""
    n = 1 << level
    *lead, rows, columns = cells.shape
    return cells.reshape(*lead, rows // n, n, columns // n, n).sum((-3, -1))


def _rough_bits(vectors: np.ndarray) -> np.ndarray:
    """About the bits of a vector's difference from the nearest of its four neighbours, or from zero."""
    padded = framed(vectors)
    around = np.stack([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])
    apart, length = 1 + np.abs(around - vectors), 1 + np.abs(vectors)
    nearest = 2 * np.log2((apart[..., 0] * apart[..., 1]).min(0))
    return np.minimum(nearest, 2 * np.log2(length[..., 0] * length[..., 1]) + 1)


@functools.cache
def _bits() -> dict[str, np.ndarray]:
    """Code lengths of kinds and differences, averaged over the table sets."""
    tables = default_tables()
    return {name: table.mean(0) for name, table in tables.bits.items()}


def _refine(field: MotionField, distortion: Distortion, effort: Effort) -> MotionField:
    """Let leaves take the predicted vector, a neighbour's, zero, or a least-squares correction, where that costs
    less. Options are measured once a round; then the colours of a checkerboard choose in turn, each at the rates
    that the choice of the other one left.
    """
    leaves = Leaves(field.size)
    vectors = field.vectors[leaves.y, leaves.x].astype(np.intp)
    anchor = anchor_of(field)
    cells, colour = leaves.of_cell.ravel(), (leaves.y >> leaves.level) + (leaves.x >> leaves.level) & 1

    def total(cost: np.ndarray) -> np.ndarray:
        return np.bincount(cells, cost.ravel(), leaves.count)

    def predicted() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return predict(np.vstack([vectors, np.zeros((1, 2), np.intp)])[leaves.neighbours], leaves.known, anchor)

    still = total(distortion.still(effort.thin))
    for turn in range(effort.newton + effort.rounds):
        prediction = predicted()
        if turn < effort.newton:
            quadratic = np.stack([total(part) for part in distortion.quadratic(vectors[leaves.of_cell])])
            options = np.stack([vectors, *prediction[:2], _least(quadratic)])
            distortions = _at(quadratic, options)
        else:
            options = np.stack([vectors, *prediction[:2], np.zeros_like(vectors)])
            moved = [total(distortion.moved(option[leaves.of_cell], effort.thin)) for option in options[:3]]
            distortions = np.stack([*moved, still])
        for now in (0, 1):
            costs = distortions + vector_bits(options, leaves.level, prediction, _bits())
            best = options[costs.argmin(0), np.arange(leaves.count)]
            vectors = np.where((colour == now)[:, None], best, vectors)
            if now == 0:
                prediction = predicted()
    return join(MotionField(vectors[leaves.of_cell].astype(np.int16), field.size))


def join(field: MotionField) -> MotionField:
    """Four leaves with one vector become one."""
    rows, columns = field.size.shape
    size = field.size
    for level in range(1, LEVELS):
        n = 1 << level
        margin = 0, -rows % n, 0, -columns % n
        vectors = cv2.copyMakeBorder(field.vectors, *margin, cv2.BORDER_REPLICATE).view(np.int32)[..., 0]
        sizes = cv2.copyMakeBorder(size, *margin, cv2.BORDER_REPLICATE)
        alike = (vectors == _repeat(vectors[::n, ::n], level)) & (sizes == level + 2)
        joined = alike.reshape(len(alike) // n, n, -1, n).all((1, 3))
        size = np.where(_repeat(joined, level)[:rows, :columns], np.uint8(level + 3), size)
    return MotionField(field.vectors, size)
