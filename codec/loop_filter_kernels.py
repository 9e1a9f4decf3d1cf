"""Compiled loops of the loop filter. Loops over x run over whole rows: shorter ones are not turned into vectors."""

from __future__ import annotations

import numpy as np

from lrae.codec.jit import kernel
from lrae.codec.motion_field import CELL

PAD = 2
STAYING = 255
DIRECTED = 2.0  # the larger second difference over the smaller, from which a cell has a direction
DIRECTIONS = 5


@kernel
def classify_cells(plane, kind, step, bounds, classes):
    rows, columns = kind.shape
    width = columns * CELL
    sums = np.empty((4, width), np.float32)
    for row in range(rows):
        sums[:] = 0
        for y in range(row * CELL + PAD, row * CELL + PAD + CELL):
            for i, (down, right) in enumerate(((1, 0), (0, 1), (1, 1), (1, -1))):
                here = plane[y, PAD : PAD + width]
                a = plane[y + down, PAD + right : PAD + right + width]
                b = plane[y - down, PAD - right : PAD - right + width]
                _add_second_difference(sums[i], here, a, b)
        for column in range(columns):
            if kind[row, column] == 0:
                classes[row, column] = STAYING
                continue
            part = sums[:, column * CELL : (column + 1) * CELL]
            down, across, falling, rising = part[0].sum(), part[1].sum(), part[2].sum(), part[3].sum()
            activity = (down + across) / (CELL * CELL * step)
            busy = 0
            while busy < len(bounds) and activity >= bounds[busy]:
                busy += 1
            straight = max(down, across) / (min(down, across) + np.float32(0.064))
            slanted = max(falling, rising) / (min(falling, rising) + np.float32(0.064))
            direction = 0
            if straight >= slanted:
                if straight > DIRECTED:
                    direction = 1 if down > across else 2
            elif slanted > DIRECTED:
                direction = 3 if falling > rising else 4
            classes[row, column] = (busy * DIRECTIONS + direction) * 2 + kind[row, column] - 1


@kernel
def _add_second_difference(total, here, a, b):
    for x in range(len(total)):
        total[x] += abs(2 * here[x] - a[x] - b[x])


@kernel
def apply(plane, classes, cell, weights, limits, pairs, bounds, out):
    """The weights of a row of cells are spread over its pixels, so that the loop over x is one of vectors."""
    rows, columns = classes.shape
    width = columns * cell
    spread = np.empty((len(pairs), len(limits), width), np.float32)
    for row in range(rows):
        for column in range(columns):
            mine = weights[classes[row, column]]
            for pair in range(len(pairs)):
                for limit in range(len(limits)):
                    spread[pair, limit, column * cell : (column + 1) * cell] = mine[pair, limit]
        for y in range(row * cell, (row + 1) * cell):
            here, total = plane[y + PAD, PAD : PAD + width], out[y]
            total[:] = here
            for pair in range(len(pairs)):
                down, right = pairs[pair]
                a = plane[y + PAD + down, PAD + right : PAD + right + width]
                b = plane[y + PAD - down, PAD - right : PAD - right + width]
                w = spread[pair]
                _add_pair(total, here, a, b, w[0], w[1], w[2], limits[0], limits[1], limits[2])
            for x in range(width):
                total[x] = min(max(total[x], bounds[0]), bounds[1])


@kernel
def _add_pair(total, here, a, b, w0, w1, w2, l0, l1, l2):
    for x in range(len(total)):
        p, q = a[x] - here[x], b[x] - here[x]
        total[x] += (
            w0[x] * (_clip(p, l0) + _clip(q, l0))
            + w1[x] * (_clip(p, l1) + _clip(q, l1))
            + w2[x] * (_clip(p, l2) + _clip(q, l2))
        )


@kernel
def _clip(value, limit):
    value = value if value < limit else limit
    return value if value > -limit else -limit


@kernel
def add_errors(plane, source, gain, side, errors):
    """Add the squared errors of areas of side x side pixels to errors, float32 [area rows, area columns]."""
    height, width = plane.shape
    line = np.empty(width, np.float32)
    for row in range(errors.shape[0]):
        line[:] = 0
        for y in range(row * side, min(height, (row + 1) * side)):
            _add_squares(line, plane[y], source[y], gain)
        for column in range(errors.shape[1]):
            errors[row, column] += line[column * side : (column + 1) * side].sum()


@kernel
def _add_squares(line, plane, source, gain):
    for x in range(len(line)):
        error = plane[x] - (np.float32(source[x]) - np.float32(128)) * gain
        line[x] += error * error


@kernel
def select(plane, here, side, out):
    """Copy areas of side x side pixels from `plane` where `here`, bool [area rows, area columns]."""
    for row in range(here.shape[0]):
        for column in range(here.shape[1]):
            if here[row, column]:
                top, left = row * side, column * side
                out[top : top + side, left : left + side] = plane[top : top + side, left : left + side]
