"""The in-loop filter of inter frames: takes away noise that blocks, quantiser and interpolation leave, class by class.

After the adaptive loop filter of H.266 with its clipping (Karczewicz et al., "VVC in-loop filters", IEEE TCSVT 2021,
section IV), but fitted once and shipped with the weights: nothing of it is sent. A cell of 8x8 pixels (chroma: 4x4) is
classed by how busy it is in steps of the quantiser, along which direction, and whether its block has levels. A pixel c
then becomes

    c + sum over PAIRS of opposite neighbours (a, b) and LIMITS L of  w · (clip(a − c, ±L) + clip(b − c, ±L))

Cells that neither move nor have levels stay as they are: they were filtered when they came.
"""

from __future__ import annotations

import functools

import numpy as np

from lrae.codec.jit import kernel
from lrae.codec.motion_field import CELL
from lrae.codec.state import CodedFrame
from lrae.errors import ModelError
from lrae.models.blocks import CHROMA_GAIN
from lrae.models.rates import step_of

PAIRS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))  # (down, right) of a; b lies opposite
LIMITS = (0.12, 0.5, 2.0)  # quantiser steps
BUSY = (0.1, 0.3, 0.6, 1.0, 2.0)  # bounds of the mean second difference down and across, steps
DIRECTED = 2.0  # the larger second difference over the smaller, from which a cell has a direction
DIRECTIONS = 5  # none, rows, columns, and the two diagonals
CLASSES = 2 * (len(BUSY) + 1) * DIRECTIONS  # moved, coded
RATES = 8  # sets of coefficients, for q 4, 12 … 60; between them they are interpolated
SHAPE = 2, RATES, CLASSES, len(PAIRS), len(LIMITS)  # luma, chroma
STAYS, MOVED, CODED = 0, 1, 2
PAD = 2
_STAYING = 255  # the class of cells that stay: its coefficients are zero
_PAIRS = np.array(PAIRS, np.int64)
_BUSY = np.array(BUSY, np.float32)


class LoopFilter:
    """weights: float32 of SHAPE, or ModelError."""

    def __init__(self, weights: np.ndarray):
        if weights.shape != SHAPE or not np.isfinite(weights).all():
            raise ModelError(f"loop filter of shape {weights.shape}; this version has {SHAPE}")
        self._weights = np.zeros((2, RATES, _STAYING + 1, *SHAPE[3:]), np.float32)
        self._weights[:, :, :CLASSES] = weights
        self._at = functools.lru_cache(maxsize=16)(self._interpolated)

    def __call__(self, planes: tuple[np.ndarray, ...], coded: CodedFrame) -> tuple[np.ndarray, ...]:
        """Y, U, V float32 [H, W] and [H/2, W/2], values as in packed pictures -> the same, filtered and clipped."""
        step = np.float32(step_of(coded.q))
        padded = [pad(plane) for plane in planes]
        classes = classify(padded[0], kinds(coded), step)
        done = []
        for index, (plane, weights) in enumerate(zip(padded, self._at(coded.q), strict=True)):
            out = np.empty((plane.shape[0] - 2 * PAD, plane.shape[1] - 2 * PAD), np.float32)
            cell, gain = (CELL // 2, CHROMA_GAIN) if index else (CELL, 1.0)
            bounds = np.array([-128, 127], np.float32) * np.float32(gain)
            _filter(plane, classes, cell, weights, np.array(LIMITS, np.float32) * step, _PAIRS, bounds, out)
            done.append(out)
        return tuple(done)

    def _interpolated(self, q: int) -> tuple[np.ndarray, ...]:
        """Coefficients of Y, U, V at a rate."""
        low, high, share = neighbours(q)
        luma, chroma = self._weights[:, low] * np.float32(1 - share) + self._weights[:, high] * np.float32(share)
        return luma, chroma, chroma


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


def classify(padded: np.ndarray, kind: np.ndarray, step: np.float32) -> np.ndarray:
    """The class of each cell, uint8 as `kind`; from padded luma."""
    classes = np.empty(kind.shape, np.uint8)
    _classify(padded, kind, step, _BUSY, classes)
    return classes


@kernel
def _classify(plane, kind, step, bounds, classes):
    rows, columns = kind.shape
    width = columns * CELL
    sums = np.empty((4, width), np.float32)
    for row in range(rows):
        sums[:] = 0
        for y in range(row * CELL + PAD, row * CELL + PAD + CELL):
            for i, (down, right) in enumerate(((1, 0), (0, 1), (1, 1), (1, -1))):
                here = plane[y, PAD : PAD + width]
                a = plane[y + down, PAD + right : PAD + right + width]
                b = plane[y - down, PAD - right : PAD - right + width]
                _add_second_difference(sums[i], here, a, b)
        for column in range(columns):
            if kind[row, column] == STAYS:
                classes[row, column] = _STAYING
                continue
            part = sums[:, column * CELL : (column + 1) * CELL]
            down, across, falling, rising = part[0].sum(), part[1].sum(), part[2].sum(), part[3].sum()
            activity = (down + across) / (CELL * CELL * step)
            busy = 0
            while busy < len(bounds) and activity >= bounds[busy]:
                busy += 1
            straight = max(down, across) / (min(down, across) + np.float32(0.064))
            slanted = max(falling, rising) / (min(falling, rising) + np.float32(0.064))
            direction = 0
            if straight >= slanted:
                if straight > DIRECTED:
                    direction = 1 if down > across else 2
            elif slanted > DIRECTED:
                direction = 3 if falling > rising else 4
            classes[row, column] = (busy * DIRECTIONS + direction) * 2 + kind[row, column] - MOVED


@kernel
def _add_second_difference(total, here, a, b):
    for x in range(len(total)):
        total[x] += abs(2 * here[x] - a[x] - b[x])


@kernel
def _filter(plane, classes, cell, weights, limits, pairs, bounds, out):
    """The weights of a row of cells are spread over its pixels, so that the loop over x is one of vectors."""
    rows, columns = classes.shape
    width = columns * cell
    spread = np.empty((len(pairs), len(limits), width), np.float32)
    for row in range(rows):
        for column in range(columns):
            mine = weights[classes[row, column]]
            for pair in range(len(pairs)):
                for limit in range(len(limits)):
                    spread[pair, limit, column * cell : (column + 1) * cell] = mine[pair, limit]
        for y in range(row * cell, (row + 1) * cell):
            here, total = plane[y + PAD, PAD : PAD + width], out[y]
            total[:] = here
            for pair in range(len(pairs)):
                down, right = pairs[pair]
                a = plane[y + PAD + down, PAD + right : PAD + right + width]
                b = plane[y + PAD - down, PAD - right : PAD - right + width]
                w = spread[pair]
                _add_pair(total, here, a, b, w[0], w[1], w[2], limits[0], limits[1], limits[2])
            for x in range(width):
                total[x] = min(max(total[x], bounds[0]), bounds[1])


@kernel
def _add_pair(total, here, a, b, w0, w1, w2, l0, l1, l2):
    for x in range(len(total)):
        p, q = a[x] - here[x], b[x] - here[x]
        total[x] += (
            w0[x] * (_clip(p, l0) + _clip(q, l0))
            + w1[x] * (_clip(p, l1) + _clip(q, l1))
            + w2[x] * (_clip(p, l2) + _clip(q, l2))
        )


@kernel
def _clip(value, limit):
    value = value if value < limit else limit
    return value if value > -limit else -limit
