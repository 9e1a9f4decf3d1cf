"""FEEDBACK (the ACK): payloads decoded of the last frames, newest arrival, and whether an intra is wanted."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from lrae.codec.types import MAX_PACKETS
from lrae.codec.wire.envelope import Kind, seal, unseal
from lrae.codec.wire.serial import wrap
from lrae.errors import WireError

MAX_REPORTED = 16  # frames named in one packet: so many feedback packets in a row may be lost without harm
_HEADER = struct.Struct("!BIIIIIB")
_INTRA = 1


@dataclass(frozen=True)
class Feedback:
    """What a receiver has, in the spirit of RFC 8888.

    sequence: newest DATA packet received (0 and meaningless while received is 0). received: DATA packets
    received in all, 32-bit. arrival: when `sequence` arrived, 32-bit microseconds on the receiver's clock.
    hold: microseconds from then to the sending of this packet, so that round trip = now - sent - hold.
    newest: newest frame that was decoded or given up. used: for `newest`, newest - 1, ... a bitmap of the
    payloads that took part in decoding it (bit i = payload i; 0: the frame was lost and extrapolated).
    """

    stream: int
    intra_wanted: bool = False
    sequence: int = 0
    received: int = 0
    arrival: int = 0
    hold: int = 0
    newest: int = 0
    used: tuple[int, ...] = ()

    def frames(self) -> list[tuple[int, int]]:
        """(frame number, bitmap of the payloads used), oldest first."""
        return [(wrap(self.newest - back), self.used[back]) for back in range(len(self.used) - 1, -1, -1)]

    def __bytes__(self) -> bytes:
        head = _HEADER.pack(
            self.intra_wanted * _INTRA,
            self.sequence,
            self.received,
            self.arrival,
            self.hold,
            self.newest,
            len(self.used),
        )
        return seal(Kind.FEEDBACK, self.stream, b"".join((head, *map(_pack_bits, self.used))))

    @classmethod
    def parse(cls, data: bytes) -> Feedback:
        """The inverse of bytes(). Raises WireError."""
        kind, stream, body = unseal(data)
        if kind != Kind.FEEDBACK:
            raise WireError(f"expected FEEDBACK, got {kind.name}")
        return cls.parse_body(stream, body)

    @classmethod
    def parse_body(cls, stream: int, body: memoryview) -> Feedback:
        if len(body) < _HEADER.size:
            raise WireError("FEEDBACK is truncated")
        flags, sequence, received, arrival, hold, newest, count = _HEADER.unpack_from(body)
        if flags & ~_INTRA or count > MAX_REPORTED:
            raise WireError(f"FEEDBACK has flags {flags} and {count} frames")
        used, at, size = [], _HEADER.size, len(body)
        for _ in range(count):
            end = at + 1 + body[at] if at < size else size + 1
            if end > size or end > at + 1 + MAX_PACKETS // 8:
                raise WireError("FEEDBACK is truncated")
            if end > at + 1 and not body[end - 1]:
                raise WireError("FEEDBACK has a bitmap with a trailing zero")
            used.append(int.from_bytes(body[at + 1 : end], "little"))
            at = end
        if at != size:
            raise WireError("FEEDBACK has trailing bytes")
        return cls(stream, bool(flags), sequence, received, arrival, hold, newest, tuple(used))


def bitmap(indices: Iterable[int]) -> int:
    """Payload indices as an integer with those bits set."""
    return sum(1 << i for i in set(indices))


def indices(bits: int) -> frozenset[int]:
    """The inverse of bitmap()."""
    return frozenset(i for i in range(bits.bit_length()) if bits >> i & 1)


def _pack_bits(bits: int) -> bytes:
    length = (bits.bit_length() + 7) // 8
    return bytes((length,)) + bits.to_bytes(length, "little")
