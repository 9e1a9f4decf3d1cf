"""The integer tables of the motion coder: their shapes, their exact probabilities, their code lengths."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources

import numpy as np

from lrae.codec.motion_field import LEVELS, LIMIT
from lrae.models.tables import sums

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


def first_rows() -> dict[str, int]:
    """Where each table's rows begin when all are put into one, in the order of SHAPES."""
    first, found = 0, {}
    for name, (contexts, _) in SHAPES.items():
        found[name], first = first, first + contexts
    return found


@dataclass(frozen=True, eq=False)
class Tables:
    """bits: name -> code lengths, float64 [sets, contexts, symbols]. Of all tables in one (first_rows()), shorter rows
    filled up with impossible symbols: sums, int32 [sets, rows, DIFFERENCES + 1], and lengths, float32 [sets, rows,
    DIFFERENCES], as lrae.codec.range_coder wants them."""

    bits: dict[str, np.ndarray]
    sums: np.ndarray
    lengths: np.ndarray
    sets: int

    @classmethod
    def of(cls, frequencies: dict[str, np.ndarray]) -> Tables:
        """frequencies: name -> integers [sets, contexts, symbols], each row positive with the sum 2^16;
        at least two sets."""
        bits, rows = {}, []
        for name, shape in SHAPES.items():
            table = np.asarray(frequencies[name], np.int64)
            if table.shape[1:] != shape or table.min() < 1 or (table.sum(-1) != TOTAL).any() or len(table) < 2:
                raise ValueError(f"motion table {name!r} does not fit this version")
            bits[name] = -np.log2(table / TOTAL)
            rows.append(np.pad(table, ((0, 0), (0, 0), (0, DIFFERENCES - shape[1]))))
        table = np.concatenate(rows, 1)
        lengths = -np.log2(np.maximum(table, 1) / TOTAL).astype(np.float32)
        return cls(bits, sums(table), lengths, len(table))


@functools.cache
def default_tables() -> Tables:
    """The tables that ship with the codec (motion_tables.json, written by lrae.training.fit_motion)."""
    text = resources.files("lrae.codec").joinpath("motion_tables.json").read_text()
    return Tables.of({name: np.array(rows) for name, rows in json.loads(text).items()})
