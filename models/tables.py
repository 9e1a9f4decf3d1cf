"""The classified entropy model: integers only, fitted like a vector quantiser, shipped with the weights.

A *table* is a symmetric distribution of quantised levels: integer frequencies (sum 2^16) of the symbols
0 … 2L+1, where symbol s < 2L+1 is the level s − L and the last symbol is an escape (a larger level follows as
raw bits). A *class* is a row of table indices, one per channel; index NEVER means "always zero": such a symbol
is neither sent nor visited. Each class also names the linear transform that its position uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

LEVELS = 24  # L: levels −L…L have symbols of their own
ESCAPE = 2 * LEVELS + 1
SYMBOLS = ESCAPE + 1
FREQUENCY_BITS = 16
CLASSES = 32
CHANNELS = 288
BUCKETS = 7  # of the class map's contexts: rank 1…6 of a neighbour; 0: outside the frame
CONTEXTS = 2 * BUCKETS**3
MAP_SETS = 4  # context models of the class map, from still to busy frames
TRANSFORMS = 4  # class k uses transform k % TRANSFORMS
MAX_LEVEL = LEVELS + (1 << 12) - 1  # what an escape can carry
ESCAPE_LENGTHS = 12  # an escape: bit length (uniform), that many raw bits, sign

P_ZERO = (.9985, .996, .99, .98, .965, .94, .91, .87, .82, .76, .69, .61, .52, .43, .34, .25, .17, .1)
DECAY = (.04, .15, .3, .45, .6, .72, .82, .9, .95, .98)


STEPS = -1, 0, 1, 2, 3, 4  # how many probabilities of zero further the table lies that is used instead of a class's own
PAIRS = tuple((p, d) for p in P_ZERO for d in DECAY if not (p > .9 and d > .7) and not (p < .4 and d < .25))


def table_steps() -> np.ndarray:
    """For each table and each of STEPS, the table of the same decay that lies so much further (the last one where
    there is none): int16 [T, steps]."""
    decays = [[k for k, pair in enumerate(PAIRS) if pair[1] == own] for _, own in PAIRS]
    found = [[row[min(max(row.index(k) + step, 0), len(row) - 1)] for step in STEPS] for k, row in enumerate(decays)]
    return np.array(found, np.int16)


def table_grid() -> np.ndarray:
    """Integer frequencies int32 [T, SYMBOLS] of every (probability of zero, decay of the levels) worth having."""
    levels = np.abs(np.arange(-LEVELS, LEVELS + 1))
    rows = []
    for p, d in PAIRS:
        mass = np.where(levels == 0, p, (1 - p) / 2 * (1 - d) * d ** (levels - 1.0))
        mass = np.append(mass, (1 - p) * d**LEVELS)
        rows.append(to_frequencies(mass))
    return np.stack(rows)


def to_frequencies(mass: np.ndarray) -> np.ndarray:
    """Probabilities [..., S] -> int32 frequencies >= 1 with sum 2^16 (the largest takes the rounding)."""
    total = 1 << FREQUENCY_BITS
    mass = mass / mass.sum(-1, keepdims=True)
    frequency = np.maximum(1, np.floor(mass * (total - mass.shape[-1]))).astype(np.int32)
    rest = total - frequency.sum(-1)
    top = frequency.argmax(-1)
    np.put_along_axis(
        frequency, top[..., None], np.take_along_axis(frequency, top[..., None], -1) + rest[..., None], -1
    )
    return frequency


def sums(frequencies: np.ndarray) -> np.ndarray:
    """What a range coder wants of frequencies [..., S]: int32 [..., S+1], the sums before each symbol and of all."""
    return np.insert(np.cumsum(frequencies, -1), 0, 0, -1).astype(np.int32)


@dataclass(frozen=True, eq=False)
class ClassTables:
    """The entropy model of one frame type (inter or intra).

    rows: uint8 [CLASSES, CHANNELS] table indices, `never` = always zero.
    frequencies: int32 [T, SYMBOLS]; shared by both frame types.
    shift: float32 [T, 2], how far the reconstruction point of |level| 1 and of larger ones lies towards zero,
        in steps.
    map_frequencies: int32 [MAP_SETS, CONTEXTS, CLASSES] of a class given its neighbours' ranks; a frame names its set.
    rank: uint8 [CLASSES], a class's bucket (how busy it is) as a neighbour.
    """

    rows: np.ndarray
    frequencies: np.ndarray
    shift: np.ndarray
    map_frequencies: np.ndarray
    rank: np.ndarray

    @property
    def never(self) -> int:
        return len(self.frequencies)

    @cached_property
    def map_bits(self) -> np.ndarray:
        """float32 [MAP_SETS, CONTEXTS, CLASSES]: the code lengths of map_frequencies."""
        return (FREQUENCY_BITS - np.log2(self.map_frequencies)).astype(np.float32)

    @cached_property
    def level_sums(self) -> np.ndarray:
        """int32 [T, SYMBOLS+1]: sums() of frequencies."""
        return sums(self.frequencies)

    @cached_property
    def map_sums(self) -> np.ndarray:
        """int32 [MAP_SETS, CONTEXTS, CLASSES+1]: sums() of map_frequencies."""
        return sums(self.map_frequencies)

    def class_bits(self) -> np.ndarray:
        """float64 [CLASSES]: bits of a class without context, over all sets."""
        mass = self.map_frequencies.sum((0, 1))
        return -np.log2(mass / mass.sum())

    def level_bits(self) -> np.ndarray:
        """float32 [T+1, MAX+1]: bits of |level| 0…2L (beyond L: escape); the row `never` allows only 0."""
        probability = self.frequencies / (1 << FREQUENCY_BITS)
        bits = -np.log2(probability)
        magnitude = np.empty((len(bits), 2 * LEVELS + 1), np.float32)
        magnitude[:, : LEVELS + 1] = bits[:, LEVELS : 2 * LEVELS + 1]
        excess = np.arange(1, LEVELS + 1)
        magnitude[:, LEVELS + 1 :] = bits[:, ESCAPE:] + np.log2(ESCAPE_LENGTHS) + np.floor(np.log2(excess)) + 1
        never = np.full((1, 2 * LEVELS + 1), 1e6, np.float32)
        never[:, 0] = 0
        return np.concatenate((magnitude, never))
