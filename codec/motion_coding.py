"""Entropy coding of a motion field: integers and fixed tables, a few vectorised passes (back: motion_decoding.py).

Order: table set, global vector, split flags from 64 down, then the vectors of the leaves in phases: larger
leaves first, and of one size the (even, even), (odd, odd), (even, odd), (odd, even) places, so that a leaf is
predicted from neighbours on all sides that came before it. Nothing outside the frame's own bytes is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lrae.codec.motion_field import LEVELS, LIMIT, MotionField
from lrae.codec.motion_prediction import Leaves, dy_context, framed, kind_context, kinds, predict, split_difference
from lrae.codec.motion_tables import NEW, RAW, Tables, default_tables
from lrae.codec.range_coding import Categorical, RangeEncoder, Uniform

FAMILY = Categorical(perfect=False)
RAW_MODEL = Uniform(RAW)
PLAIN = Uniform()


def split_passes(rows: int, columns: int):
    """For each level from 64 down to 16: the level and its nodes' cells (y, x) on a grid rounded up to 64."""
    for level in range(LEVELS - 1, 0, -1):
        yield level, (slice(0, rows, 1 << level), slice(0, columns, 1 << level))


def split_context(level: int, split: np.ndarray) -> np.ndarray:
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
    for level, cells in split_passes(*field.size.shape):
        split = level_of[cells] < level
        exists = np.ones_like(split) if open_ is None else children(open_, split.shape)
        for places, contexts in halves(level, split & exists):
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


def children(open_: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Which nodes of the next level exist: those whose parent was split."""
    return open_.repeat(2, 0).repeat(2, 1)[: shape[0], : shape[1]]


def halves(level: int, split: np.ndarray):
    """The two checkerboard passes over a level's nodes: (places bool, contexts int). `split` may be filled in
    between the two: the second reads what the first one left there."""
    odd = np.indices(split.shape).sum(0) & 1 == 1
    yield ~odd, np.full(split.shape, (level - 1) * 5)
    yield odd, split_context(level, split & ~odd)


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
            coder.encode(run.symbols, PLAIN, run.contexts.astype(np.int32))
        else:
            coder.encode(run.symbols, FAMILY, tables.probabilities[run.table][chosen][run.contexts])
