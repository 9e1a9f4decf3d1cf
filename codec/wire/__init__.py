"""What travels in a UDP datagram: docs/protocol.md in code. No torch, no sockets."""

from __future__ import annotations

from lrae.codec.wire.control import Bye, ByeCode, Config, Hello, Stats
from lrae.codec.wire.data import DATA_OVERHEAD, DataPacket
from lrae.codec.wire.envelope import MTU, PROTOCOL_VERSION, Kind, VersionError, unseal
from lrae.codec.wire.feedback import MAX_REPORTED, Feedback

Packet = DataPacket | Feedback | Hello | Config | Stats | Bye

_CLASSES = {
    Kind.DATA: DataPacket,
    Kind.FEEDBACK: Feedback,
    Kind.HELLO: Hello,
    Kind.CONFIG: Config,
    Kind.STATS: Stats,
    Kind.BYE: Bye,
}


def parse_packet(data: bytes) -> Packet:
    """The packet in one datagram. Raises WireError otherwise (VersionError: another version)."""
    kind, stream, body = unseal(data)
    return _CLASSES[kind].parse_body(stream, body)


__all__ = [
    "DATA_OVERHEAD",
    "MAX_REPORTED",
    "MTU",
    "PROTOCOL_VERSION",
    "Bye",
    "ByeCode",
    "Config",
    "DataPacket",
    "Feedback",
    "Hello",
    "Kind",
    "Packet",
    "Stats",
    "VersionError",
    "parse_packet",
]
