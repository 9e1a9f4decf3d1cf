"""LRAE at the two ends of a leg."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import cv2

from lrae.codec import make_decoder, make_encoder, share_cores
from lrae.codec.api import Decoder, Encoder
from lrae.codec.types import EncodedFrame, Frame, VideoFormat
from lrae.receiver.jitter import ReadyFrame
from lrae.receiver.labels import Labeller
from lrae.receiver.mending import MendingDecoder
from lrae.sender.encoding import FrameEncoder
from lrae.sender.events import News
from lrae.sender.rate import RateControl
from lrae.webrtc.ends import BARE, IMPUTED, Mode, Seen

MAX_LOST = 8  # frames lost as a whole in a row: an intra frame is sooner there than replays of all of them
REMEMBERED = 256  # frames sent
# Where computing time is short, frames are dropped, up to a third of them; replays have the time of those, too. Only
# then frames get coarser, which saves little time. (FrameEncoder's interval, in frames)
PATIENCE = 1.5
MOST_BITS = 2.0  # times those of a frame at the full frame rate: finer frames would take longer still
SMOOTH = 0.1  # per frame: how fast the time that decoding takes is followed


class LraeEncoding:
    """An encoder at bit/s with what it knows of the receiver. Another layout or imputer begins with an intra frame.

    encoders: by IMPUTE's names. clock: seconds, to measure computing time with: replays that there is no time for are
    left out.
    """

    def __init__(
        self, encoders: Mapping[str, Encoder], bitrate: float, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        video = encoders[IMPUTED].format
        self._encoders, self._clock = encoders, clock
        self._rate = RateControl(bitrate, float(video.fps), video.width * video.height)
        self._interval, self._time = 1 / float(video.fps), 0.0
        self._mode: Mode | None = None
        self._number = 0
        self._sent: OrderedDict[int, frozenset[int]] = OrderedDict()
        self._lost = 0  # frames in a row

    def encode(self, frame: Frame, news: News, mode: Mode) -> EncodedFrame | None:
        """As Encoding says."""
        before, self._mode = self._mode, mode
        if before is None or (before.impute, before.layout) != (mode.impute, mode.layout):
            self._frames = FrameEncoder(
                self._encoders[mode.impute],
                self._rate,
                layout=mode.layout,
                interval=PATIENCE * self._interval,
                clock=self._clock,
                first_number=self._number,
                worth=True,
            )
        wanted = news.intra_wanted or (mode.resync and not before.resync if before else False)
        wanted |= mode.resync and self._outage(news)
        if not mode.resync:  # as if all had arrived
            news = replace(news, confirmed=tuple((n, self._sent.get(n, used)) for n, used in news.confirmed))
        pause, self._time = max(frame.time - self._time, self._interval), frame.time
        target = news.target * min(1.0, MOST_BITS * self._interval / pause)
        encoded = self._frames.encode(frame, replace(news, intra_wanted=wanted, target=target))
        if encoded is None:
            return None
        number = encoded.header.number
        self._number, self._sent[number] = number + 1, encoded.sent
        if len(self._sent) > REMEMBERED:
            self._sent.popitem(last=False)
        return replace(encoded, meta=None)

    def _outage(self, news: News) -> bool:
        """Whether too many frames in a row were lost as a whole to be replayed, told once."""
        longest = 0
        for _, used in news.confirmed:
            self._lost = 0 if used else self._lost + 1
            longest = max(longest, self._lost)
        if longest < MAX_LOST:
            return False
        self._lost = 0
        return True


class LraeDecoding:
    """A decoder with a classifier (None: no labels). decoders: by IMPUTE's names."""

    def __init__(self, decoders: Mapping[str, Decoder], labeller: Labeller | None = None) -> None:
        self._decoders, self._labeller = decoders, labeller
        self._format, self._impute = decoders[IMPUTED].format, IMPUTED
        self._interval, self._seconds = 1 / float(self._format.fps), 0.0
        self.start()

    def start(self) -> None:
        """As Decoding says."""
        self._mending = MendingDecoder(self._decoders[self._impute])
        if self._labeller:
            self._labeller.start(self._format)

    def decode(self, frame: ReadyFrame, impute: str) -> Seen:
        """As Decoding says."""
        if impute != self._impute:
            self._switch(impute)
        start = time.perf_counter()
        decoded = self._mending.decode(frame)
        seconds = time.perf_counter() - start
        self._seconds += SMOOTH * (seconds - self._seconds)
        told = self._labeller.look(self._mending.state, frame.capture) if self._labeller else (None, None)
        return Seen(decoded.frame, decoded.used, decoded.complete, *told, seconds)

    def mend(self, frames: Sequence[ReadyFrame]) -> dict[int, frozenset[int]]:
        """As Decoding says."""
        if self._mending.passes(frames) * self._seconds > self._interval:
            return {}
        return self._mending.mend(frames)

    def _switch(self, impute: str) -> None:
        """The same picture in another decoder, whose imputer has forgotten everything."""
        picture, self._impute = self._mending.state, impute
        self._mending = MendingDecoder(self._decoders[impute])
        self._mending.state = replace(picture, recall=self._mending.state.recall)


def lrae_encoding(model: str, video: VideoFormat, bitrate: float, device: str = "auto") -> LraeEncoding:
    """The encoder of a model. Raises ModelError, ConfigError."""
    _share_cores()
    return LraeEncoding({impute: make_encoder(model, video, device, impute) for impute in (IMPUTED, BARE)}, bitrate)


def lrae_decoding(
    model: str, video: VideoFormat, device: str = "auto", classifier: str | None = "actions"
) -> LraeDecoding:
    """The decoder of a model and a classifier. Raises ModelError, ConfigError."""
    _share_cores()
    decoders = {impute: make_decoder(model, video, device, impute) for impute in (IMPUTED, BARE)}
    return LraeDecoding(decoders, Labeller(classifier) if classifier else None)


def _share_cores() -> None:
    """OpenCV's threads, too: on a machine that is busy with all else that is shown, each waits long for its turn."""
    cv2.setNumThreads(share_cores())
