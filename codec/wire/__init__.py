"""What travels in a UDP datagram: docs/protocol.md in code. No torch, no sockets."""

from __future__ import annotations

from lrae.codec.wire.control import NONCE, Alive, Bye, ByeCode, Config, Hello, Stats
from lrae.codec.wire.data import DATA_HEADER, DataPacket
from lrae.codec.wire.envelope import (
    HANDSHAKE,
    MTU,
    PROTOCOL_VERSION,
    Envelope,
    Kind,
    Opened,
    PlainEnvelope,
    VersionError,
    intact,
    peek,
)
from lrae.codec.wire.feedback import MAX_REPORTED, WHOLE, Feedback
from lrae.codec.wire.parity import PARITY_OVERHEAD, Parity

DATA_OVERHEAD = PlainEnvelope.overhead + DATA_HEADER  # 24 bytes, without a key


def payload_room(envelope_overhead: int = PlainEnvelope.overhead, parity: bool = True) -> int:
    """The longest payload whose DATA packet fits the MTU, and so do the PARITY packets that protect it."""
    return MTU - envelope_overhead - DATA_HEADER - parity * PARITY_OVERHEAD

Packet = DataPacket | Parity | Feedback | Hello | Config | Stats | Bye | Alive

_CLASSES = {
    Kind.DATA: DataPacket,
    Kind.FEEDBACK: Feedback,
    Kind.HELLO: Hello,
    Kind.CONFIG: Config,
    Kind.STATS: Stats,
    Kind.BYE: Bye,
    Kind.ALIVE: Alive,
}


def parse_packet(opened: Opened) -> Packet:
    """The packet in a datagram that an envelope has opened. Raises WireError."""
    if opened.kind is Kind.PARITY:
        return Parity.parse_body(opened.body)
    return _CLASSES[opened.kind].parse_body(opened.stream, opened.body)


def seal_packet(packet: Packet, envelope: Envelope) -> bytes:
    """The datagram of a packet. Raises ValueError if it exceeds the MTU."""
    return envelope.seal(packet.KIND, packet.stream, packet.body())


__all__ = [
    "DATA_HEADER",
    "DATA_OVERHEAD",
    "HANDSHAKE",
    "MAX_REPORTED",
    "MTU",
    "NONCE",
    "PROTOCOL_VERSION",
    "WHOLE",
    "Alive",
    "Bye",
    "ByeCode",
    "Config",
    "DataPacket",
    "Envelope",
    "Feedback",
    "Hello",
    "Kind",
    "Opened",
    "Packet",
    "Parity",
    "PlainEnvelope",
    "Stats",
    "VersionError",
    "intact",
    "parse_packet",
    "payload_room",
    "peek",
    "seal_packet",
]
