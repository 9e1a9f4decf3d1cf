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

import numpy as np

from lrae.codec.loop_filter_kernels import add_errors, apply, classify_cells, select
from lrae.codec.motion_field import CELL
from lrae.codec.state import CodedFrame
from lrae.errors import ModelError
from lrae.models.blocks import CHROMA_GAIN
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
STAYS, MOVED, CODED = 0, 1, 2
PAD = 2
_STAYING = 255  # the class of cells that stay: its coefficients are zero
_PAIRS, _BUSY = np.array(PAIRS, np.int64), np.array(BUSY, np.float32)
_GAINS = np.array([1, CHROMA_GAIN, CHROMA_GAIN], np.float32)

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]  # Y [H,W], U and V [H/2,W/2], float32, values as in packed pictures


class LoopFilter:
    """weights: float32 of SHAPE, or ModelError."""

    def __init__(self, weights: np.ndarray):
        if weights.shape != SHAPE or not np.isfinite(weights).all():
            raise ModelError(f"loop filter of shape {weights.shape}; this version has {SHAPE}")
        self._weights = np.zeros((2, RATES, _STAYING + 1, *SHAPE[4:]), np.float32)
        self._weights[:, :, : FILTERS * CLASSES] = np.moveaxis(weights, 0, 2).reshape(2, RATES, -1, *SHAPE[4:])
        self._at = functools.lru_cache(maxsize=16)(self._interpolated)

    def __call__(self, planes: Planes, coded: CodedFrame) -> Planes:
        """The picture as coded.filters wants it."""
        padded = [pad(plane) for plane in planes]
        return self._filtered(padded, classify(padded[0], coded), coded.filters, coded.q)

    def choose(self, planes: Planes, coded: CodedFrame, source: Planes) -> tuple[np.ndarray, Planes]:
        """Of each area the filter that serves it best, uint8 [rows, columns] of positions (0: none), and the picture.
        source: what was coded, uint8."""
        padded = [pad(plane) for plane in planes]
        classes = classify(padded[0], coded)
        rows, columns = (side // 2 for side in classes.shape)
        results = [planes]
        for index in range(1, FILTERS + 1):
            everywhere = np.full((rows, columns), index, np.uint8)
            results.append(self._filtered(padded, classes, everywhere, coded.q))
        errors = np.stack([area_errors(result, source, (rows, columns)) for result in results])
        price = np.float32(LAMBDA * step_of(coded.q) ** 2) * np.array(CHOICE_BITS, np.float32)
        best = (errors + price[:, None, None]).argmin(0).astype(np.uint8)
        filters = best.repeat(AREA, 0).repeat(AREA, 1)[:rows, :columns]
        chosen = []
        for planes_of, side in zip(zip(*results, strict=True), (32, 16, 16), strict=True):
            out = np.array(planes_of[0], order="C")
            for index, plane in enumerate(planes_of[1:], 1):
                select(plane, best == index, side, out)
            chosen.append(out)
        return filters, tuple(chosen)

    def _filtered(self, padded: list[np.ndarray], classes: np.ndarray, filters: np.ndarray, q: int) -> Planes:
        of_cell = filters.repeat(2, 0).repeat(2, 1)
        mine = np.where((of_cell == 0) | (classes == _STAYING), _STAYING, classes + CLASSES * (of_cell - 1))
        mine, limits, done = mine.astype(np.uint8), np.array(LIMITS, np.float32) * np.float32(step_of(q)), []
        for index, (plane, weights) in enumerate(zip(padded, self._at(q), strict=True)):
            out = np.empty((plane.shape[0] - 2 * PAD, plane.shape[1] - 2 * PAD), np.float32)
            bounds = np.array([-128, 127], np.float32) * _GAINS[index]
            apply(plane, mine, CELL // 2 if index else CELL, weights, limits, _PAIRS, bounds, out)
            done.append(out)
        return tuple(done)

    def _interpolated(self, q: int) -> tuple[np.ndarray, ...]:
        """Coefficients of Y, U, V at a rate."""
        low, high, share = neighbours(q)
        luma, chroma = self._weights[:, low] * np.float32(1 - share) + self._weights[:, high] * np.float32(share)
        return luma, chroma, chroma


def area_errors(planes: Planes, source: Planes, grid: tuple[int, int]) -> np.ndarray:
    """Squared error of each area, all planes, float32 [area rows, area columns]; source: uint8, grid: of positions."""
    errors = np.zeros([-(-side // AREA) for side in grid], np.float32)
    for index, (plane, original) in enumerate(zip(planes, source, strict=True)):
        add_errors(np.ascontiguousarray(plane), original, _GAINS[index], 16 if index else 32, errors)
    return errors


def neighbours(q: int) -> tuple[int, int, float]:
    """The two sets of coefficients nearest to a rate, and the share of the second."""
    place = min(max((q - 4) / 8, 0), RATES - 1)
    low = min(int(place), RATES - 2)
    return low, low + 1, place - low


def kinds(coded: CodedFrame) -> np.ndarray:
    """Of each cell STAYS, MOVED or CODED, uint8 [2·rows, 2·columns]."""
    moved = (coded.motion.vectors != 0).any(2)
    rows, columns = (side // 2 for side in moved.shape)
    busy = (coded.levels != 0).any(1).reshape(rows, columns).repeat(2, 0).repeat(2, 1)
    return np.where(busy, np.uint8(CODED), moved.astype(np.uint8) * np.uint8(MOVED))


def pad(plane: np.ndarray) -> np.ndarray:
    """A plane with its border repeated PAD times, float32."""
    height, width = plane.shape
    out = np.empty((height + 2 * PAD, width + 2 * PAD), np.float32)
    out[PAD:-PAD, PAD:-PAD] = plane
    out[:PAD, PAD:-PAD], out[-PAD:, PAD:-PAD] = plane[0], plane[-1]
    out[:, :PAD], out[:, -PAD:] = out[:, PAD : PAD + 1], out[:, -PAD - 1 : -PAD]
    return out


def classify(padded: np.ndarray, coded: CodedFrame) -> np.ndarray:
    """The class of each cell, uint8 [2·rows, 2·columns], 255 where it stays; from padded luma."""
    kind = kinds(coded)
    classes = np.empty(kind.shape, np.uint8)
    classify_cells(padded, kind, np.float32(step_of(coded.q)), _BUSY, classes)
    return classes
