"""The encoder's motion search: a pyramid proposes, rate and distortion choose tree and vectors.

Costs are in bits. Distortion counts as SSD / (LAMBDA step^2): what a dead-zone quantiser of that step leaves
in place costs its energy, and what it codes grows with the energy too; a saturating (logarithmic) cost was
tried and chose coarser fields that cost more in all (docs/experiments.md). Overlap is left out: costs of cells stay
separate.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from lrae.codec import motion_choice, motion_coding, motion_kernels
from lrae.codec.motion_field import CELL, LEVELS, LIMIT, MotionField
from lrae.codec.motion_kernels import MARGIN, OPTIONS, SUMS
from lrae.codec.motion_tables import default_tables

__all__ = ["Distortion", "MotionField", "join", "search"]

LAMBDA = 0.18  # SSD per bit, in squared quantiser steps
COARSEST, REACH = 4, 4  # where proposals start: all vectors up to 4 pixels at a sixteenth of the size


LARGE = 400_000  # pixels: beyond, proposals stop at half size: three quarters of the time, 1 % more bits


class Distortion:
    """Distortion of predictions in bits per cell. current, reference: uint8 (or what rounds to it) [H, W],
    multiples of 8; step: quantiser step, grey levels."""

    def __init__(self, current: np.ndarray, reference: np.ndarray, step: float):
        self.current, self.reference = np.require(current, np.uint8, "CW"), cv2.convertScaleAbs(reference)
        self.padded = cv2.copyMakeBorder(self.reference, *(MARGIN,) * 4, cv2.BORDER_REPLICATE)
        self.price = float(1 / (LAMBDA * step * step))
        self.cells = current.shape[0] // CELL, current.shape[1] // CELL

    def moved(self, fields: np.ndarray) -> np.ndarray:
        """Under several fields, int16 [n, H/8, W/8, 2]: float32 [n, H/8, W/8]."""
        out = np.empty(fields.shape[:-1], np.float32)
        motion_kernels.errors(self.current, self.padded, np.ascontiguousarray(fields, np.int16), out)
        return out * np.float32(self.price)


def search(current: np.ndarray, reference: np.ndarray, step: float) -> MotionField:
    """The field that predicts `current` from `reference` at the least cost in bits.

    current: uint8 [H, W] luma; reference: the last reconstruction, uint8 or float32 [H, W] in 0..255;
    H, W: multiples of 16; step: quantiser step of the residual, grey levels.
    """
    distortion = Distortion(current, reference, step)
    room = np.empty((OPTIONS, 2), np.int64), np.empty(SUMS)
    start = _propose(distortion, int(current.size > LARGE), room)
    rows, columns = cells = distortion.cells
    vectors, size = np.empty((*cells, 2), np.int16), np.empty(cells, np.uint8)
    own = np.zeros((LEVELS, rows + 2, columns + 2, 2), np.int16)
    pictures = distortion.current, distortion.padded
    tree_room = np.zeros((*cells, SUMS)), np.zeros((2, *cells)), own
    motion_kernels.tree(*pictures, start, distortion.price, *tree_room, vectors, size)
    field = MotionField(vectors, size)
    anchor = tuple(map(int, motion_coding.anchor_of(field)))
    around, known = np.empty((8, 2), np.int64), np.zeros((rows + 2, columns + 2), np.uint8)
    motion_choice.choose(*pictures, size, start, anchor, distortion.price, _bits(), *room, around, known, vectors)
    motion_kernels.join(vectors, size)
    return field


def _propose(distortion: Distortion, finest: int, room: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Vectors int16 [H/8, W/8, 2], from coarse to fine."""
    pyramid = [(distortion.current, distortion.padded)]
    current, reference = distortion.current, distortion.reference
    for _ in range(COARSEST):
        size = (current.shape[1] + 1) // 2, (current.shape[0] + 1) // 2
        current = cv2.resize(current, size, interpolation=cv2.INTER_AREA)
        reference = cv2.resize(reference, size, interpolation=cv2.INTER_AREA)
        below, right = -size[1] % CELL, -size[0] % CELL  # to whole cells
        whole = cv2.copyMakeBorder(current, 0, below, 0, right, cv2.BORDER_REPLICATE)
        margins = MARGIN, MARGIN + below, MARGIN, MARGIN + right
        pyramid.append((whole, cv2.copyMakeBorder(reference, *margins, cv2.BORDER_REPLICATE)))
    current, padded = pyramid.pop()
    vectors = np.zeros((current.shape[0] // CELL, current.shape[1] // CELL, 2), np.int16)
    motion_kernels.scan(current, padded, REACH, vectors)
    for current, padded in pyramid[finest:][::-1]:
        finer = np.zeros((current.shape[0] // CELL, current.shape[1] // CELL, 2), np.int16)
        motion_kernels.propose(current, padded, vectors, *room, finer)
        vectors = finer
    rows, columns = distortion.cells
    grown = vectors.repeat(1 << finest, 0).repeat(1 << finest, 1)[:rows, :columns] << finest
    return np.ascontiguousarray(np.clip(grown, -LIMIT, LIMIT))


@functools.cache
def _bits() -> tuple[np.ndarray, ...]:
    """Code lengths of kinds and differences, averaged over the table sets."""
    tables = default_tables()
    return tuple(np.ascontiguousarray(tables.bits[name].mean(0)) for name in ("kind", "dx", "dy"))


def join(field: MotionField) -> MotionField:
    """Four leaves with one vector become one."""
    vectors, size = np.ascontiguousarray(field.vectors, np.int16), field.size.copy()
    motion_kernels.join(vectors, size)
    return MotionField(vectors, size)
