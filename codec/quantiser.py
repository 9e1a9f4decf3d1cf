"""Rate-distortion quantisation: for every position the class, and for every coefficient the level, that cost least.

Cost is (u − û)² + λ·bits in units of the step, u the coefficient over the step. Because the tables are fixed,
both choices are exact and separable; coefficients below half a step are zero under every table, so only the few
larger ones are visited (sparse look-ups, no loop over symbols).
"""

from __future__ import annotations

import numpy as np

from lrae.codec.class_map import context_bits
from lrae.models.tables import CHANNELS, CLASSES, LEVELS, MAX_LEVEL, TRANSFORMS, ClassTables

LAMBDA = 0.12  # squared steps a bit; 0.1155 is the high-rate slope of a uniform quantiser
BINS_PER_STEP = 8
BINS = BINS_PER_STEP * 2 * LEVELS
PER_TRANSFORM = CLASSES // TRANSFORMS
_VISIT = 0.5


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
        self._level = level
        zero_bits = np.append(bits[:-1, 0], 0).astype(np.float32)
        # [class, channel, bin]: what visiting the coefficient changes against coding it as zero
        delta = (best - centre**2 - rate_weight * zero_bits[:, None])[tables.rows]
        self._delta = [
            np.ascontiguousarray(delta[t::TRANSFORMS].transpose(1, 2, 0)).reshape(CHANNELS * BINS, PER_TRANSFORM)
            for t in range(TRANSFORMS)
        ]
        self._zero_cost = rate_weight * zero_bits[tables.rows].sum(1)  # [CLASSES]
        self._prior = tables.class_bits()

    def choose(
        self, coefficients: np.ndarray, grid: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """coefficients float32 [N, TRANSFORMS, CHANNELS] in steps; grid (rows, columns), N = rows·columns or a
        multiple (a batch of equal grids). What a transform leaves out is distortion like a coefficient coded as
        zero, so that all transforms start from the same distortion, the energy of the block.

        Returns classes uint8 [N] and levels int16 [N, CHANNELS].
        """
        visited, cost = self.class_costs(coefficients)
        classes = (cost + self.rate_weight * self._prior).argmin(1).astype(np.uint8)
        classes = (cost + self.rate_weight * context_bits(classes, grid, self.tables)).argmin(1).astype(np.uint8)
        return classes, self.levels(coefficients, classes, visited)

    def class_costs(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(flat indices of the coefficients worth visiting, cost float32 [N, CLASSES] without the class's own bits)."""
        count = len(coefficients)
        magnitude = np.abs(coefficients).reshape(-1)
        visited = np.flatnonzero(magnitude >= _VISIT)
        position, transform, channel = np.unravel_index(visited, coefficients.shape)
        row = channel * BINS + _bins(magnitude[visited])
        cost = np.empty((count, PER_TRANSFORM, TRANSFORMS), np.float32)
        cost[:] = self._zero_cost.reshape(PER_TRANSFORM, TRANSFORMS)
        for t in range(TRANSFORMS):
            mine = np.flatnonzero(transform == t)
            if len(mine):
                where = position[mine]
                starts = np.flatnonzero(np.diff(where, prepend=-1))
                cost[where[starts], :, t] += np.add.reduceat(self._delta[t][row[mine]], starts, axis=0)
        return visited, cost.reshape(count, CLASSES)  # class = index · TRANSFORMS + transform

    def levels(self, coefficients: np.ndarray, classes: np.ndarray, visited: np.ndarray) -> np.ndarray:
        """The best levels int16 [N, CHANNELS] under given classes [N]."""
        position, transform, channel = np.unravel_index(visited, coefficients.shape)
        keep = transform == classes[position] % TRANSFORMS
        position, channel = position[keep], channel[keep]
        value = coefficients.reshape(-1)[visited[keep]]
        bins = _bins(np.abs(value))
        level = self._level[self.tables.rows[classes[position], channel], bins]
        large = (bins == BINS - 1) & (level > 0)
        level = np.where(large, np.minimum(np.round(np.abs(value)), MAX_LEVEL), level)
        levels = np.zeros((len(coefficients), CHANNELS), np.int16)
        levels[position, channel] = np.where(value < 0, -level, level)
        return levels


def _bins(magnitude: np.ndarray) -> np.ndarray:
    return np.minimum((magnitude * BINS_PER_STEP).astype(np.int32), BINS - 1)


def dequantise(levels: np.ndarray, classes: np.ndarray, tables: ClassTables) -> np.ndarray:
    """levels int16 [N, CHANNELS], classes uint8 [N] -> float32 [N, CHANNELS] in steps."""
    values = np.zeros(levels.shape, np.float32)
    where = np.flatnonzero(levels != 0)
    level, (position, channel) = levels.reshape(-1)[where], np.divmod(where, CHANNELS)
    magnitude = np.abs(level)
    shift = tables.shift[tables.rows[classes[position], channel], (magnitude > 1).astype(np.intp)]
    values.reshape(-1)[where] = np.copysign(magnitude - shift, level)
    return values
