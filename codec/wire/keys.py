"""The pre-shared key: its file, and the envelopes that are derived from it (HKDF-SHA256, RFC 5869)."""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lrae.codec.wire.envelope import Envelope, PlainEnvelope
from lrae.codec.wire.secure import KEY_BYTES, HandshakeEnvelope, SecureEnvelope
from lrae.errors import ConfigError

Entropy = Callable[[int], bytes]
_PEER = {"sender": "receiver", "receiver": "sender"}
_MAX_FILE = 4096  # bytes
_OTHERS = stat.S_IRWXO | stat.S_IWGRP


class Keys(Protocol):
    """What a program has, with a key or without. role: "sender" or "receiver", that of the program itself.

    secret: there is a key, so only who has it too is heard.
    """

    secret: bool

    def handshake(self, role: str) -> Envelope:
        """Of HELLO, CONFIG and BYE, to and from anybody."""

    def session(self, nonce: bytes, token: bytes, stream: int, role: str) -> Envelope:
        """Of everything else in the session that `nonce` and `token` began. Once for each token: see Tokens.use."""


class NoKey:
    """Without a key everything travels in clear, behind a CRC."""

    secret = False

    def handshake(self, role: str) -> Envelope:
        return PlainEnvelope()

    def session(self, nonce: bytes, token: bytes, stream: int, role: str) -> Envelope:
        return PlainEnvelope()


class SharedKey:
    """A key of 32 bytes that both programs have. entropy(n): n random bytes. Raises ConfigError at another length."""

    secret = True

    def __init__(self, key: bytes, entropy: Entropy = os.urandom) -> None:
        if len(key) != KEY_BYTES:
            raise ConfigError(f"a key has {KEY_BYTES} bytes, this one has {len(key)}")
        self._key, self._entropy = key, entropy

    def handshake(self, role: str) -> Envelope:
        mine, theirs = (self._derive(b"", b"handshake from " + r.encode()) for r in (role, _PEER[role]))
        return HandshakeEnvelope(mine, theirs, self._entropy)

    def session(self, nonce: bytes, token: bytes, stream: int, role: str) -> Envelope:
        name = b"session " + struct.pack("!H", stream) + b" from "
        mine, theirs = (self._derive(nonce + token, name + r.encode()) for r in (role, _PEER[role]))
        return SecureEnvelope(mine, theirs)

    def _derive(self, salt: bytes, info: bytes) -> bytes:
        return HKDF(SHA256(), KEY_BYTES, salt, b"lrae-vc 3 " + info).derive(self._key)


def read_key(path: str | Path) -> SharedKey:
    """The key in a file: 64 hexadecimal digits or the base64 of 32 bytes, and nothing else but white space.

    Raises ConfigError in one line: missing, not a key, or open to other users (they may neither read nor write it;
    its group may read it).
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_MAX_FILE).strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot read the key {path}: {reason}") from None
    if os.name == "posix" and mode & _OTHERS:
        raise ConfigError(f"the key {path} is open to other users: chmod 600 {path}")
    key = _decode(text)
    if key is None:
        raise ConfigError(f"{path} is not a key: neither 64 hexadecimal digits nor base64 (lrae-keygen makes one)")
    if len(key) != KEY_BYTES:
        raise ConfigError(f"the key {path} has {8 * len(key)} bits; it takes {8 * KEY_BYTES} (lrae-keygen makes one)")
    return SharedKey(key)


def write_key(path: str | Path, force: bool = False, entropy: Entropy = os.urandom) -> None:
    """A fresh key in hexadecimal digits, for its owner alone. ConfigError: the file is there (unless force), or
    cannot be written. An old file is replaced as a whole, never left half written or open to others."""
    path = Path(path)
    place = path.with_name(f".{path.name}.{entropy(4).hex()}") if force else path
    try:
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(handle, "w") as file:
                file.write(entropy(KEY_BYTES).hex() + "\n")
            os.replace(place, path)
        except OSError:
            place.unlink(missing_ok=True)
            raise
    except FileExistsError:
        raise ConfigError(f"{path} is there already; --force replaces it") from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def _decode(text: bytes) -> bytes | None:
    """The bytes that a file's text stands for, None if it is neither hexadecimal nor base64."""
    try:
        if re.fullmatch(rb"(?:[0-9A-Fa-f]{2})+", text):
            return bytes.fromhex(text.decode())
        return base64.b64decode(text, validate=True) or None
    except binascii.Error:
        return None
