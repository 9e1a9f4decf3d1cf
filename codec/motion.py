"""The encoder's motion search: optical flow proposes, rate and distortion choose tree and vectors.

Costs are in bits. Distortion counts as SSD / (LAMBDA step^2): what a dead-zone quantiser of that step leaves
in place costs its energy, and what it codes grows with the energy too; a saturating (logarithmic) cost was
tried and chose coarser fields that cost more in all (docs/experiments.md).
"""

from __future__ import annotations

import functools
import threading

import cv2
import numpy as np

from lrae.codec import motion_coding
from lrae.codec.motion_field import CELL, LEVELS, LIMIT, MotionField, chroma, dense, upsample, warp

__all__ = ["MotionField", "chroma", "dense", "search", "warp"]

LAMBDA = 0.15  # SSD per bit, in squared quantiser steps
LEAF_BITS, SPLIT_BITS = 0.3, 1.0  # side costs of the first tree, before neighbours are known
STILL_BITS, NEW_BITS = 0.5, 3.0
ROUNDS = 4  # of refinement; each visits one colour of a checkerboard
STEPS = ((1, 0), (-1, 0), (0, 1), (0, -1))  # quarter-pel

_local = threading.local()  # OpenCV's search keeps buffers: one per thread


def _flow(current: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """DIS optical flow, float32 [H, W, 2]. The ultrafast preset taken down to half size beats the medium one
    in a third of its time."""
    if not hasattr(_local, "dis"):
        _local.dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        _local.dis.setFinestScale(1)
    return _local.dis.calc(current, reference, None)


class _Distortion:
    """Distortion of a prediction in bits, per cell [H/8, W/8], summed over cells that lie in the frame."""

    def __init__(self, current: np.ndarray, reference: np.ndarray, step: float):
        self.current = current.astype(np.float32)
        self.reference = reference.astype(np.float32)
        self.scale = CELL * CELL / (LAMBDA * step * step)
        self.height, self.width = current.shape

    def still(self) -> np.ndarray:
        return self._of(self.reference)

    def moved(self, vectors: np.ndarray) -> np.ndarray:
        """vectors: integers [H/8, W/8, 2], smoothed as they will be when they are used."""
        return self._of(warp(self.reference, upsample(vectors, self.width, self.height)))

    def _of(self, prediction: np.ndarray) -> np.ndarray:
        error = cv2.subtract(prediction, self.current)
        cells = self.width // CELL, self.height // CELL
        return cv2.resize(cv2.multiply(error, error), cells, interpolation=cv2.INTER_AREA) * self.scale


def search(
    current: np.ndarray, reference: np.ndarray, step: float, previous: MotionField | None = None
) -> MotionField:
    """The field that predicts `current` from `reference` at the least cost in bits.

    current: uint8 [H, W] luma; reference: the last reconstruction, uint8 or float32 [H, W] in 0..255;
    H, W: multiples of 16; step: quantiser step of the residual, grey levels; previous: last frame's field.
    """
    current, reference = np.ascontiguousarray(current), np.ascontiguousarray(reference)
    distortion = _Distortion(current, reference, step)
    plain = reference if reference.dtype == np.uint8 else cv2.convertScaleAbs(reference)
    field = _tree(_flow(current, plain), distortion)
    return _refine(field, distortion)


def _tree(flow: np.ndarray, distortion: _Distortion) -> MotionField:
    """The quadtree, bottom up: a leaf takes its mean flow or stands still; four join where it costs less."""
    rows, columns = flow.shape[0] // CELL, flow.shape[1] // CELL
    margin = -rows % (1 << LEVELS - 1), -columns % (1 << LEVELS - 1)

    def full(cells: np.ndarray) -> np.ndarray:  # outside of the frame nothing costs
        return np.pad(cells, ((0, margin[0]), (0, margin[1])))

    mean = cv2.resize(flow, (columns, rows), interpolation=cv2.INTER_AREA) * 4
    mean = cv2.copyMakeBorder(mean, 0, margin[0], 0, margin[1], cv2.BORDER_REPLICATE)
    still = full(distortion.still())
    best = vectors = size = None
    for level in range(LEVELS):
        if level:
            mean = mean.reshape(mean.shape[0] // 2, 2, mean.shape[1] // 2, 2, 2).mean((1, 3))
        own = np.clip(np.rint(mean), -LIMIT, LIMIT).astype(np.int16)
        moved = full(distortion.moved(_spread(own, level)[:rows, :columns]))
        still_cost = _sums(still, level) + STILL_BITS
        moved_cost = _sums(moved, level) + NEW_BITS + _rough_bits(own.astype(np.float32))
        chosen = np.where((still_cost <= moved_cost)[..., None], 0, own)
        cost = np.minimum(still_cost, moved_cost) + LEAF_BITS
        if level == 0:
            best, vectors, size = cost, chosen, np.full(cost.shape, 3, np.uint8)
            continue
        parts = _sums(best, 1) + SPLIT_BITS
        joined = _spread(cost <= parts, level)
        best = np.minimum(cost, parts)
        vectors = np.where(joined[..., None], _spread(chosen, level), vectors)
        size = np.where(joined, np.uint8(level + 3), size)
    return MotionField(np.ascontiguousarray(vectors[:rows, :columns], np.int16), size[:rows, :columns].copy())


def _spread(nodes: np.ndarray, level: int) -> np.ndarray:
    return nodes.repeat(1 << level, 0).repeat(1 << level, 1)


def _sums(cells: np.ndarray, level: int) -> np.ndarray:
    n = 1 << level
    return cells.reshape(cells.shape[0] // n, n, cells.shape[1] // n, n).sum((1, 3))


def _rough_bits(vectors: np.ndarray) -> np.ndarray:
    """About the bits of a vector's difference from the nearest of its four neighbours, or from zero."""
    padded = np.pad(vectors, ((1, 1), (1, 1), (0, 0)))
    around = np.stack([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])
    nearest = (2 * np.log2(1 + np.abs(around - vectors)).sum(-1)).min(0)
    return np.minimum(nearest, 2 * np.log2(1 + np.abs(vectors)).sum(-1) + 1)


@functools.cache
def _bits() -> dict[str, np.ndarray]:
    """Code lengths of kinds and differences, averaged over the table sets."""
    tables = motion_coding.default_tables()
    return {name: table.mean(0) for name, table in tables.bits.items()}


def _refine(field: MotionField, distortion: _Distortion) -> MotionField:
    """Let leaves take the predicted vector, a neighbour's, zero, or a small step, where that costs less."""
    leaves = motion_coding.Leaves(field.size)
    vectors = field.vectors[leaves.y, leaves.x].astype(np.intp)
    anchor = motion_coding.anchor_of(field)
    colour = (leaves.y >> leaves.level) + (leaves.x >> leaves.level) & 1
    cells = leaves.of_cell.ravel()
    for turn in range(ROUNDS):
        around = np.vstack([vectors, np.zeros((1, 2), np.intp)])[leaves.neighbours]
        prediction = motion_coding.predict(around, leaves.known, anchor)
        options = [vectors, prediction[0], prediction[1], np.zeros_like(vectors)]
        options += [np.clip(vectors + step, -LIMIT, LIMIT) for step in STEPS]
        costs = [
            np.bincount(cells, distortion.moved(option[leaves.of_cell]).ravel(), leaves.count)
            + motion_coding.vector_bits(option, leaves.level, prediction, _bits())
            for option in options
        ]
        best = np.stack(options)[np.argmin(costs, 0), np.arange(leaves.count)]
        vectors = np.where((colour == turn & 1)[:, None], best, vectors)
    return MotionField(vectors[leaves.of_cell].astype(np.int16), field.size)
