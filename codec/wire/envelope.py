"""What all packets share: version and type in byte 0, stream id, CRC32 over everything at the end."""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum

from lrae.errors import WireError

PROTOCOL_VERSION = 1
MTU = 1200  # bytes of UDP payload: passes every path that QUIC passes (RFC 9000, section 14)

_HEAD = struct.Struct("!BH")
_CRC = struct.Struct("!I")
OVERHEAD = _HEAD.size + _CRC.size


class Kind(IntEnum):
    """The low four bits of byte 0. 2 is reserved for PARITY."""

    DATA = 1
    FEEDBACK = 3
    HELLO = 4
    CONFIG = 5
    STATS = 6
    BYE = 7


class VersionError(WireError):
    """An intact packet of another protocol version."""

    def __init__(self, version: int) -> None:
        super().__init__(f"peer speaks protocol version {version}, this program speaks {PROTOCOL_VERSION}")
        self.version = version


def seal(kind: Kind, stream: int, body: bytes) -> bytes:
    """A datagram around `body`. Raises ValueError if it exceeds the MTU (our bug, not the network's)."""
    head = _HEAD.pack(PROTOCOL_VERSION << 4 | kind, stream)
    if len(body) + OVERHEAD > MTU:
        raise ValueError(f"packet of {len(body) + OVERHEAD} bytes does not fit the MTU of {MTU}")
    crc = zlib.crc32(body, zlib.crc32(head))
    return b"".join((head, body, _CRC.pack(crc)))


def unseal(data: bytes) -> tuple[Kind, int, memoryview]:
    """(kind, stream id, body). Raises WireError if it is short, long, damaged, of another version or kind."""
    if len(data) < OVERHEAD:
        raise WireError("packet is truncated")
    if len(data) > MTU:
        raise WireError(f"packet is longer than {MTU} bytes")
    view = memoryview(data)
    if zlib.crc32(view[: -_CRC.size]) != _CRC.unpack_from(data, len(data) - _CRC.size)[0]:
        raise WireError("packet is damaged: wrong CRC")
    first, stream = _HEAD.unpack_from(data)
    if first >> 4 != PROTOCOL_VERSION:
        raise VersionError(first >> 4)
    try:
        kind = Kind(first & 15)
    except ValueError:
        raise WireError(f"unknown packet type {first & 15}") from None
    return kind, stream, view[_HEAD.size : -_CRC.size]
