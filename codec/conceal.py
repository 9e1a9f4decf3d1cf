"""What stands in for the parts of a frame that did not arrive, before the imputer corrects it.

A missing part of an inter frame moves as its neighbours do, or on as it last moved, without a residual. A missing part
of an intra frame shows what the last picture shows there, unless the scene is a new one; then its block means are
filled in from around.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch

from lrae.codec.motion_field import MotionField
from lrae.codec.state import CodedFrame, State
from lrae.models.blocks import clip

REACH = 8  # cells: how far vectors are interpolated
LAST_WEIGHT = 0.02  # of the last frame's vector, against 1/distance of the current frame's
SAME_SCENE = 100.0  # mean square difference of the parts that arrived from the last picture, grey levels
_NOWHERE = 1 << 20  # a place beyond every picture


def fill(coded: CodedFrame, state: State, impute: str) -> CodedFrame:
    """The frame with motion or base everywhere. missing: as in CodedFrame, not None. impute: of IMPUTE."""
    lost = coded.missing == 1
    if not lost.any():
        return coded
    if coded.intra:
        return replace(coded, base=_spread(coded.base, ~lost))
    last = None if state.motion is None else state.motion.vectors
    if impute in ("zero", "previous"):
        known = np.int16(0) if impute == "zero" or last is None else last
        vectors = np.where(coded.unmoved[..., None], known, coded.motion.vectors)
    else:
        vectors = guess(coded.motion.vectors, coded.unmoved, last)
    return replace(coded, motion=MotionField(vectors, coded.motion.size))


def guess(vectors: np.ndarray, unmoved: np.ndarray, last: np.ndarray | None) -> np.ndarray:
    """Vectors int16 [rows, columns, 2] for the cells where `unmoved`: from the nearest known ones around, and from the
    last frame's (None: no motion)."""
    total, weight = _around(vectors, ~unmoved, REACH)
    weight += LAST_WEIGHT
    if last is not None:
        total += last * np.float32(LAST_WEIGHT)
    return np.where(unmoved[..., None], np.rint(total / weight[..., None]), vectors).astype(np.int16)


def _around(values: np.ndarray, known: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """For every place the nearest known values [rows, columns, n] above, below, left and right, at most `reach` away:
    their sum, each over its distance, and the sum of these weights, float32."""
    total, weight = np.zeros(values.shape, np.float32), np.zeros(known.shape, np.float32)
    for axis in (0, 1):
        for flip in (False, True):
            place, distance = _nearest(known, axis, flip)
            near = np.where(distance <= reach, 1 / np.maximum(distance, 1), 0).astype(np.float32)
            weight += near
            total += near[..., None] * np.take_along_axis(values, place[..., None], axis)
    return total, weight


def bands(rows: np.ndarray, margin: int) -> list[tuple[int, int]]:
    """The stretches (top, bottom) of the places where bool `rows` is true, widened by `margin` and joined."""
    near = cv2.dilate(rows.astype(np.uint8)[:, None], np.ones((2 * margin + 1, 1), np.uint8))[:, 0]
    edges = np.flatnonzero(np.diff(near, prepend=0, append=0)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _nearest(known: np.ndarray, axis: int, flip: bool) -> tuple[np.ndarray, np.ndarray]:
    """Along one axis, in one direction: index of the nearest known cell and its distance (large where none is)."""
    length = known.shape[axis]
    index = np.arange(length).reshape((-1, 1) if axis == 0 else (1, -1))
    if flip:
        place = np.flip(np.minimum.accumulate(np.flip(np.where(known, index, _NOWHERE), axis), axis), axis)
    else:
        place = np.maximum.accumulate(np.where(known, index, -_NOWHERE), axis)
    return np.clip(place, 0, length - 1), np.abs(place - index)


def keep(packed: torch.Tensor, coded: CodedFrame, state: State) -> torch.Tensor:
    """The packed picture of an intra frame, where parts are missing with those of the last picture, if of one scene."""
    lost = coded.missing == 1
    if state.number < 0 or not lost.any():
        return packed
    here = torch.from_numpy(lost.repeat(2, 0).repeat(2, 1)).to(packed.device)
    difference = (clip(packed) - state.packed).square().mean((0, 1))
    if not lost.all() and difference[~here].mean() > SAME_SCENE:
        return packed
    return torch.where(here, state.packed, packed)


def _spread(base: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fill a base int16 [3, rows, columns] from its known places."""
    total, weight = _around(base.transpose(1, 2, 0), known, max(known.shape))
    filled = np.rint(total / np.maximum(weight, 1e-6)[..., None]).transpose(2, 0, 1)
    return np.where(known, base, filled).astype(np.int16)
