"""PARITY: one linear combination of packets of one or several frames, and which packets those are."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lrae.codec.types import MAX_PACKETS
from lrae.codec.wire.serial import wrap
from lrae.errors import WireError

BLOCK, STREAMING = 0, 1
MAX_WINDOW = 8  # frames
MAX_COVERAGE = 12  # bytes that name the covered packets
MAX_COLUMNS, MAX_ROWS = 192, 64  # packets and parities that a streaming code tells apart; both codes' most parity
_HEADER = struct.Struct("!IBBB")  # newest frame, code|window - 1, row, base
PARITY_HEAD = _HEADER.size + MAX_COVERAGE  # bytes of the body before the payload, at most
LENGTH_BYTES = 2  # a parity's payload is so much longer than the longest packet that it covers
PARITY_OVERHEAD = PARITY_HEAD + LENGTH_BYTES  # so much longer than that packet's body is a PARITY body, at most
_PARTIAL = 0x80


@dataclass(frozen=True)
class Parity:
    """What a PARITY packet says. number: the newest frame covered; 32 bits of it travel.

    code: BLOCK (Reed-Solomon over one frame) or STREAMING (Cauchy over a window of frames). row: which parity
    of the code. base: BLOCK: how many parities the code has; STREAMING: the column of the oldest covered packet,
    the others follow. covered: per frame, from `number` backwards, a bitmap of the packets that take part;
    columns are counted from the oldest frame to the newest, in each by rising index. payload: the combination
    of those packets, each preceded by its length (16 bits) and filled with zeros.
    """

    number: int
    code: int
    row: int
    base: int
    covered: tuple[int, ...]
    payload: bytes

    def body(self) -> bytes:
        """The bytes that travel."""
        head = _HEADER.pack(wrap(self.number), self.code << 4 | (len(self.covered) - 1), self.row, self.base)
        return b"".join((head, coverage(self.covered), self.payload))

    @classmethod
    def parse_body(cls, body: bytes | memoryview) -> Parity:
        """The inverse of body(). Raises WireError. number: its 32 bits; the caller unwraps it."""
        size = len(body)
        if size < _HEADER.size:
            raise WireError("PARITY is truncated")
        number, code, row, base = _HEADER.unpack_from(body)
        code, window = code >> 4, (code & 15) + 1
        if code > STREAMING or window > (MAX_WINDOW if code == STREAMING else 1):
            raise WireError(f"PARITY has code {code} over {window} frames")
        at, covered = _HEADER.size, []
        for _ in range(window):
            bits, at = _parse_bits(body, at)
            covered.append(bits)
        if at > PARITY_HEAD or size - at < LENGTH_BYTES:
            raise WireError("PARITY is truncated" if at <= PARITY_HEAD else "PARITY covers too many packets")
        if not covered[-1]:
            raise WireError("PARITY has an oldest frame of which it covers nothing")
        check_rows(code, row, base, sum(map(int.bit_count, covered)))
        return cls(number, code, row, base, tuple(covered), bytes(body[at:]))


def check_rows(code: int, row: int, base: int, packets: int) -> None:
    """Raises WireError if the code has no such row or no such columns; packets: how many it covers."""
    if code == BLOCK:
        fits = row < base <= MAX_ROWS and 0 < packets <= 255 - base
    else:
        fits = row < MAX_ROWS and base < MAX_COLUMNS and 0 < packets <= MAX_COLUMNS
    if not fits:
        raise WireError(f"PARITY has row {row}, base {base} over {packets} packets")


def coverage(covered: tuple[int, ...]) -> bytes:
    """The bytes that name the covered packets: K (all of 0..K - 1), or 0x80 + n and a bitmap of n bytes."""
    return b"".join(map(_pack_bits, covered))


def _pack_bits(bits: int) -> bytes:
    count = bits.bit_length()
    if bits == (1 << count) - 1:
        return bytes((count,))
    length = (count + 7) // 8
    return bytes((_PARTIAL | length,)) + bits.to_bytes(length, "little")


def _parse_bits(body: bytes | memoryview, at: int) -> tuple[int, int]:
    """(bitmap of one frame, where the next begins)."""
    if at >= len(body):
        raise WireError("PARITY is truncated")
    count = body[at]
    if count <= MAX_PACKETS:
        return (1 << count) - 1, at + 1
    end = at + 1 + (count & ~_PARTIAL)
    if not _PARTIAL < count <= _PARTIAL + MAX_PACKETS // 8 or end > len(body):
        raise WireError(f"PARITY covers {count} packets of a frame, or is truncated")
    bits = int.from_bytes(body[at + 1 : end], "little")
    if _pack_bits(bits) != bytes(body[at:end]):
        raise WireError("PARITY names packets in more bytes than it takes")
    return bits, end
