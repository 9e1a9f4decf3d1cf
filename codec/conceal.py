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
from lrae.models.blocks import unpack

REACH = 8  # cells: how far vectors are interpolated
LAST_WEIGHT = 0.02  # of the last frame's vector, against 1/distance of the current frame's
SAME_SCENE = 100.0  # mean square difference of the parts that arrived from the last picture, grey levels


def fill(coded: CodedFrame, state: State, impute: str) -> CodedFrame:
    """The frame with motion or base everywhere. missing: as in CodedFrame, not None. impute: of IMPUTE."""
    lost = coded.missing == 1
    if not lost.any():
        return coded
    if coded.intra:
        return replace(coded, base=np.stack([_spread(plane, ~lost) for plane in coded.base]))
    last = None if state.motion is None else state.motion.vectors
    if impute in ("zero", "previous"):
        known = np.int16(0) if impute == "zero" or last is None else last
        vectors = np.where(coded.unmoved[..., None], known, coded.motion.vectors)
    else:
        vectors = guess(coded.motion.vectors, coded.unmoved, last)
    return replace(coded, motion=MotionField(vectors, coded.motion.size))


def guess(vectors: np.ndarray, unmoved: np.ndarray, last: np.ndarray | None) -> np.ndarray:
    """Vectors int16 [rows, columns, 2] for the cells where `unmoved`: from the nearest known ones above, below, left
    and right, and from the last frame's (None: no motion), nearer ones weighing more."""
    weight = np.full(unmoved.shape, LAST_WEIGHT, np.float32)
    total = np.zeros(vectors.shape, np.float32) if last is None else last * np.float32(LAST_WEIGHT)
    for axis in (0, 1):
        for flip in (False, True):
            place, distance = _nearest(~unmoved, axis, flip)
            near = np.where(distance <= REACH, 1 / np.maximum(distance, 1), 0).astype(np.float32)
            weight += near
            total += near[..., None] * np.take_along_axis(vectors, place[..., None], axis)
    return np.where(unmoved[..., None], np.rint(total / weight[..., None]), vectors).astype(np.int16)


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
        place = np.flip(np.minimum.accumulate(np.flip(np.where(known, index, 9 * length), axis), axis), axis)
    else:
        place = np.maximum.accumulate(np.where(known, index, -9 * length), axis)
    return np.clip(place, 0, length - 1), np.abs(place - index)


def keep(result: State, coded: CodedFrame, state: State) -> State:
    """An intra frame whose missing parts show the last picture, where that is of the same scene."""
    lost = coded.missing == 1
    if state.number < 0 or not lost.any():
        return result
    here = torch.from_numpy(lost.repeat(2, 0).repeat(2, 1)).to(result.packed.device)
    difference = (result.packed - state.packed).square().mean((0, 1))
    if not lost.all() and difference[~here].mean() > SAME_SCENE:
        return result
    packed = torch.where(here, state.packed, result.packed)
    planes = unpack(packed)
    luma = (planes[0][0, 0] + 0.5).clamp_(max=255).to(torch.uint8).cpu().numpy()
    return replace(result, packed=packed, planes=planes, luma=luma)


def _spread(plane: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fill a plane [rows, columns] from its known places: means of ever larger squares where nothing smaller knows."""
    total, count = np.where(known, plane, 0).astype(np.float32), known.astype(np.float32)
    out, done = total.copy(), known.copy()
    while not done.all() and known.any():
        total, count = (cv2.blur(a, (5, 5), borderType=cv2.BORDER_CONSTANT) for a in (total, count))
        new = ~done & (count > 1e-6)
        out[new] = total[new] / count[new]
        done |= new
    return np.rint(out).astype(np.int16)
