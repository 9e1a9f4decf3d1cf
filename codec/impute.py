"""The guesses of what a lost part shows, and what the imputer sees of them.

    motion that arrived, last motion ─► conceal.guesses() ─► fields ─► pictures ─┐
    where motion did arrive: how far off are the last motion and the last picture ┴► features of every place
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from lrae.codec import conceal
from lrae.codec.impute_kernels import blend, distances, fares, texture
from lrae.codec.motion_field import MotionField
from lrae.codec.warp_kernels import SCRATCH, warp, warp_all
from lrae.models.blocks import PACKED
from lrae.models.imputer import CONTEXT, GUESSES, PAIRS, SEEN, Imputer


class Look(NamedTuple):
    """cells: float32 [h,w,96], the picture moved by what arrived and, elsewhere, as it last moved. fields: int16
    [GUESSES,h,w,2]. lost: int64 [L], the rows with places where no motion arrived; pictures: float32 [GUESSES,L,w,96],
    they moved by each of the fields; rows: int64 [R], those that the imputer looks at; seen: float32 [SEEN,R,w]."""

    cells: np.ndarray
    fields: np.ndarray
    lost: np.ndarray
    pictures: np.ndarray
    rows: np.ndarray
    seen: np.ndarray

    def blended(self, imputer: Imputer, h: torch.Tensor, unmoved: np.ndarray) -> np.ndarray:
        """`cells` with the imputer's choice where `unmoved`, in place. h: its memory, fp32 [1,M,h/2,w/2]."""
        around = torch.from_numpy(h[0].numpy()[:, self.rows // 2].repeat(2, 2))
        weights = imputer.weights(torch.from_numpy(self.seen)[None], around[None])[0].numpy()
        inner = np.searchsorted(self.rows, self.lost)
        blend(self.lost, np.ascontiguousarray(weights[:, inner]), unmoved, self.pictures, self.cells)
        return self.cells


def look(
    picture: np.ndarray, still: np.ndarray, motion: MotionField, unmoved: np.ndarray, last: np.ndarray, q: int
) -> Look:
    """What stands in for the cells where `unmoved`. picture, still: the last one, as State has it and float32
    [h,w,96]; motion: what arrived; last: vectors of the frame before."""
    lines, scratch, last = np.arange(len(unmoved)), np.empty(SCRATCH, np.float32), np.ascontiguousarray(last)
    cells = np.empty((*unmoved.shape, PACKED), np.float32)
    warp(picture, np.where(unmoved[..., None], last, motion.vectors), lines, scratch, cells)

    lost = unmoved.any(1)
    evidence = np.zeros((3, *unmoved.shape), np.float32)
    fares(picture, np.ascontiguousarray(motion.vectors), last, unmoved, conceal.near(lost, conceal.REACH), evidence)
    np.log1p(evidence, out=evidence)
    fields, evidence, support = conceal.guesses(motion.vectors, unmoved, last, evidence)
    rows, lost = conceal.near(lost, CONTEXT), np.flatnonzero(lost)
    pictures = np.empty((GUESSES, len(lost), *cells.shape[1:]), np.float32)
    warp_all(picture, fields, cells, conceal.LAST, still, lost, scratch, pictures)

    seen = np.zeros((SEEN, len(rows), unmoved.shape[1]), np.float32)
    apart = np.empty((len(PAIRS), *pictures.shape[1:3]), np.float32)
    distances(pictures, np.array(PAIRS), apart)
    inner, rest = np.searchsorted(rows, lost), seen[len(PAIRS) :]
    seen[: len(PAIRS), inner] = np.log1p(0.25 * apart)
    texture(cells, rows, rest[0])
    rest[0] = np.log1p(np.sqrt(rest[0]) / 8)
    rest[1], rest[2] = support[0][rows], np.log1p(8 * support[1][rows])
    rest[3] = unmoved[rows]
    for index, (a, b) in enumerate(conceal.COMPARED, 4):
        rest[index, inner] = np.log1p(np.abs(fields[a, lost] - fields[b, lost]).sum(-1, dtype=np.float32) / 8)
    rest[7] = q / 32
    rest[8:] = evidence[:, rows] / 3
    return Look(cells, fields, lost, pictures, rows, seen)
