"""What a ReceiverSession tells its shell."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from lrae.codec.wire import Config, Stats
from lrae.receiver.jitter import ReadyFrame


@dataclass(frozen=True, eq=False)
class StreamStarted:
    """A sender offers a stream. The shell prepares for it, then calls accept() or refuse()."""

    config: Config
    address: Hashable


@dataclass(frozen=True, eq=False)
class FrameDue:
    """Decode this frame (any subset of its packets, also none), then call decoded() with this event.

    time: `now` when it came out.
    """

    frame: ReadyFrame
    stream: StreamStarted
    time: float


@dataclass(frozen=True, eq=False)
class FramesMended:
    """More of frames that were decoded without has come late. The shell may decode them again, and the frames after
    them, for the sake of the state; then it calls decoded_again().

    frames: as they are now, by number.
    """

    frames: tuple[ReadyFrame, ...]
    stream: StreamStarted


@dataclass(frozen=True, eq=False)
class StreamEnded:
    """No more frames of this stream. clean: the sender said so itself and had come to its end."""

    stream: StreamStarted
    reason: str
    clean: bool
    stats: Stats


@dataclass(frozen=True)
class Notice:
    """One line that the user should see, such as a sender of another version."""

    text: str


Event = StreamStarted | FrameDue | FramesMended | StreamEnded | Notice
