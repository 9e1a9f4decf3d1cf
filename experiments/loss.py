"""One clip through a lossy channel in virtual time: encoder, packet masks, decoder, feedback after a round trip.

    frame n ─► FrameEncoder ─► K packets ─► mask ─► Decoder ─► picture ─► PSNR, SSIM
                    ▲                                  │
                    └──── what was used, rtt later ────┘
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from functools import lru_cache
from zlib import crc32

import numpy as np

from lrae.channel.loss import GilbertElliott, parse_loss
from lrae.codec import make_decoder, make_encoder
from lrae.codec.api import Decoder, Encoder
from lrae.codec.types import LAYOUTS, TILES, EncodedFrame, Frame, VideoFormat
from lrae.errors import ConfigError
from lrae.experiments.clips import Clip
from lrae.experiments.metrics import psnr_yuv, ssim_db, ssim_y
from lrae.sender.acks import LOSS_WEIGHT
from lrae.sender.encoding import FrameEncoder
from lrae.sender.events import News
from lrae.sender.flow import LOSS_FIRST

RESYNCS = ("feedback", "none", "refresh")
BURST = 8.0  # mean length of a burst, packets: two frames of four


@dataclass(frozen=True)
class Condition:
    """What a run is subject to.

    loss: as parse_loss reads it, one draw a packet; frames start to stop (None: the end) are subject to it.
    packets: K, more where a frame does not fit. layout: of LAYOUTS. rtt: seconds. resync: of RESYNCS
    ("refresh": no feedback, tiles coded without prediction where they are worth it; layout tiles only).
    impute: name of the concealment, None: the codec's own choice. seed: of the masks, beside the clip's name.
    """

    loss: str = "none"
    q: int = 22
    packets: int = 4
    layout: str = LAYOUTS[0]
    rtt: float = 0.1
    resync: str = "feedback"
    impute: str | None = None
    seed: int = 0
    start: int = 1
    stop: int | None = None

    def __post_init__(self):
        if self.resync not in RESYNCS:
            raise ConfigError(f"unknown resync {self.resync!r}: {', '.join(RESYNCS)}")
        if self.layout not in LAYOUTS:
            raise ConfigError(f"unknown layout {self.layout!r}: {', '.join(LAYOUTS)}")
        if self.resync == "refresh" and self.layout != LAYOUTS[TILES]:
            raise ConfigError("refresh needs the layout tiles")
        if not 0 <= self.rtt <= 10:
            raise ConfigError(f"round-trip time {self.rtt:g} s is not between 0 and 10")

    def subject(self, number: int) -> bool:
        """Whether packets of frame `number` may be lost."""
        return self.start <= number and (self.stop is None or number < self.stop)


@dataclass(frozen=True)
class FrameResult:
    """psnr: YUV 6:1:1, dB; ssim: of luma, 0..1; size: bytes of all payloads; side: of them side information;
    sent: K; arrived: packets that the channel let through; used: packets decoded, 0 = the frame shows nothing
    new; replayed: frames that the sender decoded again before it encoded this one."""

    psnr: float
    ssim: float
    size: int
    side: int
    sent: int
    arrived: int
    used: int
    replayed: int = 0


Run = list[FrameResult]


class Viewer:
    """A decoder behind a lossy channel."""

    def __init__(self, decoder: Decoder, condition: Condition, name: str) -> None:
        self.run: Run = []
        self._decoder, self._condition = decoder, condition
        self._state = decoder.initial_state()
        rng = np.random.default_rng((condition.seed, crc32(name.encode())))
        self._lost = parse_loss(condition.loss).outcomes(rng)

    def show(self, frame: Frame, encoded: EncodedFrame, replayed: int) -> tuple[int, frozenset[int]]:
        """Draw a mask, decode what it leaves, measure. Returns (packets that arrived, indices used)."""
        header, payloads = encoded.header, encoded.payloads
        mask = [self._condition.subject(header.number) and next(self._lost) for _ in payloads]
        arrived = {i: payload for i, payload in enumerate(payloads) if not mask[i]}
        output, self._state = self._decoder.decode(self._state, header if arrived else None, arrived)
        quality = psnr_yuv(frame, output.frame), ssim_y(frame, output.frame)
        size = sum(map(len, payloads))
        counts = len(payloads), len(arrived), len(output.used)
        self.run.append(FrameResult(*quality, size, encoded.side_bytes, *counts, replayed))
        return len(arrived), output.used


class Feedback:
    """What the sender knows: news of frame n reaches the first frame captured `rtt` after it, never earlier.

    The share of lost packets is estimated as in sender/session.py, from what has been reported.
    """

    def __init__(self, rtt: float, fps: float) -> None:
        self._frames = max(1, math.ceil(rtt * fps - 1e-6))
        self._reports: deque[tuple[int, int, int, frozenset[int]]] = deque()
        self._loss = LOSS_FIRST

    def report(self, number: int, sent: int, arrived: int, used: frozenset[int]) -> None:
        """The receiver has shown frame `number` and says so."""
        self._reports.append((number, sent, arrived, used))

    def news(self, number: int) -> News:
        """What has come back by the time frame `number` is encoded."""
        confirmed = []
        while self._reports and self._reports[0][0] + self._frames <= number:
            shown, sent, arrived, used = self._reports.popleft()
            self._loss += (1 - (1 - LOSS_WEIGHT) ** sent) * (1 - arrived / sent - self._loss)
            confirmed.append((shown, used))
        return News(tuple(confirmed), loss=self._loss)


@lru_cache(maxsize=4)
def codecs(model: str, video: VideoFormat, device: str, impute: str | None) -> tuple[Encoder, Decoder]:
    """Encoder and decoder; they keep no state of a stream, so runs may share them."""
    named = {} if impute is None else {"impute": impute}
    return make_encoder(model, video, device, **named), make_decoder(model, video, device, **named)


def run(clip: Clip, condition: Condition, model: str = "m", device: str = "cpu") -> Run:
    """The clip under the condition. Frame 0 arrives whole unless `start` is 0, and the sender knows: a stream has
    begun. Without feedback the sender is told the loss rate, and nothing else."""
    encoder, decoder = codecs(model, clip.format, device, condition.impute)
    patience = 0 if condition.resync == "refresh" else None
    layout = LAYOUTS.index(condition.layout)
    sender = FrameEncoder(encoder, condition.q, condition.packets, layout, patience=patience)
    viewer, feedback = Viewer(decoder, condition, clip.name), Feedback(condition.rtt, float(clip.format.fps))
    expected = parse_loss(condition.loss).mean
    for number, frame in enumerate(clip.frames):
        before = sender.replayed
        news = feedback.news(number)
        encoded = sender.encode(frame, news if condition.resync == "feedback" else replace(news, loss=expected))
        arrived, used = viewer.show(frame, encoded, sender.replayed - before)
        if condition.resync == "feedback" or not number:
            feedback.report(number, len(encoded.payloads), arrived, used)
    return viewer.run


def bursty(mean: float) -> str:
    """The loss spec of a Gilbert channel with mean loss `mean` (0..1) and bursts of BURST packets on average.

    Everything is lost in the bad state, nothing in the good one; at high losses bursts are as long as they
    must be for the good state to last a packet.
    """
    if mean <= 0 or mean >= 1:
        return repr(float(mean))
    length = max(BURST, mean / (1 - mean))
    return str(GilbertElliott(min(1.0, mean / (1 - mean) / length), 1 / length, 0.0, 1.0))


def summarise(run: Run, pixels: int) -> dict[str, float]:
    """Means over a run. pixels: luma samples of all its frames. undecodable: share of frames that show nothing new;
    received: share of the packets; replayed: frames decoded again per frame; side_share: of the bytes."""
    frames = len(run)
    size, sent = sum(f.size for f in run), sum(f.sent for f in run)
    return {
        "psnr_yuv": sum(f.psnr for f in run) / frames,
        "ssim_db": ssim_db(sum(f.ssim for f in run) / frames),
        "bpp": 8 * size / pixels,
        "side_share": sum(f.side for f in run) / size,
        "undecodable": sum(f.used == 0 for f in run) / frames,
        "received": sum(f.arrived for f in run) / sent,
        "packets": sent / frames,
        "replayed": sum(f.replayed for f in run) / frames,
    }
