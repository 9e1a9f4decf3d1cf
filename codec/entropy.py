"""Coding of levels: each under the table that the class of its position gives to its channel, or one a little busier
or stiller where the channels before it were; nothing learned runs.

Damaged input decodes to other levels in range, so every packet carries a checksum on the wire.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lrae.codec.jit import inline, kernel
from lrae.codec.range_coder import RangeDecoder, RangeEncoder, get_uniform, look, put, put_uniform, take
from lrae.codec.types import INTERLEAVED, PROGRESSIVE
from lrae.models.tables import (
    CHANNELS,
    ESCAPE,
    ESCAPE_LENGTHS,
    FREQUENCY_BITS,
    LEVELS,
    STEPS,
    SYMBOLS,
    ClassTables,
    table_steps,
)

CURVES = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0)  # powers: the coarser a frame, the more of it is in few channels


# A position that is busier, or stiller, than its class says gets tables of other probabilities of zero: the means of
# |level| (LARGE at most) as seen and as its tables expect them, both fading, in units of 1/ONE, are compared.
ONE, LARGE, FADE = 256, 2, 4
EVEN = 128  # added to both, as long as little has been seen


class LevelCoder:
    """Codes levels under one ClassTables, position by position."""

    def __init__(self, tables: ClassTables):
        self.tables = tables
        sent = tables.rows != tables.never
        self._lengths, self._steps = tables.level_bits(), table_steps()
        mean = tables.frequencies.astype(np.int64) @ np.minimum(np.abs(np.arange(SYMBOLS) - LEVELS), LARGE)
        self._mean = mean * ONE >> FREQUENCY_BITS
        self._count = sent.sum(1)
        self._channels = np.argsort(~sent, axis=1, kind="stable").astype(np.int16)  # those that are sent first

    def encode(
        self,
        levels: np.ndarray,
        classes: np.ndarray,
        coder: RangeEncoder,
        lattice: np.ndarray | None = None,
        packet: int = 0,
    ) -> None:
        """Append levels int16 [N, CHANNELS] of classes uint8 [N]; of these only what packet_lattice() `lattice`
        gives to `packet`."""
        coder.room(2 * int(self._count[classes].sum()))
        _encode(coder.state, coder.data, levels, classes, *self._fixed(lattice, len(classes)), packet)

    def decode(
        self, classes: np.ndarray, coder: RangeDecoder, lattice: np.ndarray | None = None, packet: int = 0
    ) -> np.ndarray:
        """The inverse of encode: levels int16 [N, CHANNELS], zero where the packet has none."""
        levels = np.zeros((len(classes), CHANNELS), np.int16)
        _decode(coder.state, coder.data, levels, classes, *self._fixed(lattice, len(classes)), packet)
        return levels

    def bits(self, levels: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Code lengths float32 [N] of the levels of each position under the tables of their classes."""
        total = np.zeros(len(classes), np.float32)
        _bits(levels, classes, self.tables.rows, self._count, self._channels, self._lengths, total)
        return total

    def _fixed(self, lattice: np.ndarray | None, count: int) -> tuple[np.ndarray, ...]:
        if lattice is None:
            lattice = packet_lattice(count, 1, 1, INTERLEAVED)
        fixed = self.tables.rows, self._count, self._channels, self._mean, self._steps, self.tables.level_sums
        return *fixed, lattice


