"""DATA: one payload of one frame, with everything of the frame's header that a decoder needs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar

from lrae.codec.types import LAYOUTS, Q_LEVELS, FrameHeader
from lrae.codec.wire.envelope import Kind
from lrae.codec.wire.serial import wrap
from lrae.errors import WireError

# frame, capture time, layout|index, intra|last|K-1, q, distance of the reference, wait
_HEADER = struct.Struct("!IIBBBBB")
DATA_HEADER = _HEADER.size  # 13 bytes
MAX_REFERENCE = 255
_WAIT_UNIT = 0.002  # seconds


@dataclass(frozen=True)
class DataPacket:
    """One packet of a frame.

    stream: 16-bit id. capture: 32-bit microseconds on the sender's clock. index: which of header.packets this is.
    wait: 0..255, for how long parity or a retransmission may still repair the frame after it was overtaken, in units of
    2 ms. last: packets with a higher index are not sent, the frame's tail was cut off. An inter frame's
    header.reference lies 1..255 frames back; an intra frame's is 0.
    """

    KIND: ClassVar[Kind] = Kind.DATA
    stream: int
    capture: int
    header: FrameHeader
    index: int
    payload: bytes
    wait: int = 0
    last: bool = False

    @property
    def wait_seconds(self) -> float:
        return self.wait * _WAIT_UNIT

    def body(self) -> bytes:
        """What is sealed, and what parity protects."""
        header = self.header
        distance = 0 if header.intra else wrap(header.number - header.reference)
        if not header.intra and not 1 <= distance <= MAX_REFERENCE:
            raise ValueError(f"reference {header.reference} of frame {header.number} is out of reach")
        head = _HEADER.pack(
            header.number,
            self.capture,
            header.layout << 6 | self.index,
            header.intra << 7 | self.last << 6 | (header.packets - 1),
            header.q,
            distance,
            self.wait,
        )
        return head + self.payload

    @classmethod
    def parse_body(cls, stream: int, body: bytes | memoryview) -> DataPacket:
        """The inverse of body(). Raises WireError."""
        if len(body) < _HEADER.size:
            raise WireError("DATA is truncated")
        number, capture, index, packets, q, distance, wait = _HEADER.unpack_from(body)
        layout, index = index >> 6, index & 63
        intra, last, packets = bool(packets >> 7), bool(packets & 64), (packets & 63) + 1
        if index >= packets or (last and index == packets - 1):
            raise WireError(f"DATA has packet {index} of {packets}")
        if q >= Q_LEVELS:
            raise WireError(f"DATA has q {q}")
        if layout >= len(LAYOUTS):
            raise WireError(f"DATA has layout {layout}")
        if intra != (distance == 0):
            raise WireError(f"DATA has reference distance {distance} and intra flag {intra}")
        reference = 0 if intra else wrap(number - distance)
        header = FrameHeader(number, intra, q, packets, layout, reference)
        return cls(stream, capture, header, index, bytes(body[_HEADER.size :]), wait, last)


def capture_stamp(seconds: float) -> int:
    """Seconds on the sender's clock as the 32-bit microseconds that travel."""
    return wrap(round(seconds * 1e6))


def wait_stamp(seconds: float) -> int:
    """Seconds as DataPacket.wait, rounded up and cut to what fits."""
    return min(255, max(0, -int(-seconds // _WAIT_UNIT)))
