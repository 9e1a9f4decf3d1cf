"""A libav encoder in its real-time setting: frames in, coded frames out at once, at a rate that may change."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction

import av
from av.video.frame import PictureType

from lrae.codec.avframe import to_av
from lrae.codec.conventional.packets import is_banner, is_idr, split_units
from lrae.codec.conventional.settings import PARAMETER_SETS, Codec, RateChange, find
from lrae.codec.types import Frame, VideoFormat
from lrae.errors import ConfigError

CLOCK = 90_000  # ticks per second of the timestamps
MAX_STEP = 0.5  # seconds; a longer pause between frames counts as so much
LEAST_BITRATE = 10_000  # bit/s
ENDLESS = 1 << 20  # frames between keyframes
SAME = 0.01  # a new rate that differs by less is not worth the trouble


@dataclass(frozen=True)
class Coded:
    """One coded frame: units that decode or are lost as a whole; one, unless the codec has slices of packet size."""

    units: tuple[bytes, ...]
    keyframe: bool

    @property
    def data(self) -> bytes:
        return b"".join(self.units)


def another(bitrate: float, before: float) -> float | None:
    """The rate in bit/s that an encoder at `before` is set to when it is told `bitrate`; None: it stays as it is."""
    bitrate = max(LEAST_BITRATE, bitrate)
    return None if abs(bitrate - before) < SAME * before else bitrate


class ConventionalEncoder:
    """encode(frame) -> Coded. The first frame is a keyframe, and after it those that are asked for.

    video: the frames; odd sizes are padded. bitrate: bit/s of coded frames, without packet headers. room: bytes of a
    packet that a slice has to fit in. refresh: frames in which every part of the picture is coded without prediction
    once, column by column (x264's intra-refresh; h264 only), None: as the codec has it. preset: libav's, None: the
    codec's. Raises ConfigError.
    """

    def __init__(
        self,
        name: str,
        video: VideoFormat,
        bitrate: float,
        room: int = 1150,
        refresh: int | None = None,
        preset: str | None = None,
    ) -> None:
        self._codec: Codec = find(name)
        if refresh is not None and not self._codec.conceals:
            raise ConfigError(f"{name}: intra refresh needs a decoder that goes on after a loss: only h264 has one")
        self.name, self.format = name, video
        self.reopened = 0
        self._slice, self._refresh = max(200, room - PARAMETER_SETS), refresh or self._codec.refresh
        self._preset = {} if preset is None else {"preset": preset}
        self._time: float | None = None
        self._ticks = 0
        self._open(max(LEAST_BITRATE, bitrate))

    @property
    def bitrate(self) -> float:
        """bit/s that coded frames come to."""
        return self._bitrate

    @bitrate.setter
    def bitrate(self, bitrate: float) -> None:
        if (changed := another(bitrate, self._bitrate)) is None:
            return
        self._bitrate = bitrate = changed
        if self._codec.rate_change is RateChange.LIVE:
            self._context.bit_rate = round(bitrate)
        elif self._codec.rate_change is RateChange.REOPEN:
            self.reopened += 1
            self._open(bitrate)

    @property
    def reopens(self) -> bool:
        """Another rate costs a keyframe."""
        return self._codec.rate_change is RateChange.REOPEN

    @property
    def refreshes(self) -> bool:
        """The picture mends itself, without keyframes."""
        return self._refresh is not None

    def encode(self, frame: Frame, keyframe: bool = False) -> Coded:
        """The next frame; its time has to rise."""
        picture = to_av(frame, self.format, even=True)
        picture.pts, picture.time_base = self._stamp(frame.time), Fraction(1, CLOCK)
        if keyframe:
            picture.pict_type = PictureType.I
        packets = self._context.encode(picture)
        if len(packets) != 1:
            raise RuntimeError(f"{self._codec.encoder} made {len(packets)} packets of one frame")
        data = bytes(packets[0])
        if self._codec.encoder == "libx264":
            units = [unit for unit in split_units(data) if not is_banner(unit)]
            return Coded(tuple(units), any(map(is_idr, units)))
        return Coded((data,), packets[0].is_keyframe)

    def _open(self, bitrate: float) -> None:
        os.environ.setdefault("SVT_LOG", "0")  # SVT-AV1 has no other way to be silent
        self._bitrate = self._opened = bitrate
        rate, width, height = round(bitrate), self.format.width, self.format.height
        context = av.CodecContext.create(self._codec.encoder, "w")
        context.width, context.height = width + width % 2, height + height % 2
        context.pix_fmt = "yuv420p"
        context.framerate, context.time_base = self.format.fps, Fraction(1, CLOCK)
        context.thread_count = 1
        context.bit_rate = rate
        context.gop_size = self._codec.gop_size or ENDLESS
        context.max_b_frames = 0
        context.options = self._codec.options(rate, self._slice, self._refresh) | self._preset
        try:
            context.open()
        except av.error.FFmpegError as error:
            reason = f"{self._codec.encoder} cannot encode {width}x{height}: {error.strerror}"
            raise ConfigError(f"{self.name}: {reason}") from error
        self._context = context

    def _stamp(self, time: float) -> int:
        """The encoder's timestamp of a frame: its clock is slower than the stream's where it is to take fewer bits."""
        usual = float(1 / self.format.fps)
        step = usual if self._time is None else min(MAX_STEP, time - self._time)
        scale = self._bitrate / self._opened if self._codec.rate_change is RateChange.CLOCK else 1.0
        self._time = time
        self._ticks += max(1, round(step * scale * CLOCK))
        return self._ticks
