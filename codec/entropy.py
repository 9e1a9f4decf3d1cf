"""Range coding of levels, table by table: integers only, nothing learned runs.

The symbols of a packet are sorted by table and coded with one fixed table per run: at most T calls of the coder.
`constriction` decodes damaged input to in-range symbols, so every packet carries a checksum on the wire.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lrae.codec.range_coding import Categorical, RangeDecoder, RangeEncoder, Uniform, contained
from lrae.codec.types import PROGRESSIVE
from lrae.models.tables import CHANNELS, ESCAPE, ESCAPE_LENGTHS, FREQUENCY_BITS, LEVELS, ClassTables

CURVES = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0)  # powers: the coarser a frame, the more of it is in few channels
_LENGTH, _SIGN, _RAW = Uniform(ESCAPE_LENGTHS), Uniform(2), Uniform()


class LevelCoder:
    """Codes levels under one ClassTables."""

    def __init__(self, tables: ClassTables):
        self.tables = tables
        self._models = [Categorical(row / (1 << FREQUENCY_BITS), perfect=False) for row in tables.frequencies]

    def encode(self, levels: np.ndarray, classes: np.ndarray, coder: RangeEncoder, here: np.ndarray | None = None):
        """Append levels int16 [N, CHANNELS] of classes uint8 [N]; of these only `here`, bool [N, CHANNELS]."""
        order, runs = self._order(classes, here)
        symbols = levels.reshape(-1)[order].astype(np.int32)
        large = np.abs(symbols) > LEVELS
        coded = np.where(large, ESCAPE, symbols + LEVELS).astype(np.int32)
        for table, start, end in runs:
            coder.encode(coded[start:end], self._models[table])
        if large.any():
            encode_escapes(symbols[large], coder)

    def decode(self, classes: np.ndarray, coder: RangeDecoder, here: np.ndarray | None = None) -> np.ndarray:
        """The inverse of encode: levels int16 [N, CHANNELS], zero where not `here`. WireError."""
        order, runs = self._order(classes, here)
        levels = np.zeros((len(classes), CHANNELS), np.int16)
        if not runs:
            return levels
        with contained("levels"):
            symbols = np.concatenate([coder.decode(self._models[table], end - start) for table, start, end in runs])
            value = symbols - LEVELS
            escaped = np.flatnonzero(symbols == ESCAPE)
            if len(escaped):
                value[escaped] = decode_escapes(len(escaped), coder)
        levels.reshape(-1)[order] = value
        return levels

    def _order(self, classes: np.ndarray, here: np.ndarray | None) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
        """Flat indices of all symbols that are sent, sorted by table, and the tables' (table, start, end)."""
        table = self.tables.rows[classes]
        sent = np.flatnonzero(table != self.tables.never if here is None else (table != self.tables.never) & here)
        key = table.reshape(-1)[sent]
        by_key = np.argsort(key, kind="stable")
        key = key[by_key]
        edges = np.flatnonzero(np.diff(key)) + 1
        starts = [0, *edges.tolist()] if len(key) else []
        ends = [*edges.tolist(), len(key)]
        return sent[by_key], [(int(key[a]), a, b) for a, b in zip(starts, ends, strict=False)]


def encode_escapes(levels: np.ndarray, coder: RangeEncoder) -> None:
    """Append levels of more than LEVELS: bit lengths, signs, raw bits. int32 [n]."""
    excess = np.abs(levels) - LEVELS  # >= 1
    length = np.floor(np.log2(excess)).astype(np.int32)
    coder.encode(length, _LENGTH)
    coder.encode((levels < 0).astype(np.int32), _SIGN)
    raw = length > 0
    if raw.any():
        size = (1 << length[raw]).astype(np.int32)
        coder.encode((excess[raw] - size).astype(np.int32), _RAW, size)


def decode_escapes(count: int, coder: RangeDecoder) -> np.ndarray:
    """The inverse of encode_escapes."""
    length = coder.decode(_LENGTH, count)
    sign = coder.decode(_SIGN, count)
    excess = (1 << length).astype(np.int32)
    raw = length > 0
    if raw.any():
        excess[raw] += coder.decode(_RAW, np.ascontiguousarray(excess[raw]))
    return np.where(sign == 1, -(excess + LEVELS), excess + LEVELS)


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
