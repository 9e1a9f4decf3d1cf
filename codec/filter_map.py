"""Which loop filter serves each area: raster order, context: the choices to the left and above; no fitted tables."""

from __future__ import annotations

import numpy as np

from lrae.codec.jit import kernel
from lrae.codec.loop_filter import FILTERS
from lrae.codec.range_coder import BITS, READING, RangeDecoder, RangeEncoder, code, new_tape

CHOICES = FILTERS + 1
# sets of tables, best one sent: shares of the choices (none, first, second …) where the neighbours say nothing
SHARES = (0.9, 0.05, 0.05), (0.5, 0.25, 0.25), (0.15, 0.7, 0.15), (0.15, 0.15, 0.7), (0.05, 0.475, 0.475)
ALIKE = 1.5  # how much more likely a choice becomes by each neighbour that made it


def _tables() -> np.ndarray:
    """Sums before each choice, int32 [sets, contexts, CHOICES + 1]; context: left · (CHOICES + 1) + above, CHOICES
    outside of the region."""
    share = np.repeat(np.array(SHARES)[:, None], (CHOICES + 1) ** 2, 1)
    left, above = np.divmod(np.arange((CHOICES + 1) ** 2), CHOICES + 1)
    choice = np.arange(CHOICES)
    share = share * (1 + ALIKE * ((choice == left[:, None]) * 1.0 + (choice == above[:, None])))
    sums = np.cumsum(share / share.sum(-1, keepdims=True), -1)
    sums = np.concatenate((np.zeros((*sums.shape[:2], 1)), sums), -1)
    return np.rint(sums * (1 << BITS)).astype(np.int32)


_SUMS = _tables()
_LENGTHS = (BITS - np.log2(np.diff(_SUMS, axis=-1))).astype(np.float32)


def encode(choices: np.ndarray, coder: RangeEncoder) -> None:
    """Append choices uint8 [rows, columns] of areas."""
    tape = new_tape(choices.size)
    _walk(coder.state, coder.data, tape, _SUMS[0], np.array(choices, np.uint8))
    coder.tape(tape, _SUMS, _LENGTHS)


def decode(rows: int, columns: int, coder: RangeDecoder) -> np.ndarray:
    """The inverse of encode(): uint8 [rows, columns]."""
    choices = np.zeros((rows, columns), np.uint8)
    _walk(coder.state, coder.data, READING, _SUMS[coder.uniform(len(_SUMS))], choices)
    return choices


@kernel
def _walk(state, data, tape, table, choices):
    """Both ways: choices are noted, or filled in."""
    for y in range(choices.shape[0]):
        for x in range(choices.shape[1]):
            left = np.int64(choices[y, x - 1]) if x else CHOICES
            above = np.int64(choices[y - 1, x]) if y else CHOICES
            choices[y, x] = code(state, data, tape, table, left * (CHOICES + 1) + above, np.int64(choices[y, x]))
