"""What stands in for the parts of a frame that did not arrive, before the imputer corrects it.

A missing part of an inter frame moves on as it last moved, without a residual. A missing part of an intra frame shows
what the last picture shows there, unless the scene is a new one; then its block means are filled in from around.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch

from lrae.codec.motion_field import MotionField
from lrae.codec.state import CodedFrame, State
from lrae.models.blocks import unpack

SAME_SCENE = 100.0  # mean square difference of the parts that arrived from the last picture, grey levels


def fill(coded: CodedFrame, state: State) -> CodedFrame:
    """The frame with motion or base everywhere. missing: as in CodedFrame, not None."""
    lost = coded.missing == 1
    if not lost.any():
        return coded
    if coded.intra:
        return replace(coded, base=np.stack([_spread(plane, ~lost) for plane in coded.base]))
    last = np.int16(0) if state.motion is None else state.motion.vectors
    vectors = np.where(coded.unmoved[..., None], last, coded.motion.vectors)
    return replace(coded, motion=MotionField(vectors, coded.motion.size))


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
