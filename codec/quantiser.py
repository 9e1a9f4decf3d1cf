"""Rate-distortion quantisation: for every position the class, and for every coefficient the level, that cost least.

Cost is (u − û)² + λ·bits in units of the step, u the coefficient over the step. Because the tables are fixed,
both choices are exact and separable; coefficients below half a step are zero under every table, so only the few
larger ones are visited (codec/quantiser_kernels.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lrae.codec.quantiser_kernels import BINS, BINS_PER_STEP, add_costs, set_levels, settle
from lrae.models.tables import CHANNELS, LEVELS, TRANSFORMS, ClassTables

LAMBDA = 0.12  # squared steps a bit; 0.1155 is the high-rate slope of a uniform quantiser
ROUNDS = 2  # of the choice of all classes in their contexts


class Part(NamedTuple):
    """Some coefficients of a picture; those that no part has are zero.

    values: float32 [R,W] in steps, of channels first…first+W. owner: int64 [R], position·TRANSFORMS + transform.
    """

    values: np.ndarray
    owner: np.ndarray
    first: int


def whole(coefficients: np.ndarray) -> tuple[Part]:
    """All coefficients, float32 of size N·TRANSFORMS·CHANNELS, as parts."""
    rows = np.ascontiguousarray(coefficients, np.float32).reshape(-1, CHANNELS)
    return (Part(rows, np.arange(len(rows)), 0),)


class Quantiser:
    """Chooses classes and levels for one ClassTables."""

    def __init__(self, tables: ClassTables, rate_weight: float = LAMBDA):
        self.tables, self.rate_weight = tables, rate_weight
        bits = tables.level_bits()
        centre = ((np.arange(BINS) + 0.5) / BINS_PER_STEP).astype(np.float32)
        shift = np.concatenate((tables.shift, np.zeros((1, 2), np.float32)))
        best = centre[None] ** 2 + rate_weight * bits[:, :1]
        level = np.zeros((len(bits), BINS), np.int16)
        for offset in (1, 0, -1):
            candidate = np.clip(np.floor(centre).astype(int) + offset, 1, 2 * LEVELS)
            value = candidate - np.where(candidate == 1, shift[:, :1], shift[:, 1:])
            cost = (centre - value) ** 2 + rate_weight * bits[:, candidate]
            level = np.where(cost < best, candidate, level).astype(np.int16)
            best = np.minimum(cost, best)
        self._level = np.ascontiguousarray(level.T)  # [bin, table]
        zero_bits = np.append(bits[:-1, 0], 0).astype(np.float32)
        # [bin, table]: what visiting the coefficient changes against coding it as zero
        self._delta = np.ascontiguousarray((best - centre**2 - rate_weight * zero_bits[:, None]).T, np.float32)
        self._rows, self._rank = tables.rows.astype(np.uint8, order="C"), tables.rank.astype(np.uint8)
        self._zero_cost = rate_weight * zero_bits[tables.rows].sum(1, dtype=np.float32)  # [CLASSES]
        # in the unit of costs: a class's own bits, without and with context
        self._prior = (rate_weight * tables.class_bits()).astype(np.float32)
        self._map_bits = np.float32(rate_weight) * tables.map_bits

    def choose(self, parts: Sequence[Part], grid: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """parts of the coefficients of grid (rows, columns) positions, or of a batch of equal grids. What a transform
        leaves out is distortion like a coefficient coded as zero, so that all transforms start from the same
        distortion, the energy of the block.

        Returns classes uint8 [N] and levels int16 [N, CHANNELS].
        """
        cost = self.class_costs(parts)
        classes = (cost + self._prior).argmin(1).astype(np.uint8)
        for start in range(0, len(classes), grid[0] * grid[1]):
            part = slice(start, start + grid[0] * grid[1])
            for _ in range(ROUNDS):
                settle(cost[part], self._map_bits, self._rank, classes[part].reshape(grid))
        return classes, self.levels(parts, classes)

    def class_costs(self, parts: Sequence[Part]) -> np.ndarray:
        """Cost float32 [N, CLASSES] of every class, without its own bits. parts[0] has something of all positions."""
        cost = np.tile(self._zero_cost, (len(parts[0].values) // TRANSFORMS, 1))
        for part in parts:
            add_costs(*part, self._rows, self._delta, cost)
        return cost

    def levels(self, parts: Sequence[Part], classes: np.ndarray) -> np.ndarray:
        """The best levels int16 [N, CHANNELS] under given classes [N]."""
        levels = np.zeros((len(classes), CHANNELS), np.int16)
        for part in parts:
            set_levels(*part, classes, self._rows, self._level, levels)
        return levels


def dequantise(levels: np.ndarray, classes: np.ndarray, tables: ClassTables) -> np.ndarray:
    """levels int16 [N, CHANNELS], classes uint8 [N] -> float32 [N, CHANNELS] in steps."""
    values = np.zeros(levels.shape, np.float32)
    where = np.flatnonzero(levels != 0)
    level, (position, channel) = levels.reshape(-1)[where], np.divmod(where, CHANNELS)
    magnitude = np.abs(level)
    shift = tables.shift[tables.rows[classes[position], channel], (magnitude > 1).astype(np.intp)]
    values.reshape(-1)[where] = np.copysign(magnitude - shift, level)
    return values
