"""What a SenderSession tells its shell."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Connected:
    """The receiver is ready for frames; the first has to be intra."""


@dataclass(frozen=True)
class Disconnected:
    """Nothing was heard for a while, or the receiver has been restarted; the session goes on calling it."""

    reason: str


@dataclass(frozen=True)
class Refused:
    """The receiver does not want this stream (any more). The session is over."""

    reason: str


@dataclass(frozen=True)
class Ended:
    """All is said. confirmed: the receiver has heard the end."""

    confirmed: bool


@dataclass(frozen=True)
class Notice:
    """One line that the user should see."""

    text: str


@dataclass(frozen=True)
class News:
    """What feedback has told since it was last asked, for the encoder.

    confirmed: (frame number, payloads used) of frames not confirmed before, or of which more has arrived since, oldest
    first. intra_wanted: the receiver has no state. loss: share of packets lost lately, 0..1. target: bit/s of DATA
    datagrams that may be made, 0: no limit. excess: bits by which parity and retransmissions have lately exceeded what
    `target` sets aside for them. queue: seconds until what was made before has left.
    """

    confirmed: tuple[tuple[int, frozenset[int]], ...] = ()
    intra_wanted: bool = False
    loss: float = 0.0
    target: float = 0.0
    excess: float = 0.0
    queue: float = 0.0


Event = Connected | Disconnected | Refused | Ended | Notice
