"""Range coding of the levels of one frame into K packets, table by table: integers only, nothing learned runs.

Symbols are sorted by (packet, table) and coded with one fixed table per run: a frame is at most K·T calls of the
coder. `constriction` decodes damaged input to in-range symbols, so every packet carries a checksum on the wire.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lrae.codec.range_coding import (
    Categorical,
    RangeDecoder,
    RangeEncoder,
    Uniform,
    bytes_to_words,
    contained,
    words_to_bytes,
)
from lrae.errors import WireError
from lrae.models.tables import CHANNELS, ESCAPE, ESCAPE_LENGTHS, FREQUENCY_BITS, LEVELS, ClassTables

_LENGTH, _SIGN, _RAW = Uniform(ESCAPE_LENGTHS), Uniform(2), Uniform()


class LevelCoder:
    """Codes levels under one ClassTables."""

    def __init__(self, tables: ClassTables):
        self.tables = tables
        self._models = [Categorical(row / (1 << FREQUENCY_BITS), perfect=False) for row in tables.frequencies]

    def encode(self, levels: np.ndarray, classes: np.ndarray, packet_of: np.ndarray, packets: int) -> list[bytes]:
        """levels int16 [N, CHANNELS], classes uint8 [N], packet_of uint8 [N, CHANNELS] -> one byte string a packet."""
        order, bounds = self._order(classes, packet_of, packets)
        symbols = levels.reshape(-1)[order].astype(np.int32)
        large = np.abs(symbols) > LEVELS
        coded = np.where(large, ESCAPE, symbols + LEVELS).astype(np.int32)
        out = []
        for runs in bounds:
            coder = RangeEncoder()
            for table, start, end in runs:
                coder.encode(coded[start:end], self._models[table])
            if runs and large.any():
                span = slice(runs[0][1], runs[-1][2])
                encode_escapes(symbols[span][large[span]], coder)
            out.append(words_to_bytes(coder.get_compressed()))
        return out

    def decode(
        self, payloads: dict[int, bytes], classes: np.ndarray, packet_of: np.ndarray, packets: int
    ) -> tuple[np.ndarray, frozenset[int]]:
        """The levels int16 [N, CHANNELS] that the given packets (index -> bytes) carry, missing ones zero, and
        the indices of the packets that could be read."""
        order, bounds = self._order(classes, packet_of, packets)
        levels, read = np.zeros(packet_of.size, np.int16), []
        for packet, data in payloads.items():
            runs = bounds[packet]
            try:
                with contained("levels"):
                    if runs:
                        levels[order[runs[0][1] : runs[-1][2]]] = self._decode_packet(data, runs)
            except WireError:
                continue
            read.append(packet)
        return levels.reshape(packet_of.shape), frozenset(read)

    def _decode_packet(self, data: bytes, runs: list[tuple[int, int, int]]) -> np.ndarray:
        coder = RangeDecoder(bytes_to_words(data))
        symbols = np.concatenate([coder.decode(self._models[table], end - start) for table, start, end in runs])
        escaped = np.flatnonzero(symbols == ESCAPE)
        value = symbols - LEVELS
        if len(escaped):
            value[escaped] = decode_escapes(len(escaped), coder)
        return value

    def _order(self, classes: np.ndarray, packet_of: np.ndarray, packets: int):
        """Flat indices of all sent symbols sorted by (packet, table), and per packet its (table, start, end) runs."""
        table = self.tables.rows[classes].reshape(-1)
        sent = np.flatnonzero(table != self.tables.never)
        key = packet_of.reshape(-1)[sent].astype(np.uint16) << 8 | table[sent]
        by_key = np.argsort(key, kind="stable")
        key = key[by_key]
        edges = np.flatnonzero(np.diff(key)) + 1
        starts = np.concatenate(([0], edges)).tolist() if len(key) else []
        ends = [*edges.tolist(), len(key)]
        bounds: list[list[tuple[int, int, int]]] = [[] for _ in range(packets)]
        for start, end in zip(starts, ends, strict=False):
            bounds[key[start] >> 8].append((int(key[start]) & 255, start, end))
        return sent[by_key], bounds


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
def packet_lattice(rows: int, columns: int, packets: int, layout: int) -> np.ndarray:
    """Which packet carries which symbol: uint8 [rows·columns, CHANNELS].

    layout 0 (interleaved): (channel, y, x) dealt on a lattice, so that neighbours never share a packet;
    layout 1 (progressive): channels in order of importance, the first packet matters most.
    """
    channel = np.arange(CHANNELS)
    if layout == 1:
        plane = np.broadcast_to(channel * packets // CHANNELS, (rows * columns, CHANNELS))
    else:
        y, x = np.divmod(np.arange(rows * columns), columns)
        plane = ((x + max(1, packets // 2) * y)[:, None] + channel) % packets
    lattice = np.ascontiguousarray(plane, dtype=np.uint8)
    lattice.flags.writeable = False
    return lattice


def check_packets(packets: int, indices) -> None:
    """Raise WireError if an index does not fit the number of packets."""
    if any(not 0 <= index < packets for index in indices):
        raise WireError("packet index beyond the frame's packets")
