"""DATA: payloads of one frame, with everything of the frame's header that a decoder needs."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lrae.codec.types import LAYOUTS, Q_LEVELS, FrameHeader
from lrae.codec.wire.envelope import Kind
from lrae.codec.wire.serial import wrap
from lrae.errors import WireError

# frame, capture time, layout|index, intra|last|K-1, several|q, distance of the reference, wait
_HEADER = struct.Struct("!IIBBBBB")
DATA_HEADER = _HEADER.size  # 13 bytes
MAX_REFERENCE = 255
ENTRY = 2  # bytes before each payload of a packet that names them
_ENTRY = struct.Struct("!H")  # index (6 bits), length (10 bits)
_REST = 1023  # as a length: all that follows, so the entry is the last
_SEVERAL = 0x80
_WAIT_UNIT = 0.002  # seconds


@dataclass(frozen=True)
class DataPacket:
    """One or more payloads of a frame.

    stream: 16-bit id. capture: 32-bit microseconds on the sender's clock. index: names this packet among those of its
    frame, 0 to header.packets - 1; of a frame whose packets have one payload each, it is the payload's.
    payloads: (which of header.packets, payload), as they follow each other; only the last may exceed 1022 bytes.
    wait: 0..255, for how long parity or a retransmission may still repair the frame after it was overtaken, in units of
    2 ms. last: payloads with a higher index are not sent, the frame's tail was cut off. An inter frame's
    header.reference lies 1..255 frames back; an intra frame's is 0.
    """

    KIND: ClassVar[Kind] = Kind.DATA
    stream: int
    capture: int
    header: FrameHeader
    index: int
    payloads: tuple[tuple[int, bytes], ...]
    wait: int = 0
    last: bool = False

    @classmethod
    def single(
        cls, stream: int, capture: int, header: FrameHeader, index: int, payload: bytes, wait: int = 0
    ) -> DataPacket:
        """A packet of one payload, named as that is."""
        return cls(stream, capture, header, index, ((index, payload),), wait)

    @property
    def wait_seconds(self) -> float:
        return self.wait * _WAIT_UNIT

    def body(self) -> bytes:
        """What is sealed, and what parity protects."""
        header = self.header
        distance = 0 if header.intra else wrap(header.number - header.reference)
        if not header.intra and not 1 <= distance <= MAX_REFERENCE:
            raise ValueError(f"reference {header.reference} of frame {header.number} is out of reach")
        alone = is_alone(self.index, [index for index, _ in self.payloads])
        if self.last and not alone:
            raise ValueError("the last packet of a frame that was cut has one payload")
        head = _HEADER.pack(
            header.number,
            self.capture,
            header.layout << 6 | self.index,
            header.intra << 7 | self.last << 6 | (header.packets - 1),
            (not alone) * _SEVERAL | header.q,
            distance,
            self.wait,
        )
        return head + (self.payloads[0][1] if alone else _join(self.payloads))

    @classmethod
    def parse_body(cls, stream: int, body: bytes | memoryview) -> DataPacket:
        """The inverse of body(). Raises WireError."""
        if len(body) < _HEADER.size:
            raise WireError("DATA is truncated")
        number, capture, index, packets, q, distance, wait = _HEADER.unpack_from(body)
        layout, index = index >> 6, index & 63
        intra, last, packets = bool(packets >> 7), bool(packets & 64), (packets & 63) + 1
        several, q = bool(q & _SEVERAL), q & ~_SEVERAL
        if index >= packets or (last and (index == packets - 1 or several)):
            raise WireError(f"DATA has packet {index} of {packets}")
        if q >= Q_LEVELS:
            raise WireError(f"DATA has q {q}")
        if layout >= len(LAYOUTS):
            raise WireError(f"DATA has layout {layout}")
        if intra != (distance == 0):
            raise WireError(f"DATA has reference distance {distance} and intra flag {intra}")
        reference = 0 if intra else wrap(number - distance)
        header = FrameHeader(number, intra, q, packets, layout, reference)
        rest = bytes(body[_HEADER.size :])
        payloads = _split(rest, index, packets) if several else ((index, rest),)
        return cls(stream, capture, header, index, payloads, wait, last)


def is_alone(index: int, payloads: Sequence[int]) -> bool:
    """Whether packet `index` of a frame, with these payloads, needs no entries: it has the one that it is named by."""
    return len(payloads) == 1 and payloads[0] == index


def _join(payloads: Sequence[tuple[int, bytes]]) -> bytes:
    """Payloads, each behind its entry."""
    if not payloads or any(len(payload) >= _REST for _, payload in payloads[:-1]):
        raise ValueError("DATA without a payload, or with a long one that is not the last")
    lengths = [*(len(payload) for _, payload in payloads[:-1]), _REST]
    entries = (_ENTRY.pack(index << 10 | length) for (index, _), length in zip(payloads, lengths, strict=True))
    return b"".join(part for entry, (_, payload) in zip(entries, payloads, strict=True) for part in (entry, payload))


def _split(body: bytes, packet: int, packets: int) -> tuple[tuple[int, bytes], ...]:
    """The inverse of _join(); packet: of so many."""
    found: dict[int, bytes] = {}
    at = length = 0
    while length != _REST:
        if at + ENTRY > len(body):
            raise WireError("DATA is truncated")
        (entry,) = _ENTRY.unpack_from(body, at)
        index, length, at = entry >> 10, entry & _REST, at + ENTRY
        end = len(body) if length == _REST else at + length
        if index >= packets or index in found or end > len(body):
            raise WireError(f"DATA has payload {index} of {packets} twice, or is truncated")
        found[index], at = body[at:end], end
    if is_alone(packet, tuple(found)):
        raise WireError("DATA names its only payload for nothing")
    return tuple(found.items())


def capture_stamp(seconds: float) -> int:
    """Seconds on the sender's clock as the 32-bit microseconds that travel."""
    return wrap(round(seconds * 1e6))


def wait_stamp(seconds: float) -> int:
    """Seconds as DataPacket.wait, rounded up and cut to what fits."""
    return min(255, max(0, -int(-seconds // _WAIT_UNIT)))
