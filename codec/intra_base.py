"""The base of an intra frame: the mean of Y, U and V in every 16x16 block, coded in the side information.

Means are predicted from coarse to fine: first every 8th, then half the spacing again and again, each mean from the
known ones around it (integer averages). A pass is coded under the level table that fits it best. From the base alone
a smooth picture is shown; latents code what is left.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from lrae.codec.entropy import get_level, put_level
from lrae.codec.jit import kernel
from lrae.codec.range_coder import RangeDecoder, RangeEncoder, get_uniform, put_uniform
from lrae.models.blocks import CHROMA_GAIN
from lrae.models.rates import step_of
from lrae.models.tables import ClassTables

SPACING = 8
LARGEST = 4095
_GRID, _DIAGONAL, _CROSS = range(3)  # passes: the widest grid, the centres of its squares, the middles of their sides


def steps(q: int) -> np.ndarray:
    """Quantiser steps of the means of Y, U, V in grey levels: that of their orthonormal DC coefficient."""
    step = step_of(q)
    return np.array([step / 16, step / (8 * CHROMA_GAIN), step / (8 * CHROMA_GAIN)], np.float32)


def quantise(y: np.ndarray, u: np.ndarray, v: np.ndarray, q: int) -> np.ndarray:
    """Planes uint8 y [H,W], u and v [H/2,W/2], H and W multiples of 16 -> base int16 [3, H/16, W/16]."""
    means = []
    for plane, side in ((y, 16), (u, 8), (v, 8)):
        rows, columns = plane.shape[0] // side, plane.shape[1] // side
        means.append(plane.reshape(rows, side, columns, side).mean((1, 3), dtype=np.float32) - 128)
    return np.rint(np.stack(means) / steps(q)[:, None, None]).astype(np.int16)


def picture(means: torch.Tensor) -> torch.Tensor:
    """means fp32 [B,3,h,w] of Y, U, V, grey levels minus 128 -> smooth packed picture [B,96,2h,2w] with them."""
    out = []
    for channel, side, gain in ((0, 16, 1.0), (1, 8, CHROMA_GAIN), (2, 8, CHROMA_GAIN)):
        mean = means[:, channel : channel + 1] * gain
        smooth = F.interpolate(mean, scale_factor=side, mode="bilinear", align_corners=False)
        mean = mean - F.avg_pool2d(smooth, side)
        smooth = smooth + F.interpolate(mean, scale_factor=side, mode="nearest")
        out.append(F.pixel_unshuffle(smooth, side // 2))
    return torch.cat(out, 1)


def encode(base: np.ndarray, tables: ClassTables, coder: RangeEncoder) -> None:
    """Append a base int16 [3, rows, columns]."""
    coder.room(2 * base.size + 32 * len(base))
    _walk(coder.state, coder.data, base, tables.level_sums, tables.level_bits()[:-1], False)


def decode(rows: int, columns: int, tables: ClassTables, coder: RangeDecoder) -> np.ndarray:
    """Read a base int16 [3, rows, columns]; values are kept within ±LARGEST."""
    base = np.zeros((3, rows, columns), np.int16)
    _walk(coder.state, coder.data, base, tables.level_sums, np.empty((0, 0), np.float32), True)
    return base


@kernel
def _walk(state, data, base, table, bits, reading):
    """Code a base, both ways: its means are appended, or filled in."""
    for plane in base:
        _pass(state, data, plane, _GRID, SPACING, table, bits, reading)
        half = SPACING // 2
        while half:
            for order in (_DIAGONAL, _CROSS):
                _pass(state, data, plane, order, half, table, bits, reading)
            half //= 2


@kernel
def _pass(state, data, plane, order, step, table, bits, reading):
    """Code what one pass visits: in _GRID every step-th mean, in the others those halfway between known ones."""
    rows, columns = plane.shape
    first, spacing = (step, 2 * step) if order == _DIAGONAL else (0, step)
    if (order == _DIAGONAL and min(rows, columns) <= step) or (order == _CROSS and max(rows, columns) <= step):
        return
    chosen = get_uniform(state, data, len(table)) if reading else 0
    for writing in range(1 if reading else 2):
        length = np.zeros(len(bits))
        last = 0
        for y in range(first, rows, spacing):
            odd = order == _CROSS and y // step % 2 == 0
            for x in range(step if odd else first, columns, spacing if order == _GRID else 2 * step):
                expected = last if order == _GRID else _expected(plane, y, x, step, order)
                if reading:
                    value = expected + get_level(state, data, table[chosen])
                    plane[y, x] = min(max(value, -LARGEST), LARGEST)
                elif writing:
                    put_level(state, data, table[chosen], plane[y, x] - expected)
                else:
                    size = min(abs(plane[y, x] - expected), bits.shape[1] - 1)
                    for each in range(len(bits)):
                        length[each] += bits[each, size]
                last = np.int64(plane[y, x])
        if not reading and not writing:
            chosen = length.argmin()
            put_uniform(state, data, chosen, len(table))


@kernel
def _expected(plane, y, x, step, order):
    """The rounded mean of the known means around."""
    rows, columns = plane.shape
    total = count = 0
    for index in range(4):
        side = 2 * (index & 1) - 1
        if order == _DIAGONAL:
            down, right = 2 * (index >> 1) - 1, side
        else:
            down, right = (side, 0) if index < 2 else (0, side)
        if 0 <= y + down * step < rows and 0 <= x + right * step < columns:
            total += plane[y + down * step, x + right * step]
            count += 1
    return (2 * total + count) // (2 * count)
