"""HELLO, CONFIG, STATS, BYE, ALIVE: rare packets, a msgpack map of checked fields each."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from enum import IntEnum
from fractions import Fraction
from functools import cache
from typing import Any, ClassVar, Self

import msgpack

from lrae.codec.types import IMPUTE, LAYOUTS, MAX_PACKETS, MAX_SIDE, MIN_SIDE, VideoFormat
from lrae.codec.wire.envelope import Kind
from lrae.errors import WireError

MAX_TEXT = 160
NONCE = 16  # bytes of nonces and tokens
PADDING = 96  # bytes, most: a HELLO is as long as any answer to it
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_HASH = re.compile(r"[0-9a-f]{16}")
_LIMIT = 1 << 53


@cache
def _names(packet: type) -> tuple[str, ...]:
    """The keys of a packet's map: its fields without the stream id, which is in the envelope."""
    return tuple(field.name for field in fields(packet) if field.name != "stream")


class ByeCode(IntEnum):
    """Why a stream ends or is refused."""

    END = 0  # the sender has no more frames; the receiver confirms with the same code
    STOPPED = 1  # the program was told to leave
    BUSY = 2  # the receiver has another sender
    MODEL = 3  # the receiver lacks the model, or its weights differ
    FAILED = 4  # the receiver cannot decode or write this stream


