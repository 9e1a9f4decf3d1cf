"""What stands in for the parts of a frame that did not arrive: what the imputer chooses from, and does without.

A missing part of an inter frame moves on as it last moved, changed as its neighbours have, without a residual. A
missing part of an intra frame shows what the last picture shows there, unless the scene is a new one; then its block
means are filled in from around.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lrae.codec.jit import kernel
from lrae.codec.motion_field import LIMIT, MotionField
from lrae.codec.state import CodedFrame, State
from lrae.models.blocks import clip

REACH = 8  # cells: how far vectors are interpolated
LAST_WEIGHT = 0.02  # of the last frame's vector, against 1/distance of the current frame's
ALIKE = 0.25  # how much less a cell counts that last moved otherwise, per squared quarter-pel
TINY = 1e-6  # weight of the last frame's vector where nothing alike is known
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
    if last is None:
        last = np.zeros_like(vectors)
    values = vectors.astype(np.float32) - last
    total, weight = similar(values, np.ascontiguousarray(last), unmoved, REACH)
    return _vectors(last + total / (weight + np.float32(TINY))[..., None], vectors, unmoved)


def guesses(
    vectors: np.ndarray, unmoved: np.ndarray, last: np.ndarray, evidence: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All guesses of motion: (int16 [6, rows, columns, 2]; `evidence`, float32 [rows, columns, n], where `unmoved` that
    of cells around that last moved alike; how much stands behind the nearest cells' and their motion, float32 [2, rows,
    columns])."""
    known = ~unmoved
    vectors = np.where(unmoved[..., None], last, vectors)
    both = np.concatenate((vectors, last), 2)
    total, weight = around(both, known, REACH)
    nearest, before = np.split(total, 2, 2)
    share = 1 / (weight + np.float32(LAST_WEIGHT))[..., None]
    values = np.concatenate((both.astype(np.float32), evidence), 2)
    mean, behind = similar(values, np.ascontiguousarray(last), unmoved, REACH)
    mean += TINY * values
    mean /= (behind + TINY)[..., None]
    alike, alike_before = mean[..., :2], mean[..., 2:4]
    fields = np.stack(
        (
            (nearest + np.float32(LAST_WEIGHT) * last) * share,
            last,
            last + (nearest - before) * share,
            alike,
            last + (alike - alike_before),
            np.zeros_like(last),
        )
    )
    evidence = np.where(unmoved[..., None], mean[..., 4:], evidence)
    return _vectors(fields, vectors, unmoved), evidence, np.stack((weight, behind))


def _vectors(guessed: np.ndarray, vectors: np.ndarray, unmoved: np.ndarray) -> np.ndarray:
    """Fields as they can be coded, guessed where `unmoved`: int16."""
    return np.where(unmoved[..., None], np.rint(guessed).clip(-LIMIT, LIMIT), vectors).astype(np.int16)


@kernel
def similar(values, guide, lost, reach):
    """For every place of bool `lost` the sum of values, float32 [rows, columns, n], of those not lost, at most `reach`
    away: each by how close it is and how much alike is its guide, int16 [rows, columns, 2]; and the sum of these
    weights, float32 (a joint bilateral filter: Petschnigg et al., SIGGRAPH 2004)."""
    rows, columns, count = values.shape
    total, weight = np.zeros(values.shape, np.float32), np.zeros(lost.shape, np.float32)
    for y in range(rows):
        for x in range(columns):
            if not lost[y, x]:
                continue
            a, b = np.float32(guide[y, x, 0]), np.float32(guide[y, x, 1])
            for v in range(max(0, y - reach), min(rows, y + reach + 1)):
                for u in range(max(0, x - reach), min(columns, x + reach + 1)):
                    if lost[v, u]:
                        continue
                    c, d = np.float32(guide[v, u, 0]) - a, np.float32(guide[v, u, 1]) - b
                    away = np.float32((v - y) * (v - y) + (u - x) * (u - x))
                    near = np.float32(1) / ((np.float32(1) + np.float32(ALIKE) * (c * c + d * d)) * away)
                    weight[y, x] += near
                    for n in range(count):
                        total[y, x, n] += near * values[v, u, n]
    return total, weight


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
