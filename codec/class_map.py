"""The class map: one class per 16x16 position, coded row by row with the neighbours' ranks as context.

Even columns of a row first (contexts: the row above), then odd columns (left, right, above), so that a row is two
vectorised calls of the coder. No state, no float: contexts are integers, probabilities integer frequencies.
"""

from __future__ import annotations

import numpy as np

from lrae.codec.range_coding import Categorical, Uniform
from lrae.models.tables import CLASSES, FREQUENCY_BITS, MAP_SETS, ClassTables

BUCKETS = 7  # rank 1…6 of a neighbour; 0: outside the frame
CONTEXTS = 2 * BUCKETS**3
_FAMILY = Categorical(perfect=False)
_SET = Uniform(MAP_SETS)


def contexts(classes: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """classes uint8 [B, rows, columns] -> context index int64 [B, rows, columns]."""
    batch, rows, columns = classes.shape
    ranks = np.zeros((batch, rows + 1, columns + 2), np.int64)
    ranks[:, 1:, 1:-1] = rank[classes]
    above_left, above, above_right = ranks[:, :-1, :-2], ranks[:, :-1, 1:-1], ranks[:, :-1, 2:]
    left, right = ranks[:, 1:, :-2], ranks[:, 1:, 2:]
    even = (above * BUCKETS + above_left) * BUCKETS + above_right
    odd = BUCKETS**3 + (left * BUCKETS + right) * BUCKETS + above
    return np.where(np.arange(columns) % 2 == 0, even, odd)


def context_bits(classes: np.ndarray, grid: tuple[int, int], tables: ClassTables) -> np.ndarray:
    """Bits float32 [N, CLASSES] of every class at every position, given the other positions of `classes` [N].

    N is rows·columns of `grid`, or a multiple: a batch of maps, each under the set that is best for it.
    """
    maps = classes.reshape(-1, *grid)
    context = contexts(maps, tables.rank)
    chosen = [best_set(c, k, tables) for c, k in zip(context, maps, strict=True)]
    return np.stack([tables.map_bits[s][c] for s, c in zip(chosen, context, strict=True)]).reshape(-1, CLASSES)


def best_set(context: np.ndarray, classes: np.ndarray, tables: ClassTables) -> int:
    """The set of fewest bits for one map; context and classes [rows, columns]."""
    return int(tables.map_bits[:, context, classes].sum((1, 2)).argmin())


def encode(classes: np.ndarray, tables: ClassTables, coder) -> None:
    """Append the map uint8 [rows, columns] to a constriction RangeEncoder."""
    context = contexts(classes[None], tables.rank)[0]
    chosen = best_set(context, classes, tables)
    coder.encode(np.array([chosen], np.int32), _SET)
    probability = tables.map_frequencies[chosen][context] / (1 << FREQUENCY_BITS)
    for row in range(len(classes)):
        for parity in (0, 1):
            if classes.shape[1] > parity:
                symbols = np.ascontiguousarray(classes[row, parity::2], dtype=np.int32)
                coder.encode(symbols, _FAMILY, np.ascontiguousarray(probability[row, parity::2]))


def decode(rows: int, columns: int, tables: ClassTables, coder) -> np.ndarray:
    """Read a map uint8 [rows, columns] from a constriction RangeDecoder."""
    table = tables.map_frequencies[coder.decode(_SET, 1)[0]] / (1 << FREQUENCY_BITS)
    rank = tables.rank.astype(np.int64)
    classes = np.zeros((rows, columns), np.uint8)
    above = np.zeros(columns + 2, np.int64)
    for row in range(rows):
        current = np.zeros(columns + 2, np.int64)
        index = (above[1:-1:2] * BUCKETS + above[:-2:2]) * BUCKETS + above[2::2]
        even = coder.decode(_FAMILY, table[index])
        classes[row, ::2] = even
        current[1:-1:2] = rank[even]
        if columns > 1:
            index = BUCKETS**3 + (current[1:-2:2] * BUCKETS + current[3::2]) * BUCKETS + above[2:-1:2]
            odd = coder.decode(_FAMILY, table[index])
            classes[row, 1::2] = odd
            current[2:-1:2] = rank[odd]
        above = current
    return classes
