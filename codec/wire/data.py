"""DATA: one payload of one frame, with everything of the frame's header that a decoder needs."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lrae.codec.types import LAYOUTS, Q_LEVELS, FrameHeader
from lrae.codec.wire.envelope import OVERHEAD, Kind, seal, unseal
from lrae.codec.wire.serial import wrap
from lrae.errors import WireError

# sequence, frame, capture time, layout|index, intra|K-1, q, distance of the reference
_HEADER = struct.Struct("!IIIBBBB")
DATA_OVERHEAD = OVERHEAD + _HEADER.size  # 23 bytes
MAX_REFERENCE = 255


@dataclass(frozen=True)
class DataPacket:
    """One packet of a frame.

    stream: 16-bit id. sequence: 32-bit, counts the DATA packets of a stream. capture: 32-bit microseconds on
    the sender's clock. index: which of header.packets this is; packet i of a frame has the sequence number of
    packet 0 plus i. An inter frame's header.reference lies 1..255 frames back; an intra frame's is 0.
    """

    stream: int
    sequence: int
    capture: int
    header: FrameHeader
    index: int
    payload: bytes

    def __bytes__(self) -> bytes:
        header = self.header
        distance = 0 if header.intra else wrap(header.number - header.reference)
        if not header.intra and not 1 <= distance <= MAX_REFERENCE:
            raise ValueError(f"reference {header.reference} of frame {header.number} is out of reach")
        head = _HEADER.pack(
            self.sequence,
            header.number,
            self.capture,
            header.layout << 6 | self.index,
            header.intra << 7 | (header.packets - 1),
            header.q,
            distance,
        )
        return seal(Kind.DATA, self.stream, head + self.payload)

    @classmethod
    def parse(cls, data: bytes) -> DataPacket:
        """The inverse of bytes(). Raises WireError."""
        kind, stream, body = unseal(data)
        if kind != Kind.DATA:
            raise WireError(f"expected DATA, got {kind.name}")
        return cls.parse_body(stream, body)

    @classmethod
    def parse_body(cls, stream: int, body: memoryview) -> DataPacket:
        if len(body) < _HEADER.size:
            raise WireError("DATA is truncated")
        sequence, number, capture, index, packets, q, distance = _HEADER.unpack_from(body)
        layout, index = index >> 6, index & 63
        intra, packets = bool(packets >> 7), (packets & 127) + 1
        if packets > 64 or index >= packets:
            raise WireError(f"DATA has packet {index} of {packets}")
        if q >= Q_LEVELS:
            raise WireError(f"DATA has q {q}")
        if layout >= len(LAYOUTS):
            raise WireError(f"DATA has layout {layout}")
        if intra != (distance == 0):
            raise WireError(f"DATA has reference distance {distance} and intra flag {intra}")
        reference = 0 if intra else wrap(number - distance)
        header = FrameHeader(number, intra, q, packets, layout, reference)
        return cls(stream, sequence, capture, header, index, bytes(body[_HEADER.size :]))


def capture_stamp(seconds: float) -> int:
    """Seconds on the sender's clock as the 32-bit microseconds that travel."""
    return wrap(round(seconds * 1e6))
