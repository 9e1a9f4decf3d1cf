"""From levels to the picture, compiled: inverse transform, and packed pictures as planes."""

from __future__ import annotations

import numpy as np

from lrae.codec.jit import kernel
from lrae.models.blocks import CHROMA_GAIN, COEFFICIENTS, PACKED
from lrae.models.tables import CHANNELS, CLASSES, TRANSFORMS

WIDE = 8
AREA = WIDE * WIDE
GROUP = 4  # levels that are looked at together
LOW, HIGH = np.float32(-128), np.float32(127)  # of luma minus 128
GAIN, ZERO, HALF = np.float32(CHROMA_GAIN), np.float32(0), np.float32(0.5)


@kernel
def add_residual(levels, groups, classes, points, step, basis, packed, activity):
    """Add what levels stand for to a packed picture.

    levels: int16 [N, CHANNELS]; groups: the same as int64 [N, CHANNELS / GROUP]; classes: uint8 [N]; points: float32
    [CLASSES, CHANNELS, 2], how far levels 1 and larger ones lie towards zero; step: float32, grey levels; basis:
    float32 [TRANSFORMS, CHANNELS, COEFFICIENTS], coefficients in the order of blocks.CORNERS; packed: float32
    [h, w, PACKED], 4 N places; activity: float32 [N] takes the mean magnitude of what was added.
    """
    columns, pair = packed.shape[1] // 2, 2 * PACKED
    block = np.empty(COEFFICIENTS, np.float32)
    for n in range(len(levels)):
        k, busy = classes[n] % CLASSES, False
        for group in range(CHANNELS // GROUP):
            if groups[n, group] == 0:
                continue
            if not busy:
                busy, block[:] = True, ZERO
            for channel in range(GROUP * group, GROUP * group + GROUP):
                level = levels[n, channel]
                if level == 0:
                    continue
                point = points[k, channel, 0 if abs(level) == 1 else 1]
                value = step * (np.float32(level) - (point if level > 0 else -point))
                vector = basis[k % TRANSFORMS, channel]
                for i in range(COEFFICIENTS):
                    block[i] += value * vector[i]
        activity[n] = ZERO
        if busy:
            row, column = 2 * (n // columns), 2 * (n % columns)
            total = ZERO
            for i in range(PACKED):
                upper = abs(block[i]) + abs(block[i + PACKED])
                total += upper + (abs(block[i + pair]) + abs(block[i + pair + PACKED]))
            activity[n] = total / np.float32(COEFFICIENTS)
            for y in range(2):
                for x in range(2):
                    place, part = packed[row + y, column + x], block[y * pair + x * PACKED :]
                    for i in range(PACKED):
                        place[i] += part[i]


@kernel
def show(packed, picture, luma):
    """Clip a packed picture, float32 [h, w, PACKED], to what 8 bits can show; write it as planes and its luma as bytes.

    picture: float32 [12 h, 8 w], as State has it; luma: uint8 [8 h, 8 w].
    """
    lines, columns = packed.shape[:2]
    for row in range(lines):
        for column in range(columns):
            cell = packed[row, column]
            for i in range(AREA):
                cell[i] = min(max(cell[i], LOW), HIGH)
            for i in range(AREA, PACKED):
                cell[i] = min(max(cell[i], LOW * GAIN), HIGH * GAIN)
            for r in range(WIDE):
                for i in range(WIDE):
                    picture[WIDE * row + r, WIDE * column + i] = cell[WIDE * r + i]
            for r in range(WIDE // 2):
                for i in range(WIDE // 2):
                    x = WIDE * column + 2 * i
                    picture[WIDE * lines + WIDE // 2 * row + r, x] = cell[AREA + WIDE // 2 * r + i]
                    picture[WIDE * lines + WIDE // 2 * row + r, x + 1] = cell[AREA + AREA // 4 + WIDE // 2 * r + i]
        for y in range(WIDE * row, WIDE * row + WIDE):
            for x in range(WIDE * columns):
                luma[y, x] = np.uint8(picture[y, x] - LOW + HALF)
