"""A block motion field, the same in encoder and decoder.

Overlapped block motion compensation of a picture by a field: a pixel is the weighted sum of three samples: by its own
cell's vector (bicubic, a = -0.75), and by the vectors of the next cell above or below and to the left or right,
whichever is nearer (bilinear). The border is repeated. codec/warp_kernels.py does it, and warp_torch() of
codec/reconstruct.py for batches and on a GPU.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

CELL = 8  # pixels: the grid of a field and its smallest leaf
LEVELS = 4  # leaf sizes 8, 16, 32, 64
LIMIT = 255  # quarter-pel: +-63.75 px


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


def dense(field: MotionField, cell: int = CELL) -> np.ndarray:
    """Per-pixel displacement, float32 [H, W, 2] in pixels of a plane whose cells have `cell` pixels (luma 8, chroma 4):
    every cell's own vector."""
    rows, columns = field.size.shape
    vectors = field.vectors * np.float32(0.25 * cell / CELL)
    return cv2.resize(vectors, (columns * cell, rows * cell), interpolation=cv2.INTER_NEAREST)


def chroma(displacement: np.ndarray) -> np.ndarray:
    """The displacement of the half-size planes from that of luma, [H, W, 2] -> [H/2, W/2, 2]: dense(field, 4)."""
    return displacement[::2, ::2] * np.float32(0.5)


@functools.lru_cache(maxsize=16)
def overlap(side: int, cell: int) -> tuple[np.ndarray, np.ndarray]:
    """Along one axis: whose vector the overlapping neighbour's is, int [side]: a place half a cell away, across
    the nearer edge; and its weight, float32 [side] (H.263 Annex F: 1/4 at the edge, 1/8 at the centre).
    """
    place = np.arange(side)
    inside = place % cell
    other = place + np.where(inside < cell // 2, -(cell // 2), cell // 2)
    edge = np.minimum(inside, cell - 1 - inside)
    weight = np.where(edge < cell // 4, 0.25, 0.125).astype(np.float32)
    return np.clip(other, 0, side - 1), weight
