"""Entropy coding of a motion field: integers and fixed tables, a few vectorised passes, any bytes decode.

Order: table set, global vector, split flags from 64 down, then the vectors of the leaves in phases: larger
leaves first, and of one size the (even, even), (odd, odd), (even, odd), (odd, even) places, so that a leaf is
predicted from neighbours on all sides that came before it. Nothing outside the frame's own bytes is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lrae.codec.motion_field import CELL, LEVELS, LIMIT, MotionField
from lrae.codec.motion_prediction import Leaves, dy_context, framed, kind_context, kinds, predict, split_difference
from lrae.codec.motion_tables import FAR, NEAR, NEW, OTHER, RAW, ZERO, Tables, default_tables
from lrae.codec.range_coding import Categorical, RangeDecoder, RangeEncoder, Uniform, contained

_FAMILY = Categorical(perfect=False)
_RAW_MODEL = Uniform(RAW)
_PLAIN = Uniform()


def _split_passes(rows: int, columns: int):
    """For each level from 64 down to 16: the level and its nodes' cells (y, x) on a grid rounded up to 64."""
    for level in range(LEVELS - 1, 0, -1):
        yield level, (slice(0, rows, 1 << level), slice(0, columns, 1 << level))


def _split_context(level: int, split: np.ndarray) -> np.ndarray:
    """Contexts of the odd places of a checkerboard: how many of the even ones around them are split."""
    padded = framed(split).astype(np.intp)
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return (level - 1) * 5 + np.minimum(around, 3) + 1


@dataclass(frozen=True, eq=False)
class Run:
    """Symbols to be coded in one call: table name and contexts [n], or None and how many values [n] there are,
    all as likely; symbols int32 [n]."""

    table: str | None
    contexts: np.ndarray
    symbols: np.ndarray


def runs_of(field: MotionField) -> list[Run]:
    """What is coded after the table set, in order."""
    anchor = anchor_of(field)
    runs = [Run("moving", np.zeros(1, np.intp), np.array([anchor.any()], np.int32))]
    if anchor.any():
        runs.append(Run(None, np.full(2, RAW), (anchor + LIMIT).astype(np.int32)))
    level_of = field.size.astype(np.intp) - 3
    open_ = None
    for level, cells in _split_passes(*field.size.shape):
        split = level_of[cells] < level
        exists = np.ones_like(split) if open_ is None else _children(open_, split.shape)
        for places, contexts in _halves(level, split & exists):
            here = exists & places
            runs.append(Run("split", contexts[here], split[here].astype(np.int32)))
        open_ = split & exists
    leaves = Leaves(field.size)
    vectors = field.vectors[leaves.y, leaves.x].astype(np.intp)
    around = np.vstack([vectors, np.zeros((1, 2), np.intp)])[leaves.neighbours]
    median, other, agreement = predict(around, leaves.known, anchor)
    kind = kinds(vectors, median, other)
    context = kind_context(leaves.level, median, agreement)
    difference = vectors - median
    symbol, extra, rest = split_difference(difference)
    y_context = dy_context(agreement, difference[:, 0])
    for start, stop in zip(leaves.starts[:-1], leaves.starts[1:], strict=True):
        if start == stop:
            continue
        runs.append(Run("kind", context[start:stop], kind[start:stop].astype(np.int32)))
        new = start + np.flatnonzero(kind[start:stop] == NEW)
        if not len(new):
            continue
        for axis, name, contexts in ((0, "dx", agreement), (1, "dy", y_context)):
            runs.append(Run(name, contexts[new], symbol[new, axis].astype(np.int32)))
            far = new[extra[new, axis] > 0]
            if len(far):
                runs.append(Run(None, 1 << extra[far, axis], rest[far, axis].astype(np.int32)))
    return runs


