"""What stands in for the parts of a frame that did not arrive, before the imputer corrects it.

A missing part of an inter frame moves as its neighbours do, or on as it last moved, without a residual. A missing part
of an intra frame shows what the last picture shows there, unless the scene is a new one; then its block means are
filled in from around.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lrae.codec.jit import kernel
from lrae.codec.motion_field import MotionField
from lrae.codec.state import CodedFrame, State
from lrae.models.blocks import clip

REACH = 8  # cells: how far vectors are interpolated
LAST_WEIGHT = 0.02  # of the last frame's vector, against 1/distance of the current frame's
SAME_SCENE = 100.0  # mean square difference of the parts that arrived from the last picture, grey levels


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
    total, weight = around(np.ascontiguousarray(vectors), ~unmoved, REACH)
    weight += LAST_WEIGHT
    if last is not None:
        total += last * np.float32(LAST_WEIGHT)
    return np.where(unmoved[..., None], np.rint(total / weight[..., None]), vectors).astype(np.int16)


@kernel
def around(values, known, reach):
    """For every place that is not known the nearest known values, int16 [rows, columns, n], above, below, to the left
    and to the right, at most `reach` away: their sum, each over its distance, and the sum of these weights, float32.
    """
    rows, columns, count = values.shape
    total, weight = np.zeros(values.shape, np.float32), np.zeros(known.shape, np.float32)
    for y in range(rows):
        for x in range(columns):
            if known[y, x]:
                continue
            for down, across in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                v, u = y, x
                for distance in range(1, reach + 1):
                    v, u = v + down, u + across
                    if not (0 <= v < rows and 0 <= u < columns):
                        break
                    if known[v, u]:
                        near = np.float32(1 / distance)
                        weight[y, x] += near
                        for n in range(count):
                            total[y, x, n] += near * np.float32(values[v, u, n])
                        break
    return total, weight


def near(rows: np.ndarray, margin: int) -> np.ndarray:
    """The indices of the places at most `margin` from one where bool `rows` is true, int64."""
    return np.flatnonzero(np.convolve(rows, np.ones(2 * margin + 1))[margin : margin + len(rows)])


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
    total, weight = around(np.ascontiguousarray(base.transpose(1, 2, 0)), known, max(known.shape))
    filled = np.rint(total / np.maximum(weight, 1e-6)[..., None]).transpose(2, 0, 1)
    return np.where(known, base, filled).astype(np.int16)
