"""Arithmetic in GF(256) on whole rows of bytes, and the coefficients of the two codes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from lrae.codec.wire.parity import MAX_COLUMNS, MAX_ROWS

PRIMITIVE = 0x11D  # x^8 + x^4 + x^3 + x^2 + 1, of which 2 is a generator: reedsolo's field, and most others'
COLUMNS, ROWS = MAX_COLUMNS, MAX_ROWS  # of the Cauchy matrix: together at most 256, the elements of the field


def _multiplication() -> np.ndarray:
    """uint8 [256, 256]: the product of any two elements."""
    exp = np.zeros(510, np.uint8)
    value = 1
    for power in range(255):
        exp[power] = exp[power + 255] = value
        value = value << 1 ^ (PRIMITIVE if value & 128 else 0)
    log = np.zeros(256, np.intp)
    log[exp[:255]] = np.arange(255)
    table = exp[log[:, None] + log[None, :]]
    table[0] = table[:, 0] = 0
    return table


MUL = _multiplication()
INVERSE = np.argmax(MUL == 1, axis=1).astype(np.uint8)  # INVERSE[0] is 0 and means nothing
_TIMES = [row.tobytes() for row in MUL]  # _TIMES[c] as a table for bytes.translate: every byte times c
_INVERSE = INVERSE.tobytes()
_PLACES = np.arange(0, 1024, 256, dtype=np.uint16)[:, None]
_OFFSETS = np.arange(0, 65536, 256, dtype=np.uint16)[:, None]


def _spread() -> np.ndarray:
    """uint32 [4 * 256, 256]: [256 * p + c, v] has c * v in byte p (as it lies in memory) and zeros beside it."""
    table = np.zeros((4, 256, 256, 4), np.uint8)
    for place in range(4):
        table[place, :, :, place] = MUL
    return table.view(np.uint32).reshape(1024, 256)


_SPREAD = _spread()


@lru_cache(maxsize=256)
def reed_solomon(packets: int, parity: int) -> np.ndarray:
    """uint8 [parity, packets], read-only: the parity rows of the systematic code with generator
    (x - 2^0)(x - 2^1)...(x - 2^(parity - 1)), which is reedsolo's. packets + parity <= 255.

    Column i is x^(packets - 1 - i + parity) modulo the generator. Any `packets` of all the rows, identity
    included, are independent (MDS).
    """
    if not (packets >= 1 and parity >= 1 and packets + parity <= 255):
        raise ValueError(f"no Reed-Solomon code has {packets} packets and {parity} parities")
    generator = np.ones(1, np.uint8)  # highest power first
    root = 1
    for _ in range(parity):
        generator = np.append(generator, 0) ^ np.append(0, MUL[root, generator])
        root = int(MUL[root, 2])
    matrix = np.empty((parity, packets), np.uint8)
    remainder = generator[1:].astype(np.uint8)  # of x^parity
    for column in range(packets - 1, -1, -1):
        matrix[:, column] = remainder
        remainder = np.append(remainder[1:], 0) ^ MUL[remainder[0], generator[1:]]  # times x
    matrix.flags.writeable = False
    return matrix


def cauchy(rows: Sequence[int], columns: Sequence[int]) -> np.ndarray:
    """uint8 [len(rows), len(columns)] of 1 / (x + y), x = COLUMNS + row, y = column; row < ROWS, column < COLUMNS.

    Rows and columns never share an element, so every square submatrix with distinct rows and distinct columns
    is invertible.
    """
    x = np.asarray(rows, np.intp)[:, None] + COLUMNS
    y = np.asarray(columns, np.intp)[None, :]
    if (x >= COLUMNS + ROWS).any() or (y >= COLUMNS).any():
        raise ValueError("a Cauchy row or column is out of range")
    return INVERSE[x ^ y]


def tables(matrix: np.ndarray) -> list[np.ndarray]:
    """What product_by needs of a matrix, uint8 [P, K]: for each 4 rows of it a table, uint32 [K * 256].

    Entry 256 * k + v of a table holds v times column k of those rows, one byte each.
    """
    packets = matrix.shape[1]
    return [
        np.bitwise_xor.reduce(_SPREAD.take(part + _PLACES[: len(part)], axis=0), axis=0).reshape(packets * 256)
        for part in (matrix[at : at + 4] for at in range(0, len(matrix), 4))
    ]


def product_by(table: list[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """uint8 [4 * len(table), L]: the matrix behind `table` times rows, uint8 [K, L], K <= 256; rows beyond P are 0.

    One look-up per byte of `rows` yields that byte's share of four outputs.
    """
    packets, length = rows.shape
    entries = rows + _OFFSETS[:packets]
    words = [np.bitwise_xor.reduce(part.take(entries, mode="wrap"), axis=0) for part in table]
    columns = words[0] if len(words) == 1 else np.stack(words, axis=1)
    return columns.view(np.uint8).reshape(length, -1).T


def product(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """uint8 [P, L]: matrix, uint8 [P, K], times rows, uint8 [K, L], K <= 256."""
    return product_by(tables(matrix), rows)[: len(matrix)]


def eliminate(equations: Sequence[bytes], unknowns: int) -> list[tuple[int, bytes]]:
    """Solves a linear system as far as it can be.

    equations: one per row, all of a length: coefficients of the unknowns, then of what is known. Returns
    (unknown, its coefficients in what is known) for every unknown that the equations determine. Gauss-Jordan;
    a row is a number of 256-adic digits, so that a row operation is one table look-up and one XOR.
    """
    size = len(equations[0])
    rows = [int.from_bytes(row, "little") for row in equations]
    pivots: dict[int, int] = {}
    free = set(range(len(rows)))
    for column in range(unknowns):
        shift = 8 * column
        pivot = next((r for r in free if rows[r] >> shift & 255), None)
        if pivot is None:
            continue
        free.discard(pivot)
        pivots[column] = pivot
        scale = _INVERSE[rows[pivot] >> shift & 255]
        scaled = rows[pivot].to_bytes(size, "little").translate(_TIMES[scale])
        rows[pivot] = int.from_bytes(scaled, "little")
        for r, row in enumerate(rows):
            factor = row >> shift & 255
            if factor and r != pivot:
                rows[r] = row ^ int.from_bytes(scaled.translate(_TIMES[factor]), "little")
    mask = (1 << 8 * unknowns) - 1
    return [
        (column, (rows[pivot] >> 8 * unknowns).to_bytes(size - unknowns, "little"))
        for column, pivot in pivots.items()
        if rows[pivot] & mask == 1 << 8 * column
    ]
