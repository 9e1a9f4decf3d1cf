"""Sealed datagrams: ChaCha20-Poly1305 (RFC 8439) in place of the CRC, the first 7 bytes authenticated in clear."""

from __future__ import annotations

import struct
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from lrae.codec.wire.envelope import (
    HANDSHAKE,
    HEAD,
    PROTOCOL_VERSION,
    KeyMismatch,
    Kind,
    Opened,
    ReplayError,
    check_size,
    peek,
)
from lrae.codec.wire.serial import WRAP, unwrap, wrap
from lrae.errors import WireError

KEY_BYTES = 32
TAG_BYTES = 16
REPLAY_WINDOW = 1024  # datagrams: one that is further behind the newest is refused
_ALL_SEEN = (1 << REPLAY_WINDOW) - 1
_NONCE = struct.Struct("!IQ")  # 96 bits
_REST = 8  # bytes of a handshake's nonce that do not fit the counter's field


class SecureEnvelope:
    """The datagrams of one session: a key for each direction, the unbounded 64-bit counter as nonce. 23 bytes.

    32 bits of the counter travel; the rest is taken from the newest datagram that was authentic. Keys must be fresh
    wherever a counter begins again: a nonce that is used twice gives the plaintexts away. HELLO, CONFIG and BYE are
    not sealed here, but by HandshakeEnvelope.
    """

    overhead = HEAD.size + TAG_BYTES

    def __init__(self, sealing: bytes, opening: bytes, counter: int = 0) -> None:
        self.counter = counter
        self._sealing, self._opening = ChaCha20Poly1305(sealing), ChaCha20Poly1305(opening)
        self._newest = 0
        self._seen = 0  # bit i: newest - i was here

    def seal(self, kind: Kind, stream: int, body: bytes) -> bytes:
        check_size(len(body) + self.overhead)
        if kind in HANDSHAKE:
            raise ValueError(f"{kind.name} is sealed apart from sessions")
        counter = self.counter
        self.counter += 1
        head = HEAD.pack(PROTOCOL_VERSION << 4 | kind, stream, wrap(counter))
        return head + self._sealing.encrypt(_NONCE.pack(0, counter), body, head)

    def unseal(self, data: bytes) -> Opened:
        """Raises KeyMismatch, ReplayError, or another WireError; only what is authentic changes anything here."""
        kind, stream, short = peek(data)
        if kind in HANDSHAKE:
            raise WireError(f"{kind.name} is sealed apart from sessions")
        if len(data) < self.overhead:
            raise WireError("packet is truncated")
        counter = unwrap(short, self._newest)
        if counter < 0:
            counter += WRAP
        behind = self._newest - counter
        if behind >= REPLAY_WINDOW or (behind >= 0 and self._seen >> behind & 1):
            raise ReplayError(f"packet {counter} was here or is too old to tell")
        body = _open(self._opening, _NONCE.pack(0, counter), data[HEAD.size :], data[: HEAD.size])
        if behind < 0:
            self._seen = (self._seen << min(-behind, REPLAY_WINDOW) | 1) & _ALL_SEEN
            self._newest = counter
        else:
            self._seen |= 1 << behind
        return Opened(kind, stream, counter, memoryview(body))


class HandshakeEnvelope:
    """HELLO, CONFIG and BYE, which begin and end sessions: a key for each direction, random nonces. 31 bytes.

    It keeps no state and refuses no replay: what a replayed one may do is up to tokens. entropy(n): n random bytes.
    """

    overhead = HEAD.size + _REST + TAG_BYTES
    counter = 0

    def __init__(self, sealing: bytes, opening: bytes, entropy: Callable[[int], bytes]) -> None:
        self._sealing, self._opening = ChaCha20Poly1305(sealing), ChaCha20Poly1305(opening)
        self._entropy = entropy

    def seal(self, kind: Kind, stream: int, body: bytes) -> bytes:
        check_size(len(body) + self.overhead)
        if kind not in HANDSHAKE:
            raise ValueError(f"{kind.name} belongs to a session")
        nonce = self._entropy(_NONCE.size)
        first, rest = _NONCE.unpack(nonce)
        head = HEAD.pack(PROTOCOL_VERSION << 4 | kind, stream, first)
        return b"".join((head, rest.to_bytes(_REST), self._sealing.encrypt(nonce, body, head)))

    def unseal(self, data: bytes) -> Opened:
        """Raises KeyMismatch or another WireError."""
        kind, stream, first = peek(data)
        if kind not in HANDSHAKE:
            raise WireError(f"{kind.name} belongs to a session")
        if len(data) < self.overhead:
            raise WireError("packet is truncated")
        at = HEAD.size + _REST
        nonce = _NONCE.pack(first, int.from_bytes(data[HEAD.size : at]))
        body = _open(self._opening, nonce, data[at:], data[: HEAD.size])
        return Opened(kind, stream, 0, memoryview(body))


def _open(cipher: ChaCha20Poly1305, nonce: bytes, sealed: bytes, head: bytes) -> bytes:
    try:
        return cipher.decrypt(nonce, sealed, head)
    except InvalidTag:
        raise KeyMismatch("packet was sealed with another key, or changed on its way") from None