@inline
def _step(seen, expected):
    """Which of STEPS a position is at, as an index."""
    return min(max((4 * (seen + EVEN) // (expected + EVEN) - 3) >> 1, STEPS[0]), STEPS[-1]) - STEPS[0]


@inline
def _after(seen, expected, level, mean):
    """What has been seen of a position, and was expected, after one more level."""
    return seen + min(abs(level), LARGE) * ONE - (seen >> FADE), expected + mean - (expected >> FADE)


@kernel
def _encode(state, data, levels, classes, rows, count, channels, mean, steps, table, lattice, packet):
    for position in range(len(classes)):
        own, seen, expected = classes[position], 0, 0
        for index in range(count[own]):
            channel = channels[own, index]
            if lattice[position, channel] == packet:
                row, level = rows[own, channel], np.int64(levels[position, channel])
                put_level(state, data, table[steps[row, _step(seen, expected)]], level)
                seen, expected = _after(seen, expected, level, mean[row])


@kernel
def _decode(state, data, levels, classes, rows, count, channels, mean, steps, table, lattice, packet):
    for position in range(len(classes)):
        own, seen, expected = classes[position], 0, 0
        for index in range(count[own]):
            channel = channels[own, index]
            if lattice[position, channel] == packet:
                row = rows[own, channel]
                level = get_level(state, data, table[steps[row, _step(seen, expected)]])
                levels[position, channel] = level
                seen, expected = _after(seen, expected, level, mean[row])


@kernel
def _bits(levels, classes, rows, count, channels, lengths, total):
    for position in range(len(classes)):
        own = classes[position]
        for index in range(count[own]):
            channel = channels[own, index]
            level = abs(np.int64(levels[position, channel]))
            total[position] += lengths[rows[own, channel], min(level, lengths.shape[1] - 1)]


@inline
def put_level(state, data, row, level):
    """Append a level; one beyond ±LEVELS as escape, bit length of the excess, sign, rest: 32 bits at most."""
    excess = abs(level) - LEVELS
    if excess <= 0:
        put(state, data, row[level + LEVELS], row[level + LEVELS + 1])
        return
    put(state, data, row[ESCAPE], row[ESCAPE + 1])
    excess = min(excess, (1 << ESCAPE_LENGTHS) - 1)
    length = 0
    while excess >> length + 1:
        length += 1
    put_uniform(state, data, 2 * length + (level < 0), 2 * ESCAPE_LENGTHS)
    put_uniform(state, data, excess - (1 << length), 1 << length)


@inline
def get_level(state, data, row):
    """The inverse of put_level."""
    unit, code = look(state)
    symbol = LEVELS  # most are zero or not far from it
    while unit * row[symbol] > code:
        symbol -= 1
    while unit * row[symbol + 1] <= code:
        symbol += 1
    take(state, data, unit, code, row[symbol], row[symbol + 1])
    if symbol < ESCAPE:
        return symbol - LEVELS
    head = get_uniform(state, data, 2 * ESCAPE_LENGTHS)
    size = 1 << (head >> 1)
    level = LEVELS + size + get_uniform(state, data, size)
    return -level if head & 1 else level


@lru_cache(maxsize=64)
def packet_lattice(rows: int, columns: int, packets: int, layout: int, curve: int = 0) -> np.ndarray:
    """Which packet carries which symbol: uint8 [rows·columns, CHANNELS].

    INTERLEAVED: (channel, y, x) dealt on a lattice, so that neighbours never share a packet;
    PROGRESSIVE: channels in order of importance, the first packet matters most; how many a packet takes is
    channel_packets() of the frame's curve.
    """
    if layout == PROGRESSIVE:
        plane = np.broadcast_to(channel_packets(packets, curve), (rows * columns, CHANNELS))
    else:
        y, x = np.divmod(np.arange(rows * columns), columns)
        plane = ((x + max(1, packets // 2) * y)[:, None] + np.arange(CHANNELS)) % packets
    lattice = np.ascontiguousarray(plane, dtype=np.uint8)
    lattice.flags.writeable = False
    return lattice


def channel_packets(packets: int, curve: int) -> np.ndarray:
    """The packet of each channel in the progressive layout, int [CHANNELS]: packet i starts at channel
    max(i, CHANNELS·(i/K)^power)."""
    starts = [max(i, int(CHANNELS * (i / packets) ** CURVES[curve])) for i in range(1, packets)]
    return np.searchsorted(starts, np.arange(CHANNELS), side="right")


def best_curve(levels: np.ndarray, packets: int) -> int:
    """The curve under which the largest packet has the fewest levels other than zero; levels int16 [N, CHANNELS]."""
    busy = np.count_nonzero(levels, axis=0)
    return int(np.argmin([np.bincount(channel_packets(packets, c), busy).max() for c in range(len(CURVES))]))
