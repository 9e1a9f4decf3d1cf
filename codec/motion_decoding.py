"""Entropy decoding of motion fields, those of a frame's packets in step: a pass costs about the same for all.

The fields lie below one another on a canvas, far enough apart that none sees another, and each at a place where the
quadtree's grids and checkerboards fall as they do at its own origin. So a pass over the canvas is the pass of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lrae.codec.motion_coding import FAMILY, PLAIN, RAW_MODEL, children, halves, split_passes
from lrae.codec.motion_field import CELL, LIMIT, MotionField
from lrae.codec.motion_prediction import Leaves, dy_context, kind_context, predict
from lrae.codec.motion_tables import FAR, NEAR, NEW, OTHER, ZERO, Tables, default_tables
from lrae.codec.range_coding import Coders, RangeDecoder, Uniform
from lrae.errors import WireError

GAP = 8  # cells: the largest leaf
ALIGNED = 16  # cells: two of the largest leaves, a period of their checkerboard


def decode(coder: RangeDecoder, height: int, width: int, tables: Tables | None = None) -> MotionField:
    """The field that motion_coding.encode() appended. height, width: pixels, multiples of 16. Any bytes give a valid
    field or a WireError."""
    coders = Coders([coder])
    (field,) = decode_all(coders, [(height, width)], tables)
    if not coders.sound[0]:
        raise WireError("motion field is malformed")
    return field


def decode_all(
    coders: Coders, sizes: Sequence[tuple[int, int]], tables: Tables | None = None
) -> list[MotionField | None]:
    """The next field of each coder. sizes: (height, width) of each, as in decode(); width 0: there is none, and None
    is returned. The field of a damaged coder is valid and means nothing."""
    if not any(width for _, width in sizes):
        return [None] * len(sizes)
    tables = tables or default_tables()
    canvas = _Canvas([(height // CELL, width // CELL) for height, width in sizes])
    heads = coders.each(lambda coder, size: _head(coder, tables) if size[1] else None, sizes)
    heads = [head or (0, np.zeros(2, np.intp)) for head in heads]
    chosen, anchors = np.array([head[0] for head in heads]), np.array([head[1] for head in heads])

    def read(name: str, contexts: np.ndarray, owner: np.ndarray) -> np.ndarray:
        return coders.read(FAMILY, tables.probabilities[name][chosen[owner], contexts], owner)

    size = _sizes(read, canvas)
    leaves = Leaves(size, canvas.ends)
    owner = canvas.owner[leaves.y]
    vectors = np.zeros((leaves.count + 1, 2), np.intp)
    for start, stop in zip(leaves.starts[:-1], leaves.starts[1:], strict=True):
        if start < stop:
            here = slice(start, stop)
            around, mine = vectors[leaves.neighbours[here]], owner[here]
            prediction = predict(around, leaves.known[here], anchors[mine])
            vectors[here] = _phase(coders, read, prediction, leaves.level[here], mine)
    moving = vectors.astype(np.int16)[leaves.of_cell]
    return [
        MotionField(np.ascontiguousarray(moving[where]), np.ascontiguousarray(size[where])) if width else None
        for where, (_, width) in zip(canvas.places, sizes, strict=True)
    ]


class _Canvas:
    """Where fields of (rows, columns) cells lie. places: slices of each; inside: bool, cells that are of any; owner:
    whose a row is; ends: as Leaves wants them."""

    def __init__(self, grids: Sequence[tuple[int, int]]):
        top, tops = 0, []
        for rows, _ in grids:
            tops.append(top)
            top = -(-(-(-(top + rows) // GAP) * GAP + GAP) // ALIGNED) * ALIGNED
        height = max(first + rows for first, (rows, _) in zip(tops, grids, strict=True))
        self.inside = np.zeros((height, max(columns for _, columns in grids)), bool)
        self.owner = np.zeros(height, np.intp)
        self.ends = np.zeros((height, 2), np.intp)
        self.places = []
        for index, (first, (rows, columns)) in enumerate(zip(tops, grids, strict=True)):
            place = slice(first, first + rows), slice(0, columns)
            self.places.append(place)
            self.inside[place], self.owner[place[0]] = True, index
            self.ends[place[0]] = first + rows, columns


def _head(coder: RangeDecoder, tables: Tables) -> tuple[int, np.ndarray]:
    """(table set, global vector)."""
    chosen = int(coder.decode(Uniform(tables.sets), 1)[0])
    if not coder.decode(FAMILY, tables.probabilities["moving"][chosen])[0]:
        return chosen, np.zeros(2, np.intp)
    return chosen, coder.decode(RAW_MODEL, 2).astype(np.intp) - LIMIT


def _sizes(read: Callable, canvas: _Canvas) -> np.ndarray:
    """uint8 as in MotionField, 0 outside of the fields."""
    rows, columns = canvas.inside.shape
    size = canvas.inside * np.uint8(3)
    open_ = None
    for level, cells in split_passes(rows, columns):
        exists, owner = canvas.inside[cells], canvas.owner[cells[0]]
        if open_ is not None:
            exists = exists & children(open_, exists.shape)
        split = np.zeros(exists.shape, bool)
        for places, contexts in halves(level, split):
            here = exists & places
            y, _ = np.nonzero(here)
            if len(y):
                split[here] = read("split", contexts[here], owner[y])
        leaf = exists & ~split
        spread = leaf.repeat(1 << level, 0).repeat(1 << level, 1)[:rows, :columns]
        size[spread & canvas.inside] = level + 3
        open_ = split
    return size


def _phase(coders: Coders, read: Callable, prediction: tuple, level: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Vectors [n, 2] of the leaves of one phase."""
    median, other, agreement = prediction
    kind = read("kind", kind_context(level, median, agreement), owner)
    vectors = np.where((kind == OTHER)[:, None], other, median)
    vectors[kind == ZERO] = 0
    new = np.flatnonzero(kind == NEW)
    if len(new):
        agreement, owner = agreement[new], owner[new]
        contexts = agreement
        for axis, name in ((0, "dx"), (1, "dy")):
            difference = read(name, contexts, owner).astype(np.intp) - NEAR - FAR
            far = np.abs(difference) - NEAR
            where = np.flatnonzero(far > 0)
            if len(where):
                far = far[where]
                rest = coders.read(PLAIN, (1 << far).astype(np.int32), owner[where])
                difference[where] = np.sign(difference[where]) * (NEAR - 1 + (1 << far) + rest)
            contexts = dy_context(agreement, difference)
            vectors[new, axis] = np.minimum(np.maximum(median[new, axis] + difference, -LIMIT), LIMIT)
    return vectors
