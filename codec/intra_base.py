"""The base of an intra frame: the mean of Y, U and V in every 16x16 block, coded in the side information.

Means are predicted from coarse to fine: first every 8th, then half the spacing again and again, each mean from the
known ones around it (integer averages). A pass is one vectorised call of the coder under the level table that fits
it best. From the base alone a smooth picture is shown; latents code what is left.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from lrae.codec.entropy import decode_escapes, encode_escapes
from lrae.codec.range_coding import Categorical, Uniform
from lrae.models.blocks import CHROMA_GAIN
from lrae.models.rates import step_of
from lrae.models.tables import ESCAPE, FREQUENCY_BITS, LEVELS, ClassTables

SPACING = 8
LARGEST = 4095
_DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))
_CROSS = ((-1, 0), (1, 0), (0, -1), (0, 1))


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


@lru_cache(maxsize=16)
def _passes(rows: int, columns: int):
    """[(flat indices [n], neighbours [n,4] as flat indices, present [n,4])] after the first grid."""
    y, x = np.mgrid[:rows, :columns]
    out = []
    spacing = SPACING
    while spacing > 1:
        half = spacing // 2
        odd_y, odd_x = y % spacing == half, x % spacing == half
        even_y, even_x = y % spacing == 0, x % spacing == 0
        for mask, offsets in ((odd_y & odd_x, _DIAGONAL), ((even_y & odd_x) | (odd_y & even_x), _CROSS)):
            where = np.flatnonzero(mask)
            if not len(where):
                continue
            ny = y.flat[where][:, None] + half * np.array([o[0] for o in offsets])
            nx = x.flat[where][:, None] + half * np.array([o[1] for o in offsets])
            present = (ny >= 0) & (ny < rows) & (nx >= 0) & (nx < columns)
            out.append((where, np.where(present, ny * columns + nx, 0), present.astype(np.int64)))
        spacing = half
    return out


def _predict(plane: np.ndarray, neighbours: np.ndarray, present: np.ndarray) -> np.ndarray:
    """The rounded integer mean of the known neighbours; plane flat int64."""
    count = present.sum(1)
    total = (plane[neighbours] * present).sum(1)
    return (2 * total + count) // (2 * count)


def encode(base: np.ndarray, tables: ClassTables, coder) -> None:
    """Append a base int16 [3, rows, columns] to a RangeEncoder."""
    rows, columns = base.shape[1:]
    bits = tables.level_bits()[:-1]
    for plane in base.astype(np.int64):
        first = plane[::SPACING, ::SPACING].ravel()
        _encode_pass(np.diff(first, prepend=0), bits, tables, coder)
        flat = plane.ravel()
        for where, neighbours, present in _passes(rows, columns):
            _encode_pass(flat[where] - _predict(flat, neighbours, present), bits, tables, coder)


def decode(rows: int, columns: int, tables: ClassTables, coder) -> np.ndarray:
    """Read a base int16 [3, rows, columns] from a RangeDecoder; values are kept within ±LARGEST."""
    base = np.zeros((3, rows, columns), np.int64)
    for plane in base:
        shape = plane[::SPACING, ::SPACING].shape
        first = np.cumsum(_decode_pass(shape[0] * shape[1], tables, coder))
        plane[::SPACING, ::SPACING] = np.clip(first, -LARGEST, LARGEST).reshape(shape)
        flat = plane.reshape(-1)
        for where, neighbours, present in _passes(rows, columns):
            value = _decode_pass(len(where), tables, coder) + _predict(flat, neighbours, present)
            flat[where] = np.clip(value, -LARGEST, LARGEST)
    return base.astype(np.int16)


def _encode_pass(levels: np.ndarray, bits: np.ndarray, tables: ClassTables, coder) -> None:
    magnitude = np.minimum(np.abs(levels), bits.shape[1] - 1)
    table = int(bits[:, magnitude].sum(1).argmin())
    coder.encode(np.array([table], np.int32), Uniform(len(bits)))
    large = np.abs(levels) > LEVELS
    symbols = np.where(large, ESCAPE, levels + LEVELS).astype(np.int32)
    coder.encode(symbols, Categorical(tables.frequencies[table] / (1 << FREQUENCY_BITS), perfect=False))
    if large.any():
        encode_escapes(levels[large].astype(np.int32), coder)


def _decode_pass(count: int, tables: ClassTables, coder) -> np.ndarray:
    table = int(coder.decode(Uniform(len(tables.frequencies)), 1)[0])
    model = Categorical(tables.frequencies[table] / (1 << FREQUENCY_BITS), perfect=False)
    symbols = coder.decode(model, count)
    levels = symbols.astype(np.int64) - LEVELS
    escaped = np.flatnonzero(symbols == ESCAPE)
    if len(escaped):
        levels[escaped] = decode_escapes(len(escaped), coder)
    return levels
