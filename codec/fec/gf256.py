"""Arithmetic in GF(256) on whole rows of bytes, and the coefficients of the two codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class Solution:
    """Unknowns that a linear system determines. unknowns: which. shares: for each, its coefficients in what is
    known, bytes. used: which of what is known has a coefficient other than zero; tables: of those, for product_by.
    """

    unknowns: tuple[int, ...]
    shares: tuple[bytes, ...]
    used: tuple[bool, ...]
    tables: list[np.ndarray]


def solve(equations: tuple[bytes, ...], unknowns: int) -> Solution | None:
    """Solves a linear system as far as it can be; None: it determines nothing.

    equations: one per row, all of a length: coefficients of the unknowns, then of what is known.
    """
    small = len(equations) <= 4 and len(equations[0]) <= 20
    return (_solve_again if small else _solve)(equations, unknowns)


def _solve(equations: tuple[bytes, ...], unknowns: int) -> Solution | None:
    solved = _eliminate(equations, unknowns)
    if not solved:
        return None
    which, shares = zip(*solved, strict=True)
    matrix = np.frombuffer(b"".join(shares), np.uint8).reshape(len(shares), -1)
    used = matrix.any(axis=0)
    return Solution(which, shares, tuple(used.tolist()), tables(matrix[:, used]))


# small frames lose the same few packets again and again; an entry has up to 20 KiB
_solve_again = lru_cache(maxsize=512)(_solve)


def _eliminate(equations: Sequence[bytes], unknowns: int) -> list[tuple[int, bytes]]:
    """(unknown, its coefficients in what is known) for every unknown that the equations determine.

    Gauss-Jordan on rows as integers of base 256, so that a row operation is one bytes.translate and one XOR.
    """
    size = len(equations[0])
    rest = [int.from_bytes(row, "little") for row in equations]
    done: list[int] = []  # reduced, each with a pivot
    pivots: list[int] = []  # their columns
    for shift in range(0, 8 * unknowns, 8):
        at = next((at for at, row in enumerate(rest) if row >> shift & 255), None)
        if at is None:
            continue
        row = rest.pop(at)
        unit = row.to_bytes(size, "little").translate(_TIMES[_INVERSE[row >> shift & 255]])
        done = _without(done, unit, shift)
        rest = _without(rest, unit, shift)
        done.append(int.from_bytes(unit, "little"))
        pivots.append(shift)
    mask = (1 << 8 * unknowns) - 1
    return [
        (shift // 8, (row >> 8 * unknowns).to_bytes(size - unknowns, "little"))
        for shift, row in zip(pivots, done, strict=True)
        if row & mask == 1 << shift
    ]


def _without(rows: list[int], unit: bytes, shift: int) -> list[int]:
    """The rows less that multiple of `unit` which makes their byte at `shift` zero."""
    return [
        row ^ int.from_bytes(unit.translate(_TIMES[factor]), "little") if (factor := row >> shift & 255) else row
        for row in rows
    ]
