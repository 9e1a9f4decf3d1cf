"""The base of an intra frame: the mean of Y, U and V in every 16x16 block, coded in the side information.

Means are predicted from coarse to fine: first every 8th, then half the spacing again and again, each mean from the
known ones around it (integer averages). A pass is coded under the level table that fits it best. From the base alone
a smooth picture is shown; latents code what is left.
"""

from __future__ import annotations

from functools import lru_cache

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
_DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))
_CROSS = ((-1, 0), (1, 0), (0, -1), (0, 1))
_READING = np.empty((0, 0), np.float32)  # the lengths for one who does not choose


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


@lru_cache(maxsize=64)
def _schedule(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """In coding order, int64: flat places [n], those of the means that predict them [n, 4] (−1: none), and the bounds
    of the passes."""
    y, x = np.mgrid[:rows, :columns]
    grid = np.flatnonzero((y % SPACING == 0) & (x % SPACING == 0))
    places, around = [grid], [np.stack([np.append(-1, grid[:-1]), *[np.full(len(grid), -1)] * 3], 1)]
    spacing = SPACING
    while spacing > 1:
        half = spacing // 2
        odd_y, odd_x = y % spacing == half, x % spacing == half
        even_y, even_x = y % spacing == 0, x % spacing == 0
        for mask, offsets in ((odd_y & odd_x, _DIAGONAL), ((even_y & odd_x) | (odd_y & even_x), _CROSS)):
            where = np.flatnonzero(mask)
            down, right = half * np.array(offsets).T
            ny, nx = y.flat[where][:, None] + down, x.flat[where][:, None] + right
            present = (ny >= 0) & (ny < rows) & (nx >= 0) & (nx < columns)
            if len(where):
                places.append(where)
                around.append(np.where(present, ny * columns + nx, -1))
        spacing = half
    return np.concatenate(places), np.concatenate(around), np.cumsum([0, *map(len, places)])


@lru_cache(maxsize=8)
def _lengths(tables: ClassTables) -> np.ndarray:
    """Bits float32 [magnitude, table] of levels."""
    return np.ascontiguousarray(tables.level_bits()[:-1].T)


def encode(base: np.ndarray, tables: ClassTables, coder: RangeEncoder) -> None:
    """Append a base int16 [3, rows, columns]."""
    coder.room(2 * base.size + 32 * len(base))
    schedule = _schedule(*base.shape[1:])
    _walk(coder.state, coder.data, base.reshape(3, -1), *schedule, tables.level_sums, _lengths(tables))


def decode(rows: int, columns: int, tables: ClassTables, coder: RangeDecoder) -> np.ndarray:
    """Read a base int16 [3, rows, columns]; values are kept within ±LARGEST."""
    base = np.zeros((3, rows * columns), np.int16)
    _walk(coder.state, coder.data, base, *_schedule(rows, columns), tables.level_sums, _READING)
    return base.reshape(3, rows, columns)


@kernel
def _walk(state, data, base, places, around, bounds, table, lengths):
    """Code a base, both ways: its means are appended, or filled in."""
    reading = len(lengths) == 0
    for plane in base:
        for index in range(len(bounds) - 1):
            here, last = bounds[index], bounds[index + 1]
            if reading:
                row = table[get_uniform(state, data, len(table))]
            else:
                chosen = _best(plane, places, around, here, last, lengths)
                put_uniform(state, data, chosen, len(table))
                row = table[chosen]
            for each in range(here, last):
                expected = _expected(plane, around[each])
                if reading:
                    plane[places[each]] = min(max(expected + get_level(state, data, row), -LARGEST), LARGEST)
                else:
                    put_level(state, data, row, plane[places[each]] - expected)


@kernel
def _best(plane, places, around, here, last, lengths):
    """The table under which one pass takes the fewest bits."""
    total = np.zeros(lengths.shape[1], np.float32)
    for each in range(here, last):
        level = abs(plane[places[each]] - _expected(plane, around[each]))
        for table in range(len(total)):
            total[table] += lengths[min(level, len(lengths) - 1), table]
    best = 0
    for table in range(len(total)):
        if total[table] < total[best]:
            best = table
    return best


@kernel
def _expected(plane, around):
    """The rounded mean of the known means around."""
    total = count = 0
    for place in around:
        if place >= 0:
            total += plane[place]
            count += 1
    return (2 * total + count) // (2 * count) if count else 0
