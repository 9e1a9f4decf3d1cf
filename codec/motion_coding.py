"""Entropy coding of a motion field: integers and fixed tables, a few vectorised passes, any bytes decode.

Order: table set, global vector, split flags from 64 down, then the vectors of the leaves in phases: larger
leaves first, and of one size the (even, even), (odd, odd), (even, odd), (odd, even) places, so that a leaf is
predicted from neighbours on all sides that came before it. Nothing outside the frame's own bytes is used.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources

import constriction
import numpy as np

from lrae.codec.motion_field import CELL, LEVELS, LIMIT, MotionField
from lrae.errors import WireError

TOTAL = 1 << 16  # every table's frequencies add up to this
NEAR = 8  # differences up to +-8 quarter-pel have symbols of their own
FAR = 8  # classes of larger ones: 9..10, 11..14, 15..22, ... 263..518, their place within as plain bits
DIFFERENCES = 2 * (NEAR + FAR) + 1
AGREEMENTS = 6  # of a leaf's neighbours: none known, all equal, within 2, 6, 16 quarter-pel, further apart
RAW = 2 * LIMIT + 1
MEDIAN, OTHER, ZERO, NEW = range(4)  # kinds: the neighbours' median, another neighbour's vector, zero, coded
SHAPES = {  # name: (contexts, symbols)
    "split": (3 * 5, 2),
    "kind": (LEVELS * AGREEMENTS * 2, 4),
    "dx": (AGREEMENTS, DIFFERENCES),
    "dy": (AGREEMENTS * 4, DIFFERENCES),
    "moving": (1, 2),
}

_FAMILY = constriction.stream.model.Categorical(perfect=False)
_RAW_MODEL = constriction.stream.model.Uniform(RAW)
_PLAIN = constriction.stream.model.Uniform()
_POWERS = 1 << np.arange(FAR + 1)


@dataclass(frozen=True, eq=False)
class Tables:
    """probabilities: name -> float32 [sets, contexts, symbols], integers / 2^16 exactly; bits: lengths."""

    probabilities: dict[str, np.ndarray]
    bits: dict[str, np.ndarray]
    sets: int

    @classmethod
    def of(cls, frequencies: dict[str, np.ndarray]) -> Tables:
        """frequencies: name -> integers [sets, contexts, symbols], each row positive with the sum 2^16."""
        probabilities, bits = {}, {}
        for name, shape in SHAPES.items():
            table = np.asarray(frequencies[name], np.int64)
            if table.shape[1:] != shape or table.min() < 1 or (table.sum(-1) != TOTAL).any():
                raise ValueError(f"motion table {name!r} does not fit this version")
            probabilities[name] = (table / TOTAL).astype(np.float32)
            bits[name] = -np.log2(table / TOTAL)
        return cls(probabilities, bits, len(table))


@functools.cache
def default_tables() -> Tables:
    """The tables that ship with the codec (motion_tables.json, written by lrae.training.fit_motion)."""
    text = resources.files("lrae.codec").joinpath("motion_tables.json").read_text()
    return Tables.of({name: np.array(rows) for name, rows in json.loads(text).items()})


class Leaves:
    """Geometry of a quadtree, leaves in coding order. All of it follows from `size` alone.

    y, x: first cell; level: 0..3 (8..64 px); starts: bounds of the phases; of_cell: leaf id of each cell;
    neighbours: int [N, 8] ids (N = none), sides first, then corners; known: bool [N, 8], coded earlier.
    """

    def __init__(self, size: np.ndarray):
        rows, columns = size.shape
        level = size.astype(np.intp) - 3
        yy, xx = np.indices(size.shape)
        first = ((yy >> level << level) == yy) & ((xx >> level << level) == xx)
        y, x = np.nonzero(first)
        k = level[y, x]
        odd_y, odd_x = y >> k & 1, x >> k & 1
        phase = (LEVELS - 1 - k) * 4 + np.where(odd_y == odd_x, odd_y, 2 + odd_y)
        order = np.argsort(phase, kind="stable")
        self.y, self.x, self.level, phase = y[order], x[order], k[order], phase[order]
        self.count = count = len(order)
        self.starts = np.searchsorted(phase, np.arange(4 * LEVELS + 1))
        ids = np.zeros(size.shape, np.intp)
        ids[self.y, self.x] = np.arange(count)
        self.of_cell = ids[yy >> level << level, xx >> level << level]
        padded = np.full((rows + 2, columns + 2), count)
        padded[1:-1, 1:-1] = self.of_cell
        n = 1 << self.level
        y0, x0 = self.y, self.x
        y1, x1 = np.minimum(y0 + n, rows), np.minimum(x0 + n, columns)
        ym, xm = (y0 + y1) >> 1, (x0 + x1) >> 1
        ny = np.stack([ym, ym, y0 - 1, y1, y0 - 1, y0 - 1, y1, y1], 1) + 1
        nx = np.stack([x0 - 1, x1, xm, xm, x0 - 1, x1, x0 - 1, x1], 1) + 1
        self.neighbours = padded[ny, nx]
        self.known = np.append(phase, 99)[self.neighbours] < phase[:, None]


_FAR = 1 << 12


def predict(
    around: np.ndarray, known: np.ndarray, fallback: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From the neighbours' vectors [n, 8, 2] and which are known [n, 8]: median [n, 2] (`fallback` [2] where
    none is), other [n, 2]: the first known vector that is not the median, else the median, and agreement [n], 0..5.
    """
    use = known.copy()
    use[:, 4:] &= ~known[:, :4].any(1, keepdims=True)  # corners only where no side is known
    count = use.sum(1)
    ordered = np.sort(np.where(use[..., None], around, _FAR), axis=1)
    at = np.maximum(count - 1, 0) >> 1
    pick = np.arange(len(at))
    median = np.where(count[:, None] > 0, ordered[pick, at], fallback)
    differs = known & (around != median[:, None]).any(2)
    first = differs.argmax(1)
    some = differs[pick, first]
    other = np.where(some[:, None], around[pick, first], median)
    spread = np.where(use[..., None], np.abs(around - median[:, None]), 0).max((1, 2))
    agreement = np.where(some, 2 + (spread > 2) + (spread > 6) + (spread > 16), known.any(1))
    return median, other, agreement


