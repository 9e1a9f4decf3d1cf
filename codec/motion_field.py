"""A block motion field: its value, its smooth upsampling, and the warp; the same in encoder and decoder."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

CELL = 8  # pixels: the grid of a field and its smallest leaf
LEVELS = 4  # leaf sizes 8, 16, 32, 64
LIMIT = 255  # quarter-pel: +-63.75 px
SUBPEL = 32  # dense fields are multiples of 1/32 px: what cv2.remap resolves, so every warp agrees


@dataclass(frozen=True, eq=False)
class MotionField:
    """vectors: int16 [H/8, W/8, 2] (dx, dy), quarter-pel: pixel p is predicted from p + v/4 of the reference.
    size: uint8 [H/8, W/8], log2 of the side of the leaf a cell belongs to (3..6).
    """

    vectors: np.ndarray
    size: np.ndarray

    @classmethod
    def still(cls, height: int, width: int) -> MotionField:
        """No motion anywhere, in the largest leaves. height, width: pixels, multiples of 16."""
        cells = height // CELL, width // CELL
        return cls(np.zeros((*cells, 2), np.int16), np.full(cells, 6, np.uint8))


def dense(field: MotionField) -> np.ndarray:
    """Per-pixel displacement, float32 [H, W, 2] in pixels: bilinear between cell centres, in 1/32 px."""
    rows, columns = field.size.shape
    return upsample(field.vectors, columns * CELL, rows * CELL)


def upsample(vectors: np.ndarray, width: int, height: int) -> np.ndarray:
    """dense() of bare vectors, integers [H/8, W/8, 2] in quarter-pel."""
    smooth = cv2.resize(vectors.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    smooth *= SUBPEL / 4  # exact: weights are multiples of 1/256
    np.rint(smooth, out=smooth)
    smooth *= 1 / SUBPEL
    return smooth


def chroma(displacement: np.ndarray) -> np.ndarray:
    """The dense field of the half-size planes: 2x2 mean, halved, in 1/32 px. [H, W, 2] -> [H/2, W/2, 2]."""
    height, width = displacement.shape[:2]
    half = cv2.resize(displacement, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.rint(half * (SUBPEL / 2)) * np.float32(1 / SUBPEL)


_grids: dict[tuple[int, int], np.ndarray] = {}


def _grid(height: int, width: int) -> np.ndarray:
    """Pixel coordinates (x, y), float32 [H, W, 2]; kept for the last few sizes."""
    key = height, width
    if key not in _grids:
        if len(_grids) > 8:
            _grids.clear()
        _grids[key] = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    return _grids[key]


def warp(plane: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """plane [H, W] (float32 or uint8) sampled bilinearly at p + displacement(p); the border is repeated."""
    where = displacement + _grid(*plane.shape)
    return cv2.remap(plane, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
