"""What all packets share: version and type in byte 0, stream id, counter; at the end a CRC32, or with a key a tag."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from lrae.codec.wire.serial import unwrap, wrap
from lrae.errors import WireError

PROTOCOL_VERSION = 3
MTU = 1200  # bytes of UDP payload: passes every path that QUIC passes (RFC 9000, section 14)
MAX_JUMP = 1 << 15  # datagrams; a counter further ahead belongs to no sane peer

HEAD = struct.Struct("!BHI")
_CRC = struct.Struct("!I")


class Kind(IntEnum):
    """The low four bits of byte 0."""

    DATA = 1
    PARITY = 2
    FEEDBACK = 3
    HELLO = 4
    CONFIG = 5
    STATS = 6
    BYE = 7
    ALIVE = 8


# Say who somebody is, or that he leaves: sealed apart from a session, which they begin and end; counter 0 or a nonce.
HANDSHAKE = frozenset({Kind.HELLO, Kind.CONFIG, Kind.BYE})


class VersionError(WireError):
    """A packet of another protocol version."""

    reason = "version"

    def __init__(self, version: int) -> None:
        super().__init__(f"peer speaks protocol version {version}, this program speaks {PROTOCOL_VERSION}")
        self.version = version


class ReplayError(WireError):
    """A datagram that was here before, or is too old to tell."""

    reason = "replayed"


class KeyMismatch(WireError):
    """A datagram that was not sealed with our key, or was changed on its way."""

    reason = "key"


@dataclass(frozen=True)
class Opened:
    """A datagram that is what its sender sealed. counter: unbounded; counts the sender's datagrams of a session."""

    kind: Kind
    stream: int
    counter: int
    body: memoryview


class Envelope(Protocol):
    """Seals what goes to one peer in one session and opens what comes from it.

    overhead: bytes that seal() adds to a body. counter: of the next datagram sealed, unbounded.
    """

    overhead: int
    counter: int

    def seal(self, kind: Kind, stream: int, body: bytes) -> bytes:
        """A datagram. Raises ValueError if it exceeds the MTU (our bug, not the network's)."""

    def unseal(self, data: bytes) -> Opened:
        """Raises WireError: short, long, damaged, forged, replayed, of another version or kind."""


class PlainEnvelope:
    """Without a key: a CRC32 against damage, nothing against strangers. 11 bytes."""

    overhead = HEAD.size + _CRC.size

    def __init__(self, counter: int = 0) -> None:
        self.counter = counter
        self._newest: int | None = None

    def seal(self, kind: Kind, stream: int, body: bytes) -> bytes:
        check_size(len(body) + self.overhead)
        counter = 0 if kind in HANDSHAKE else self.counter
        self.counter += kind not in HANDSHAKE
        head = HEAD.pack(PROTOCOL_VERSION << 4 | kind, stream, wrap(counter))
        return b"".join((head, body, _CRC.pack(zlib.crc32(body, zlib.crc32(head)))))

    def unseal(self, data: bytes) -> Opened:
        if len(data) < self.overhead:
            raise WireError("packet is truncated")
        if not intact(data):
            raise WireError("packet is damaged: wrong CRC")
        kind, stream, counter = peek(data)
        if kind not in HANDSHAKE:
            near = counter if self._newest is None else self._newest
            counter = unwrap(counter, near)
            if counter > near + MAX_JUMP or counter < near - MAX_JUMP:
                raise WireError(f"counter jumps by {counter - near}")
            self._newest = max(near, counter)
        return Opened(kind, stream, counter, memoryview(data)[HEAD.size : -_CRC.size])


def peek(data: bytes) -> tuple[Kind, int, int]:
    """(kind, stream id, 32-bit counter) as they stand there, not checked. Raises WireError, VersionError."""
    if len(data) < HEAD.size:
        raise WireError("packet is truncated")
    if len(data) > MTU:
        raise WireError(f"packet is longer than {MTU} bytes")
    first, stream, counter = HEAD.unpack_from(data)
    if first >> 4 != PROTOCOL_VERSION:
        raise VersionError(first >> 4)
    try:
        return Kind(first & 15), stream, counter
    except ValueError:
        raise WireError(f"unknown packet type {first & 15}") from None


def intact(data: bytes) -> bool:
    """Whether it ends in the CRC32 of what is before, as it does in every version without a key."""
    at = len(data) - _CRC.size
    return at >= 0 and zlib.crc32(memoryview(data)[:at]) == _CRC.unpack_from(data, at)[0]


def check_size(size: int) -> None:
    """Raises ValueError if a datagram of `size` bytes exceeds the MTU."""
    if size > MTU:
        raise ValueError(f"packet of {size} bytes does not fit the MTU of {MTU}")