def _kind_context(level: np.ndarray, median: np.ndarray, agreement: np.ndarray) -> np.ndarray:
    return (level * AGREEMENTS + agreement) * 2 + median.any(1)


def _dy_context(agreement: np.ndarray, dx: np.ndarray) -> np.ndarray:
    far = np.abs(dx)
    return agreement * 4 + (far > 0) + (far > 2) + (far > NEAR)


def _split_difference(difference: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Differences to (symbol, number of plain bits, their value). Class k holds NEAR - 1 + 2^k ... + 2^(k+1) - 1."""
    size = np.abs(difference)
    over = np.maximum(size - NEAR + 1, 1)  # 2^k .. 2^(k+1) - 1 in class k, 1 if near
    extra = np.searchsorted(_POWERS, over, side="right") - 1
    symbol = np.where(extra > 0, NEAR + extra, size) * np.sign(difference) + NEAR + FAR
    return symbol, extra, np.where(extra > 0, over - (1 << extra), 0)


def _kinds(vectors: np.ndarray, median: np.ndarray, other: np.ndarray) -> np.ndarray:
    kind = np.where((vectors == other).all(1), OTHER, NEW)
    kind[~vectors.any(1)] = ZERO
    kind[(vectors == median).all(1)] = MEDIAN
    return kind


def vector_bits(
    vectors: np.ndarray, level: np.ndarray, prediction: tuple[np.ndarray, ...], lengths: dict[str, np.ndarray]
) -> np.ndarray:
    """Bits of leaves' vectors [n, 2] given predict()'s answer. lengths: name -> bits [contexts, symbols]."""
    median, other, agreement = prediction
    kind = _kinds(vectors, median, other)
    difference = vectors - median
    symbol, extra, _ = _split_difference(difference)
    coded = lengths["dx"][agreement, symbol[:, 0]] + extra.sum(1)
    coded = coded + lengths["dy"][_dy_context(agreement, difference[:, 0]), symbol[:, 1]]
    return lengths["kind"][_kind_context(level, median, agreement), kind] + np.where(kind == NEW, coded, 0)


def _split_passes(rows: int, columns: int):
    """For each level from 64 down to 16: the level and its nodes' cells (y, x) on a grid rounded up to 64."""
    for level in range(LEVELS - 1, 0, -1):
        yield level, (slice(0, rows, 1 << level), slice(0, columns, 1 << level))


def _split_context(level: int, split: np.ndarray) -> np.ndarray:
    """Contexts of the odd places of a checkerboard: how many of the even ones around them are split."""
    padded = np.pad(split, 1).astype(np.intp)
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return (level - 1) * 5 + np.minimum(around, 3) + 1


@dataclass(frozen=True, eq=False)
class Run:
    """Symbols to be coded in one call: table name and contexts [n], or None and how many values [n] there are,
    all as likely; symbols int32 [n]."""

    table: str | None
    contexts: np.ndarray
    symbols: np.ndarray


def runs_of(field: MotionField, anchor: np.ndarray) -> list[Run]:
    """What is coded after the table set, in order. anchor: the global vector, int [2]."""
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
    kind = _kinds(vectors, median, other)
    context = _kind_context(leaves.level, median, agreement)
    difference = vectors - median
    symbol, extra, rest = _split_difference(difference)
    y_context = _dy_context(agreement, difference[:, 0])
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
    options = []
    anchor = anchor_of(field)
    for each in (anchor, anchor * 0) if anchor.any() else (anchor,):
        runs = runs_of(field, each)
        lengths = _length(runs, tables)
        chosen = int(lengths.argmin())
        options.append((chosen, runs, float(lengths[chosen]) + np.log2(tables.sets)))
    return min(options, key=lambda option: option[2])


def bits(field: MotionField, tables: Tables | None = None) -> float:
    """Ideal code length of a field, bits."""
    return _best(field, tables or default_tables())[2]


def encode(
    field: MotionField, coder: constriction.stream.queue.RangeEncoder, tables: Tables | None = None
) -> None:
    """Append a field to the coder."""
    tables = tables or default_tables()
    chosen, runs, _ = _best(field, tables)
    coder.encode(np.array([chosen], np.int32), constriction.stream.model.Uniform(max(tables.sets, 2)))
    for run in runs:
        if run.table is None:
            coder.encode(run.symbols, _PLAIN, run.contexts.astype(np.int32))
        else:
            coder.encode(run.symbols, _FAMILY, tables.probabilities[run.table][chosen][run.contexts])


def decode(
    coder: constriction.stream.queue.RangeDecoder, height: int, width: int, tables: Tables | None = None
) -> MotionField:
    """The field that encode() appended. height, width: pixels, multiples of 16. Any bytes give a valid field
    or a WireError."""
    tables = tables or default_tables()
    try:
        return _decode(coder, height // CELL, width // CELL, tables)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # constriction's PanicException is a BaseException
        raise WireError("motion field is malformed") from error


def _decode(coder, rows: int, columns: int, tables: Tables) -> MotionField:
    chosen = int(coder.decode(constriction.stream.model.Uniform(max(tables.sets, 2)), 1)[0])
    chosen = min(chosen, tables.sets - 1)
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
    kind = read("kind", _kind_context(level, median, agreement))
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
            contexts = _dy_context(agreement[new], difference)
            vectors[new, axis] = np.clip(median[new, axis] + difference, -LIMIT, LIMIT)
    return vectors
