"""Tokens: what a receiver gives to an address, so that only who can receive there begins a stream (RFC 9000, 8.1)."""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Callable, Hashable

from lrae.codec.wire.control import NONCE

EPOCH = 10.0  # seconds; a token is valid in the epoch that it was issued in and in the next
MAX_USED = 1024  # tokens


class Tokens:
    """Issues tokens without remembering them, remembers those that were used while they would still be valid.

    A token is an HMAC-SHA256, cut to 16 bytes, of address, stream id, nonce and epoch under a secret of this process.
    entropy(n): n random bytes. now: seconds of any monotonic clock.
    """

    def __init__(self, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._secret = entropy(32)
        self._used: dict[bytes, int] = {}  # token: the last epoch in which it is valid; oldest first
        self._epoch = 0

    def issue(self, address: Hashable, stream: int, nonce: bytes, now: float) -> bytes:
        """16 bytes; the same for the same arguments within an epoch."""
        return self._token(address, stream, nonce, int(now // EPOCH))

    def check(self, address: Hashable, stream: int, nonce: bytes, token: bytes, now: float) -> bool:
        """True if issue() gave this token to this address for this stream lately, and it was not used."""
        self._forget(int(now // EPOCH))
        if token in self._used or len(self._used) >= MAX_USED:
            return False  # rather no new stream for some seconds than one session twice under the same keys
        valid = (self._token(address, stream, nonce, self._epoch - age) for age in (0, 1))
        return any([hmac.compare_digest(token, good) for good in valid])

    def use(self, token: bytes) -> None:
        """After check(): the token has begun a session and begins no other."""
        self._used[token] = self._epoch + 1

    def _forget(self, epoch: int) -> None:
        if epoch != self._epoch:
            self._epoch = epoch
            self._used = {token: last for token, last in self._used.items() if last >= epoch}

    def _token(self, address: Hashable, stream: int, nonce: bytes, epoch: int) -> bytes:
        text = struct.pack("!qH", epoch, stream) + nonce + repr(address).encode()
        return hmac.digest(self._secret, text, "sha256")[:NONCE]
