"""The in-loop filters of inter frames: take away noise that blocks, quantiser and interpolation leave, class by class.

After the adaptive loop filter of H.266 with its clipping (Karczewicz et al., "VVC in-loop filters", IEEE TCSVT 2021,
section IV), but fitted once and shipped with the weights: what is sent is which of FILTERS, or none, serves an area of
32x32 pixels best. A cell of 8x8 pixels (chroma: 4x4) is classified by how busy it is in steps of the quantiser, along
which direction, and whether its block has levels. A pixel c then becomes

    c + sum over PAIRS of opposite neighbours (a, b) and LIMITS L of  w · (clip(a − c, ±L) + clip(b − c, ±L))

Cells that neither move nor have levels stay as they are: they were filtered when they came.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from lrae.codec import loop_filter_kernels as kernels
from lrae.codec.loop_filter_kernels import ABOVE, CELL, LEFT, STAYING
from lrae.codec.state import CodedFrame
from lrae.errors import ModelError
from lrae.models.rates import step_of

FILTERS = 2
PAIRS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))  # (down, right) of a; b lies opposite
LIMITS = (0.12, 0.5, 2.0)  # quantiser steps
BUSY = (0.1, 0.3, 0.6, 1.0, 2.0)  # bounds of the mean second difference down and across, steps
DIRECTIONS = 5  # none, rows, columns, and the two diagonals
CLASSES = 2 * (len(BUSY) + 1) * DIRECTIONS  # moved, coded
RATES = 8  # sets of coefficients, for q 4, 12 … 60; between them they are interpolated
SHAPE = FILTERS, 2, RATES, CLASSES, len(PAIRS), len(LIMITS)  # 2: luma, chroma
AREA = 2  # positions a side of an area
LAMBDA = 0.12  # squared steps a bit, as in the quantiser
CHOICE_BITS = 1.0, *(1.6,) * FILTERS  # about what no filter, or one, costs
_PAIRS, _BUSY = np.array(PAIRS, np.int64), np.array(BUSY, np.float32)


class LoopFilter:
    """weights: float32 of SHAPE, or ModelError."""

    def __init__(self, weights: np.ndarray):
        if weights.shape != SHAPE or not np.isfinite(weights).all():
            raise ModelError(f"loop filter of shape {weights.shape}; this version has {SHAPE}")
        self._weights = np.array(weights, np.float32)
        self._at = functools.lru_cache(maxsize=16)(self._interpolated)

    def __call__(self, cells: np.ndarray, coded: CodedFrame) -> None:
        """Filter a packed picture, float32 [h, w, 96], in place, as coded.filters wants it."""
        lines, filters = unfold(cells), np.ascontiguousarray(coded.filters)
        self._apply(lines, classify(lines, coded, filters), filters, coded.q, cells)

    def choose(self, cells: np.ndarray, coded: CodedFrame, source: list[np.ndarray]) -> np.ndarray:
        """Filter a packed picture in place, each area by what serves it best: uint8 [rows, columns] of positions, 0:
        none. source: the planes that were coded, uint8."""
        lines = unfold(cells)
        rows, columns = (side // 2 for side in cells.shape[:2])
        classes = classify(lines, coded, np.ones((rows, columns), np.uint8))
        best = np.empty((-(-rows // AREA), -(-columns // AREA)), np.uint8)
        y, u, v = source
        wanted = np.concatenate((y, cv2.merge((u, v)).reshape(len(u), -1)))
        prices = np.float32(LAMBDA * step_of(coded.q) ** 2) * np.array(CHOICE_BITS, np.float32)
        kernels.choose(lines, classes, self._at(coded.q), _limits(coded.q), _PAIRS, wanted, prices, best)
        filters = np.ascontiguousarray(best.repeat(AREA, 0).repeat(AREA, 1)[:rows, :columns])
        classes[filters.repeat(2, 0).repeat(2, 1) == 0] = STAYING
        self._apply(lines, classes, filters, coded.q, cells)
        return filters

    def _apply(self, lines: np.ndarray, classes: np.ndarray, filters: np.ndarray, q: int, cells: np.ndarray) -> None:
        kernels.apply(lines, classes, filters, self._at(q), _limits(q), _PAIRS, cells)

    def _interpolated(self, q: int) -> np.ndarray:
        """Coefficients at a rate, float32 [2, FILTERS, CLASSES, PAIRS, LIMITS]."""
        low, high, share = neighbours(q)
        weights = self._weights[:, :, low] * np.float32(1 - share) + self._weights[:, :, high] * np.float32(share)
        return np.ascontiguousarray(weights.swapaxes(0, 1))


def neighbours(q: int) -> tuple[int, int, float]:
    """The two sets of coefficients nearest to a rate, and the share of the second."""
    place = min(max((q - 4) / 8, 0), RATES - 1)
    low = min(int(place), RATES - 2)
    return low, low + 1, place - low


def _limits(q: int) -> np.ndarray:
    return np.array(LIMITS, np.float32) * np.float32(step_of(q))


def unfold(cells: np.ndarray) -> np.ndarray:
    """A packed picture, float32 [h, w, 96], as the kernels read it, clipped."""
    rows, columns = cells.shape[:2]
    lines = np.empty((12 * rows + 4 * ABOVE, CELL * columns + 2 * LEFT), np.float32)
    kernels.unfold(cells, lines)
    return lines


def classify(lines: np.ndarray, coded: CodedFrame, filters: np.ndarray) -> np.ndarray:
    """The class of each cell, uint8 [2·rows, 2·columns], STAYING where none of filters, uint8 [rows, columns], goes."""
    classes = np.empty([2 * side for side in filters.shape], np.uint8)
    vectors, levels = np.ascontiguousarray(coded.motion.vectors), np.ascontiguousarray(coded.levels).view(np.int64)
    kernels.classify(lines, vectors, levels, filters, np.float32(step_of(coded.q)), _BUSY, classes)
    return classes
