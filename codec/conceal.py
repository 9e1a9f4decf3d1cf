"""What stands in for the parts of a frame that did not arrive: what the imputer chooses from, and does without.

A missing part of an inter frame moves on as it last moved, changed as its neighbours have, without a residual. A
missing part of an intra frame shows what the last picture shows there, unless the scene is a new one; then its block
means are filled in from around.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lrae.codec.jit import inline, kernel
from lrae.codec.lanes import WIDE, floats, load, splat, store
from lrae.codec.motion_field import LIMIT, MotionField
from lrae.codec.state import CodedFrame, State
from lrae.models.blocks import clip

REACH = 8  # cells: how far vectors are interpolated
LAST_WEIGHT = 0.02  # of the last frame's vector, against 1/distance of the current frame's
ALIKE = 0.25  # how much less a cell counts that last moved otherwise, per squared quarter-pel
TINY = 1e-12  # sum of weights where nothing is known
WEIGHT = WIDE - 1  # place of the sum of weights among the values of similar()
SAME_SCENE = 100.0  # mean square difference of the parts that arrived from the last picture, grey levels
# guesses of lost motion: the nearest cells' around, as it last was, that and the nearest cells' change, the motion of
# cells around that last moved alike, the last and their change, none at all
NEAREST, LAST, NEAREST_CHANGE, SIMILAR, CHANGE, STILL = range(6)
COMPARED = (NEAREST, LAST), (LAST, CHANGE), (SIMILAR, CHANGE)


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
    """Vectors int16 [rows, columns, 2] for the cells where `unmoved`: the best single guess, which is the last frame's
    motion (None: no motion) and what has changed for cells around that last moved alike."""
    last = np.zeros_like(vectors) if last is None else np.ascontiguousarray(last)
    values = np.zeros((*unmoved.shape, WIDE), np.float32)
    values[..., :2], values[..., 2:4], values[..., WEIGHT] = vectors, last, 1
    mean = similar(values, last, unmoved, REACH)
    out = vectors.astype(np.int16)
    change(mean, last, unmoved, out)
    return out


def guesses(
    vectors: np.ndarray, unmoved: np.ndarray, last: np.ndarray, evidence: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All guesses of motion: (int16 [6, rows, columns, 2]; `evidence`, float32 [3, rows, columns], where `unmoved` that
    of cells around that last moved alike; how much stands behind the nearest cells' and their motion, float32 [2, rows,
    columns])."""
    last = np.ascontiguousarray(last)
    values = np.empty((*unmoved.shape, WIDE), np.float32)
    values[..., :2], values[..., 2:4], values[..., WEIGHT] = vectors, last, 1
    values[..., 4:WEIGHT] = evidence.transpose(1, 2, 0)
    mean = similar(values, last, unmoved, REACH)
    nearest, weight = around(np.concatenate((vectors, last), 2), ~unmoved, REACH)
    fields = np.empty((6, *vectors.shape), np.int16)
    fields[:] = vectors
    put(mean, nearest, weight, last, unmoved, fields)
    change(mean, last, unmoved, fields[CHANGE])
    seen = np.where(unmoved, mean[..., 4:WEIGHT].transpose(2, 0, 1), evidence)
    return fields, seen, np.stack((weight, mean[..., WEIGHT]))


@kernel
def put(mean, nearest, weight, last, unmoved, fields):
    """Every guess but CHANGE where `unmoved`. mean: of similar(); nearest, weight: of around(), of vectors and last."""
    for y in range(unmoved.shape[0]):
        for x in range(unmoved.shape[1]):
            if not unmoved[y, x]:
                continue
            share = 1 / (weight[y, x] + np.float32(LAST_WEIGHT))
            for n in range(2):
                before = np.float32(last[y, x, n])
                total = nearest[y, x, n]
                fields[LAST, y, x, n], fields[STILL, y, x, n] = last[y, x, n], 0
                fields[NEAREST, y, x, n] = _vector((total + np.float32(LAST_WEIGHT) * before) * share)
                fields[NEAREST_CHANGE, y, x, n] = _vector(before + (total - nearest[y, x, n + 2]) * share)
                known = mean[y, x, WEIGHT] > 0
                fields[SIMILAR, y, x, n] = _vector(mean[y, x, n]) if known else last[y, x, n]


@kernel
def change(mean, last, unmoved, out):
    """Where `unmoved`: the last vectors and what has changed for cells around that last moved alike."""
    for y in range(unmoved.shape[0]):
        for x in range(unmoved.shape[1]):
            if unmoved[y, x]:
                for n in range(2):
                    out[y, x, n] = _vector(np.float32(last[y, x, n]) + mean[y, x, n] - mean[y, x, n + 2])


@inline
def _vector(value):
    """As it can be coded."""
    return min(max(np.rint(value), -LIMIT), LIMIT)


@kernel
def similar(values, guide, lost, reach):
    """For every place of bool `lost` the mean of values, float32 [rows, columns, WIDE], of every other one not lost, at
    most `reach` away: each by how close it is and how much alike is its guide, int16 [rows, columns, 2] (a joint
    bilateral filter: Petschnigg et al., SIGGRAPH 2004). The last value is 1 where known; of the mean it is the sum of
    weights."""
    rows, columns = lost.shape
    out = np.zeros(values.shape, np.float32)
    source, target = floats(values), floats(out)
    for y in range(rows):
        for x in range(columns):
            if not lost[y, x]:
                continue
            to = (y * columns + x) * WIDE
            a, b, total = np.float32(guide[y, x, 0]), np.float32(guide[y, x, 1]), splat(np.float32(0))
            for v in range(max(0, y - reach), min(rows, y + reach + 1)):
                left = max(0, x - reach)
                for u in range(left + ((left + v + y + x) & 1), min(columns, x + reach + 1), 2):
                    if lost[v, u]:
                        continue
                    c, d = np.float32(guide[v, u, 0]) - a, np.float32(guide[v, u, 1]) - b
                    away = np.float32((v - y) * (v - y) + (u - x) * (u - x))
                    near = np.float32(1) / ((np.float32(1) + np.float32(ALIKE) * (c * c + d * d)) * away)
                    total += splat(near) * load(source, (v * columns + u) * WIDE)
            store(total, target, to)
            weight = out[y, x, WIDE - 1]
            for n in range(WIDE - 1):
                out[y, x, n] /= max(weight, np.float32(TINY))
    return out


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
