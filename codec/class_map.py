"""The class map: one class per 16x16 position, coded row by row with the neighbours' ranks as context.

Even columns of a row first (contexts: the row above), then odd columns (left, right, above).
"""

from __future__ import annotations

import numpy as np

from lrae.codec.jit import kernel
from lrae.codec.range_coder import READING, RangeDecoder, RangeEncoder, code, new_tape
from lrae.models.tables import BUCKETS, ClassTables


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


def encode(classes: np.ndarray, tables: ClassTables, coder: RangeEncoder) -> None:
    """Append the map uint8 [rows, columns]."""
    tape = new_tape(classes.size)
    _walk(coder.state, coder.data, tape, tables.map_sums[0], tables.rank, classes, _no_ranks(*classes.shape))
    coder.tape(tape, tables.map_sums, tables.map_bits)


def decode(rows: int, columns: int, tables: ClassTables, coder: RangeDecoder) -> np.ndarray:
    """Read a map uint8 [rows, columns]."""
    classes = np.zeros((rows, columns), np.uint8)
    table = tables.map_sums[coder.uniform(len(tables.map_sums))]
    _walk(coder.state, coder.data, READING, table, tables.rank, classes, _no_ranks(rows, columns))
    return classes


def _no_ranks(rows: int, columns: int) -> np.ndarray:
    """Where the ranks of a map go, one place further down and right."""
    return np.zeros((rows + 1, columns + 2), np.int64)


@kernel
def _walk(state, data, tape, table, rank, classes, ranks):
    """Code a map, both ways: its classes are noted, or filled in."""
    rows, columns = classes.shape
    for y in range(rows):
        above, here = ranks[y], ranks[y + 1]
        for parity in range(2):
            for x in range(parity, columns, 2):
                if parity == 0:
                    row = (above[x + 1] * BUCKETS + above[x]) * BUCKETS + above[x + 2]
                else:
                    row = BUCKETS**3 + (here[x] * BUCKETS + here[x + 2]) * BUCKETS + above[x + 1]
                classes[y, x] = code(state, data, tape, table, row, np.int64(classes[y, x]))
                here[x + 1] = rank[classes[y, x]]