def _children(open_: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Which nodes of the next level exist: those whose parent was split."""
    return open_.repeat(2, 0).repeat(2, 1)[: shape[0], : shape[1]]


def _halves(level: int, split: np.ndarray):
    """The two checkerboard passes over a level's nodes: (places bool, contexts int). `split` may be filled in
    between the two: the second reads what the first one left there."""
    odd = np.indices(split.shape).sum(0) & 1 == 1
    yield ~odd, np.full(split.shape, (level - 1) * 5)
    yield odd, _split_context(level, split & ~odd)


def anchor_of(field: MotionField) -> np.ndarray:
    """The global vector: the median of the cells' vectors."""
    return np.median(field.vectors.reshape(-1, 2), axis=0).astype(np.intp)


def _length(runs: list[Run], tables: Tables) -> np.ndarray:
    """Bits under each table set, float [sets]."""
    total = np.zeros(tables.sets)
    for run in runs:
        if run.table is None:
            total += np.log2(run.contexts).sum()
        else:
            total += tables.bits[run.table][:, run.contexts, run.symbols].sum(1)
    return total


def _best(field: MotionField, tables: Tables) -> tuple[int, list[Run], float]:
    runs = runs_of(field)
    lengths = _length(runs, tables)
    chosen = int(lengths.argmin())
    return chosen, runs, float(lengths[chosen]) + np.log2(tables.sets)


def bits(field: MotionField, tables: Tables | None = None) -> float:
    """Ideal code length of a field, bits."""
    return _best(field, tables or default_tables())[2]


def encode(field: MotionField, coder: RangeEncoder, tables: Tables | None = None) -> None:
    """Append a field to the coder."""
    tables = tables or default_tables()
    chosen, runs, _ = _best(field, tables)
    coder.encode(np.array([chosen], np.int32), Uniform(tables.sets))
    for run in runs:
        if run.table is None:
            coder.encode(run.symbols, _PLAIN, run.contexts.astype(np.int32))
        else:
            coder.encode(run.symbols, _FAMILY, tables.probabilities[run.table][chosen][run.contexts])


def decode(coder: RangeDecoder, height: int, width: int, tables: Tables | None = None) -> MotionField:
    """The field that encode() appended. height, width: pixels, multiples of 16. Any bytes give a valid field
    or a WireError."""
    tables = tables or default_tables()
    with contained("motion field"):
        return _decode(coder, height // CELL, width // CELL, tables)


def _decode(coder: RangeDecoder, rows: int, columns: int, tables: Tables) -> MotionField:
    chosen = int(coder.decode(Uniform(tables.sets), 1)[0])
    table = {name: rows_[chosen] for name, rows_ in tables.probabilities.items()}

    def read(name: str, contexts: np.ndarray) -> np.ndarray:
        return coder.decode(_FAMILY, table[name][contexts])

    anchor = np.zeros(2, np.intp)
    if read("moving", np.zeros(1, np.intp))[0]:
        anchor = coder.decode(_RAW_MODEL, 2).astype(np.intp) - LIMIT
    size = _decode_sizes(read, rows, columns)
    leaves = Leaves(size)
    vectors = np.zeros((leaves.count + 1, 2), np.intp)
    for start, stop in zip(leaves.starts[:-1], leaves.starts[1:], strict=True):
        if start < stop:
            here = slice(start, stop)
            vectors[here] = _decode_phase(
                coder, read, vectors[leaves.neighbours[here]], leaves.known[here], leaves.level[here], anchor
            )
    return MotionField(vectors[leaves.of_cell].astype(np.int16), size)


def _decode_sizes(read: Callable, rows: int, columns: int) -> np.ndarray:
    size = np.full((rows, columns), 3, np.uint8)
    open_ = None
    for level, cells in _split_passes(rows, columns):
        shape = size[cells].shape
        exists = np.ones(shape, bool) if open_ is None else _children(open_, shape)
        split = np.zeros(shape, bool)
        for places, contexts in _halves(level, split):
            here = exists & places
            if here.any():
                split[here] = read("split", contexts[here])
        leaf = exists & ~split
        spread = leaf.repeat(1 << level, 0).repeat(1 << level, 1)[:rows, :columns]
        size[spread] = level + 3
        open_ = split
    return size


def _decode_phase(coder, read: Callable, around, known, level, anchor) -> np.ndarray:
    median, other, agreement = predict(around, known, anchor)
    kind = read("kind", kind_context(level, median, agreement))
    vectors = np.where((kind == OTHER)[:, None], other, median)
    vectors[kind == ZERO] = 0
    new = np.flatnonzero(kind == NEW)
    if len(new):
        contexts = agreement[new]
        for axis, name in ((0, "dx"), (1, "dy")):
            symbol = read(name, contexts)
            difference = symbol.astype(np.intp) - NEAR - FAR
            far = np.abs(difference) - NEAR
            where = np.flatnonzero(far > 0)
            if len(where):
                far = far[where]
                rest = coder.decode(_PLAIN, (1 << far).astype(np.int32))
                difference[where] = np.sign(difference[where]) * (NEAR - 1 + (1 << far) + rest)
            contexts = dy_context(agreement[new], difference)
            vectors[new, axis] = np.clip(median[new, axis] + difference, -LIMIT, LIMIT)
    return vectors
