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
TIME_UNIT = 500e-6  # seconds
MAX_HOLD = 0xFFFF  # units of time
WHOLE = -1  # of a frame: all payloads that it has
_HEADER = struct.Struct("!BHHHB")
_INTRA, _ALL_HERE, _ALL_WHOLE = 0x80, 0x40, 0x20
_MAX_VARINT = 5  # bytes: of a time
_MAX_BITMAP = -(-MAX_PACKETS // 7)  # bytes


@dataclass(frozen=True)
class Feedback:
    """What a receiver has, in the spirit of RFC 8888.

    counter: 16 bits of the newest datagram received (meaningless while arrived is 0). arrival: when it arrived on the
    receiver's clock, 16 bits of units of 500 microseconds. hold: such units from then to the sending of this packet, so
    that round trip = now - sent - hold.
    newest: 16 bits of the newest frame that was decoded or given up. used: for `newest`, newest - 1, ... a bitmap of
    the payloads that took part in decoding it (bit i = payload i; 0: the frame was lost and extrapolated), or WHOLE.
    covered: how many counters the bitmap `arrived` speaks of: bit i = the datagram counter - i is here. times: for the
    first of its set bits after bit 0, in that order, units of 500 microseconds from the arrival of the set bit before:
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
        whole = sum(1 << i for i, used in enumerate(self.used) if used == WHOLE)
        flags, parts = self.intra_wanted * _INTRA, [_varint(self.hold)]
        for flag, bits, count in ((_ALL_WHOLE, whole, len(self.used)), (_ALL_HERE, self.arrived, self.covered)):
            if bits == (1 << count) - 1:
                flags |= flag
            else:
                parts.append(bits.to_bytes((count + 7) // 8, "little"))
        parts += [_varint(used) for used in self.used if used != WHOLE]
        parts += [_varint(2 * t if t >= 0 else -2 * t - 1) for t in self.times]
        head = _HEADER.pack(flags | len(self.used), self.counter, self.arrival, self.newest, self.covered)
        return b"".join((head, *parts))

    @classmethod
    def parse_body(cls, stream: int, body: memoryview) -> Feedback:
        """The inverse of body(). Raises WireError."""
        if len(body) < _HEADER.size:
            raise WireError("FEEDBACK is truncated")
        flags, counter, arrival, newest, covered = _HEADER.unpack_from(body)
        frames = flags & ~(_INTRA | _ALL_HERE | _ALL_WHOLE)
        if frames > MAX_REPORTED:
            raise WireError(f"FEEDBACK has {frames} frames")
        hold, at = _read_varint(body, _HEADER.size, _MAX_VARINT)
        whole, at = _bits(body, at, frames, bool(flags & _ALL_WHOLE))
        arrived, at = _bits(body, at, covered, bool(flags & _ALL_HERE))
        if hold > MAX_HOLD or bool(covered) != arrived & 1:
            raise WireError("FEEDBACK has a report of arrivals that cannot be")
        used, times = [], []
        for i in range(frames):
            bits = WHOLE
            if not whole >> i & 1:
                bits, at = _read_varint(body, at, _MAX_BITMAP)
            if bits >> MAX_PACKETS > 0:
                raise WireError("FEEDBACK has a bitmap of more payloads than a frame has")
            used.append(bits)
        while at < len(body):
            z, at = _read_varint(body, at, _MAX_VARINT)
            times.append(-(z + 1) // 2 if z & 1 else z // 2)
        if len(times) > max(0, arrived.bit_count() - 1):
            raise WireError("FEEDBACK has more times than arrivals")
        return cls(
            stream, bool(flags & _INTRA), counter, arrival, hold, newest, tuple(used), covered, arrived, tuple(times)
        )


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


def _read_varint(body: memoryview, at: int, longest: int) -> tuple[int, int]:
    """(the number at place `at`, the place after it). Raises WireError."""
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
    return value, at


def _bits(body: memoryview, at: int, count: int, full: bool) -> tuple[int, int]:
    """(a bitmap of `count` bits, the place after it). full: all are set, and nothing is there. Raises WireError."""
    ones = (1 << count) - 1
    if full:
        return ones, at
    end = at + (count + 7) // 8
    bits = int.from_bytes(body[at:end], "little")
    if end > len(body) or bits >= ones:
        raise WireError("FEEDBACK has a bitmap that is truncated or cannot be")
    return bits, end
