"""What encodes and decodes at the two ends of a leg, as blocking calls; H.264 as browsers use it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from lrae.codec import conventional
from lrae.codec.types import LAYOUTS, EncodedFrame, Frame, VideoFormat
from lrae.codec.wire import payload_room
from lrae.receiver.jitter import ReadyFrame
from lrae.receiver.mending import MendingDecoder
from lrae.sender.conventional import ConventionalFrameEncoder
from lrae.sender.events import News
from lrae.webrtc.situation import Situation

PRESET = "faster"  # of x264: half the time of lrae-replay's, for 0.2 dB, as all has to run on the same cores
IMPUTED, BARE = "full", "zero"  # of IMPUTE: with the imputer, without


class Mode(NamedTuple):
    """What a situation says to the codec. impute: IMPUTED or BARE."""

    impute: str = IMPUTED
    resync: bool = True
    layout: int = 0

    @classmethod
    def of(cls, situation: Situation) -> Mode:
        return cls(IMPUTED if situation.imputer else BARE, situation.resync, LAYOUTS.index(situation.layout))


@dataclass(frozen=True, eq=False)
class Seen:
    """A decoded frame. used, complete: as in DecodedFrame. label, confidence: as in receiver.player.Shown. seconds:
    that decoding took."""

    frame: Frame
    used: frozenset[int]
    complete: bool
    label: str | None = None
    confidence: float | None = None
    seconds: float = 0.0


class Encoding(Protocol):
    def encode(self, frame: Frame, news: News, mode: Mode) -> EncodedFrame | None:
        """The next frame, without meta. None: it is skipped to keep the rate."""


class Decoding(Protocol):
    def start(self) -> None:
        """A stream begins."""

    def decode(self, frame: ReadyFrame, impute: str) -> Seen:
        """The next frame. impute: of the sender's Mode for it."""

    def mend(self, frames: Sequence[ReadyFrame]) -> dict[int, frozenset[int]]:
        """As receiver.player.Player.mend()."""


class H264Encoding:
    """x264 in its real-time setting, keyframes after losses, at bit/s. Raises ConfigError."""

    NAME = "h264"

    def __init__(self, video: VideoFormat, bitrate: float) -> None:
        encoder = conventional.make_encoder(self.NAME, video, bitrate, payload_room(), preset=PRESET)
        self._frames = ConventionalFrameEncoder(encoder, bitrate)

    def encode(self, frame: Frame, news: News, mode: Mode) -> EncodedFrame | None:
        """As Encoding says."""
        return self._frames.encode(frame, news)


class H264Decoding:
    """libav's decoder, given whole frames only, as in browsers: the picture freezes until a keyframe has come."""

    def __init__(self, video: VideoFormat) -> None:
        self._decoder = conventional.make_decoder(H264Encoding.NAME, video, conceal=False)
        self.start()

    def start(self) -> None:
        """As Decoding says."""
        self._mending = MendingDecoder(self._decoder)

    def decode(self, frame: ReadyFrame, impute: str) -> Seen:
        """As Decoding says."""
        start = time.perf_counter()
        decoded = self._mending.decode(frame)
        return Seen(decoded.frame, decoded.used, decoded.complete, seconds=time.perf_counter() - start)

    def mend(self, frames: Sequence[ReadyFrame]) -> dict[int, frozenset[int]]:
        """It cannot go back."""
        return {}
