"""The integer tables of the motion coder: their shapes, their exact probabilities, their code lengths."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources

import numpy as np

from lrae.codec.motion_field import LEVELS, LIMIT

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


@dataclass(frozen=True, eq=False)
class Tables:
    """probabilities: name -> float32 [sets, contexts, symbols], integers / 2^16 exactly; bits: lengths."""

    probabilities: dict[str, np.ndarray]
    bits: dict[str, np.ndarray]
    sets: int

    @classmethod
    def of(cls, frequencies: dict[str, np.ndarray]) -> Tables:
        """frequencies: name -> integers [sets, contexts, symbols], each row positive with the sum 2^16;
        at least two sets."""
        probabilities, bits = {}, {}
        for name, shape in SHAPES.items():
            table = np.asarray(frequencies[name], np.int64)
            if table.shape[1:] != shape or table.min() < 1 or (table.sum(-1) != TOTAL).any() or len(table) < 2:
                raise ValueError(f"motion table {name!r} does not fit this version")
            probabilities[name] = (table / TOTAL).astype(np.float32)
            bits[name] = -np.log2(table / TOTAL)
        return cls(probabilities, bits, len(table))


@functools.cache
def default_tables() -> Tables:
    """The tables that ship with the codec (motion_tables.json, written by lrae.training.fit_motion)."""
    text = resources.files("lrae.codec").joinpath("motion_tables.json").read_text()
    return Tables.of({name: np.array(rows) for name, rows in json.loads(text).items()})
