"""The guesses of what a lost part shows, and what the imputer sees of them.

    motion that arrived, last motion ─► conceal.guesses() ─► fields ─► pictures ─┐
    where motion did arrive: how far off are the last motion and the last picture ┴► features of every place
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from lrae.codec import conceal
from lrae.codec.impute_kernels import blend, distance, texture
from lrae.codec.motion_field import MotionField
from lrae.codec.warp_kernels import SCRATCH, differs, warp
from lrae.models.blocks import PACKED
from lrae.models.imputer import CONTEXT, GUESSES, PAIRS, SEEN, Imputer


class Look(NamedTuple):
    """cells: float32 [h,w,96], the picture moved by what arrived and, elsewhere, as it last moved. fields: int16
    [GUESSES,h,w,2]. rows: int64 [R], those that the imputer looks at; pictures: float32 [GUESSES,R,w,96], they moved by
    each of the fields; seen: float32 [SEEN,R,w]."""

    cells: np.ndarray
    fields: np.ndarray
    rows: np.ndarray
    pictures: np.ndarray
    seen: np.ndarray

    def blended(self, imputer: Imputer, h: torch.Tensor, unmoved: np.ndarray) -> np.ndarray:
        """`cells` with the imputer's choice where `unmoved`, in place. h: its memory, fp32 [1,M,h/2,w/2]."""
        around = h[:, :, torch.from_numpy(self.rows // 2)].repeat_interleave(2, 3)
        weights = imputer.weights(torch.from_numpy(self.seen)[None], around)[0].contiguous().numpy()
        blend(self.rows, weights, unmoved, self.pictures, self.cells)
        return self.cells


def look(
    picture: np.ndarray, still: np.ndarray, motion: MotionField, unmoved: np.ndarray, last: np.ndarray, q: int
) -> Look:
    """What stands in for the cells where `unmoved`. picture, still: the last one, as State has it and float32
    [h,w,96]; motion: what arrived; last: vectors of the frame before."""
    lines, scratch, other = np.arange(len(unmoved)), np.empty(SCRATCH, np.float32), np.empty_like(unmoved)
    went_on = np.where(unmoved[..., None], last, motion.vectors)
    cells = np.empty((*unmoved.shape, PACKED), np.float32)
    warp(picture, went_on, lines, scratch, cells)

    def moved(vectors: np.ndarray, rows: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Rows of the picture, moved: what differs from `cells`."""
        np.take(cells, rows, 0, out)
        differs(vectors, went_on, other)
        warp(picture, vectors, rows, scratch, out, other)
        return out

    rows = conceal.near(unmoved.any(1), conceal.REACH)
    around, evidence = cells[rows], np.zeros((3, *unmoved.shape), np.float32)
    far = np.empty((3, *around.shape[:2]), np.float32)
    distance(moved(np.ascontiguousarray(last), rows, np.empty_like(around)), around, far[0])
    distance(still[rows], around, far[1])
    far[2] = 0.25 * np.abs(motion.vectors[rows].astype(np.float32) - last[rows]).sum(-1)
    evidence[:, rows] = np.log1p(far)

    fields, evidence, support = conceal.guesses(motion.vectors, unmoved, last, evidence)
    rows = conceal.near(unmoved.any(1), CONTEXT)
    pictures = np.empty((GUESSES, len(rows), *cells.shape[1:]), np.float32)
    for guess in range(GUESSES):
        if guess == conceal.STILL:
            np.take(still, rows, 0, pictures[guess])
        else:
            moved(fields[guess], rows, pictures[guess])

    seen = np.empty((SEEN, len(rows), unmoved.shape[1]), np.float32)
    for index, (a, b) in enumerate(PAIRS):
        distance(pictures[a], pictures[b], seen[index])
    np.log1p(0.25 * seen[: len(PAIRS)], out=seen[: len(PAIRS)])
    rest = seen[len(PAIRS) :]
    texture(pictures[conceal.CHANGE], rest[0])
    rest[0] = np.log1p(np.sqrt(rest[0]) / 8)
    rest[1], rest[2] = support[0][rows], np.log1p(8 * support[1][rows])
    rest[3] = unmoved[rows]
    for index, (a, b) in enumerate(conceal.COMPARED, 4):
        rest[index] = np.log1p(np.abs(fields[a][rows].astype(np.float32) - fields[b][rows]).sum(-1) / 8)
    rest[7] = q / 32
    rest[8:] = evidence[:, rows] / 3
    return Look(cells, fields, rows, pictures, seen)