class _Control:
    """A frozen dataclass whose fields travel as a msgpack map; check() raises WireError."""

    KIND: ClassVar[Kind]
    stream: int

    def body(self) -> bytes:
        """What is sealed. Raises WireError as check() does."""
        self.check()
        values = {name: self._to_wire(name) for name in _names(type(self))}
        return msgpack.packb(values)

    @classmethod
    def parse_body(cls, stream: int, body: memoryview) -> Self:
        """The inverse of body(). Raises WireError."""
        try:
            values = msgpack.unpackb(body, use_list=False, strict_map_key=True)
        except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException):
            raise WireError(f"{cls.KIND.name} is not msgpack") from None
        names = _names(cls)
        if not isinstance(values, dict) or set(values) != set(names):
            raise WireError(f"{cls.KIND.name} has other fields than {', '.join(names)}")
        packet = cls(stream=stream, **{n: cls._from_wire(n, values[n]) for n in names})
        packet.check()
        return packet

    def check(self) -> None:
        """Raises WireError if a field has a wrong type or lies out of range."""
        raise NotImplementedError

    def _to_wire(self, name: str) -> Any:
        return getattr(self, name)

    @classmethod
    def _from_wire(cls, name: str, value: Any) -> Any:
        return value

    def _int(self, name: str, low: int, high: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise WireError(f"{self.KIND.name} has {name} {value!r:.40}")

    def _match(self, name: str, pattern: re.Pattern[str]) -> None:
        value = getattr(self, name)
        if type(value) is not str or not pattern.fullmatch(value):
            raise WireError(f"{self.KIND.name} has {name} {value!r:.40}")

    def _nonce(self, name: str, empty: bool = False) -> None:
        value = getattr(self, name)
        if type(value) is not bytes or not (len(value) == NONCE or (empty and not value)):
            raise WireError(f"{self.KIND.name} has {name} {value!r:.40}")

    def _text(self, name: str) -> None:
        value = getattr(self, name)
        if type(value) is not str or len(value) > MAX_TEXT or not value.isprintable():
            raise WireError(f"{self.KIND.name} has {name} {value!r:.40}")


@dataclass(frozen=True)
class Hello(_Control):
    """I am here.

    From a sender, with a fresh nonce: let me speak. From a receiver, with the same nonce: show me this token, which
    only who can receive at your address knows (RFC 9000, section 8.1); without nonce and token: I do not know you.
    deadline: milliseconds from when a frame could have arrived at the earliest to when the receiver shows it (0 from a
    sender). padding: makes a sender's HELLO as long as any answer to it.
    """

    KIND = Kind.HELLO
    stream: int
    role: str  # "sender" or "receiver"
    software: str
    nonce: bytes = b""
    token: bytes = b""
    deadline: int = 0
    padding: bytes = b""

    def check(self) -> None:
        if self.role not in ("sender", "receiver"):
            raise WireError(f"HELLO has role {self.role!r:.40}")
        self._text("software")
        self._nonce("nonce", empty=self.role == "receiver")
        self._nonce("token", empty=True)
        self._int("deadline", 0, 60_000)
        if type(self.padding) is not bytes or len(self.padding) > PADDING:
            raise WireError("HELLO has a padding that is too long")


@dataclass(frozen=True)
class Config(_Control):
    """What a sender is going to send. packets, bitrate (bit/s): 0 if chosen per frame or not set.

    owner: random, the same in all CONFIGs of a sender, by which it may take up its stream again at once.
    nonce, token: of the HELLOs before; they are what the session's keys are made of.
    realtime: capture times are those of a clock that runs evenly; otherwise frames come as fast as they can
    be encoded, and their capture times only say when they are to be shown.
    impute: of IMPUTE, what both ends put in place of missing parts, so that their states agree.
    """

    KIND = Kind.CONFIG
    stream: int
    format: VideoFormat
    model: str
    model_hash: str
    owner: bytes = bytes(NONCE)
    nonce: bytes = bytes(NONCE)
    token: bytes = bytes(NONCE)
    packets: int = 0
    layout: int = 0
    bitrate: int = 0
    realtime: bool = True
    impute: str = "full"

    def check(self) -> None:
        self._match("model", _NAME)
        self._match("model_hash", _HASH)
        for name in ("owner", "nonce", "token"):
            self._nonce(name)
        self._int("packets", 0, MAX_PACKETS)
        self._int("layout", 0, len(LAYOUTS) - 1)
        self._int("bitrate", 0, _LIMIT)
        if type(self.realtime) is not bool:
            raise WireError(f"CONFIG has realtime {self.realtime!r:.40}")
        if type(self.impute) is not str or self.impute not in IMPUTE:
            raise WireError(f"CONFIG has impute {self.impute!r:.40}")
        form = self.format
        sides_fit = MIN_SIDE <= form.width <= MAX_SIDE and MIN_SIDE <= form.height <= MAX_SIDE
        if not sides_fit or not Fraction(1, 10) <= form.fps <= 1000 or form.color_range not in ("tv", "pc"):
            raise WireError(f"CONFIG has format {form!r:.120}")
        if not _NAME.fullmatch(form.matrix):
            raise WireError(f"CONFIG has matrix {form.matrix!r:.40}")

    def _to_wire(self, name: str) -> Any:
        form = self.format
        if name != "format":
            return getattr(self, name)
        fps = form.fps.limit_denominator(1_000_000)
        return form.width, form.height, fps.numerator, fps.denominator, form.color_range, form.matrix

    @classmethod
    def _from_wire(cls, name: str, value: Any) -> Any:
        if name != "format":
            return value
        types = (int, int, int, int, str, str)
        if type(value) is not tuple or tuple(map(type, value)) != types or not 0 < value[3] < _LIMIT:
            raise WireError(f"CONFIG has format {value!r:.120}")
        width, height, numerator, denominator, color_range, matrix = value
        return VideoFormat(width, height, Fraction(numerator, denominator), color_range, matrix)


@dataclass(frozen=True)
class Stats(_Control):
    """A receiver's counts since the stream began, about once a second and at its end."""

    KIND = Kind.STATS
    stream: int
    frames: int  # shown, however they came to be
    partial: int  # of these: decoded without some of their packets
    lost: int  # of these: nothing arrived, extrapolated
    packets: int  # DATA packets received
    late: int  # of these: after their frame was decoded
    dropped: int  # datagrams refused, for whatever reason
    recovered: int = 0  # DATA packets that parity brought back

    def check(self) -> None:
        for name in _names(Stats):
            self._int(name, 0, _LIMIT)


@dataclass(frozen=True)
class Bye(_Control):
    """The end of a stream, or its refusal. next_frame (from a sender): one after the last frame sent. token: of the
    CONFIG that it answers or takes back."""

    KIND = Kind.BYE
    stream: int
    code: int
    token: bytes = bytes(NONCE)
    reason: str = ""
    next_frame: int = 0

    def check(self) -> None:
        self._int("code", 0, max(ByeCode))
        self._nonce("token")
        self._text("reason")
        self._int("next_frame", 0, (1 << 32) - 1)


@dataclass(frozen=True)
class Alive(_Control):
    """Keeps a path open while there is nothing to send."""

    KIND = Kind.ALIVE
    stream: int

    def check(self) -> None:
        pass
