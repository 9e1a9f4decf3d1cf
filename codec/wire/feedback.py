"""FEEDBACK (the ACK): payloads decoded of the last frames, which datagrams arrived and when, an intra frame wanted."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from lrae.codec.types import MAX_PACKETS
from lrae.codec.wire.envelope import Kind
from lrae.errors import WireError

MAX_REPORTED = 16  # frames named in one packet: so many feedback packets in a row may be lost without harm
MAX_COVERED = 255  # datagrams
TIME_UNIT = 250e-6  # seconds
MAX_HOLD = 0xFFFF  # units of time
_HEADER = struct.Struct("!BHHHHBB")
_INTRA = 0x80
_MAX_VARINT = 5  # bytes: of a time
_MAX_BITMAP = -(-MAX_PACKETS // 7)  # bytes


@dataclass(frozen=True)
class Feedback:
    """What a receiver has, in the spirit of RFC 8888.

    counter: 16 bits of the newest datagram received (meaningless while arrived is 0). arrival: when it arrived on the
    receiver's clock, 16 bits of units of 250 microseconds. hold: such units from then to the sending of this packet, so
    that round trip = now - sent - hold.
    newest: 16 bits of the newest frame that was decoded or given up. used: for `newest`, newest - 1, ... a bitmap of
    the payloads that took part in decoding it (bit i = payload i; 0: the frame was lost and extrapolated).
    covered: how many counters the bitmap `arrived` speaks of: bit i = the datagram counter - i is here. times: for the
    first of its set bits after bit 0, in that order, units of 250 microseconds from the arrival of the set bit before:
    how much earlier this one came (negative: later).
    """

    KIND: ClassVar[Kind] = Kind.FEEDBACK
    stream: int
    intra_wanted: bool = False
    counter: int = 0
    arrival: int = 0
    hold: int = 0
    newest: int = 0
    used: tuple[int, ...] = ()
    covered: int = 0
    arrived: int = 0
    times: tuple[int, ...] = ()

    def body(self) -> bytes:
        head = _HEADER.pack(
            self.intra_wanted * _INTRA | len(self.used),
            self.counter,
            self.arrival,
            self.hold,
            self.newest,
            self.covered,
            len(self.times),
        )
        arrived = self.arrived.to_bytes((self.covered + 7) // 8, "little")
        signed = (2 * t if t >= 0 else -2 * t - 1 for t in self.times)
        return b"".join((head, *map(_varint, self.used), arrived, *map(_varint, signed)))

    @classmethod
    def parse_body(cls, stream: int, body: memoryview) -> Feedback:
        """The inverse of body(). Raises WireError."""
        if len(body) < _HEADER.size:
            raise WireError("FEEDBACK is truncated")
        frames, counter, arrival, hold, newest, covered, timed = _HEADER.unpack_from(body)
        intra_wanted, frames = bool(frames & _INTRA), frames & ~_INTRA
        if frames > MAX_REPORTED:
            raise WireError(f"FEEDBACK has {frames} frames")
        used, at = _varints(body, _HEADER.size, frames, _MAX_BITMAP)
        end = at + (covered + 7) // 8
        if end > len(body):
            raise WireError("FEEDBACK is truncated")
        arrived = int.from_bytes(body[at:end], "little")
        if arrived.bit_length() > covered or bool(covered) != arrived & 1 or timed > max(0, arrived.bit_count() - 1):
            raise WireError("FEEDBACK has a bitmap of arrivals that cannot be")
        signed, at = _varints(body, end, timed, _MAX_VARINT)
        if at != len(body):
            raise WireError("FEEDBACK has trailing bytes")
        if any(bits >> MAX_PACKETS for bits in used):
            raise WireError("FEEDBACK has a bitmap of more payloads than a frame has")
        times = tuple(-(z + 1) // 2 if z & 1 else z // 2 for z in signed)
        return cls(stream, intra_wanted, counter, arrival, hold, newest, used, covered, arrived, times)


def bitmap(indices: Iterable[int]) -> int:
    """Payload indices as an integer with those bits set."""
    return sum(1 << i for i in set(indices))


def indices(bits: int) -> frozenset[int]:
    """The inverse of bitmap()."""
    return frozenset(i for i in range(bits.bit_length()) if bits >> i & 1)


def _varint(value: int) -> bytes:
    """LEB128: seven bits a byte, lowest first, the high bit says that more follow."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varints(body: memoryview, at: int, count: int, longest: int) -> tuple[tuple[int, ...], int]:
    """(`count` values from place `at`, the place after them). Raises WireError."""
    values = []
    for _ in range(count):
        value = shift = 0
        while True:
            if at >= len(body) or shift >= 7 * longest:
                raise WireError("FEEDBACK is truncated or has a number that is too long")
            byte = body[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if byte == 0 and shift > 7:
            raise WireError("FEEDBACK has a number with a trailing zero")
        values.append(value)
    return tuple(values), at
