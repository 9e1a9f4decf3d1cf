"""Pictures into H.264 or VP8 for browsers, at once and without B pictures."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
from av.video.frame import PictureType

from lrae.codec.avframe import MATRIX_CODES, RANGE_CODES, to_av
from lrae.codec.types import Frame, VideoFormat

CLOCK = 90_000  # ticks a second, of RTP (RFC 6184, 8.2.1; RFC 7741, 6.1)
NEVER = 1 << 20  # frames: key frames come when somebody needs one
QUALITY = "18"  # CRF: near transparent; the bitrate given is only the most that may be used
BUFFER = 0.5  # seconds of the bitrate that a key frame may take at once

H264 = {
    "preset": "superfast",
    "tune": "zerolatency",
    "profile": "baseline",  # what RFC 7742, section 6.2 obliges every browser to decode
    "forced-idr": "1",
    "crf": QUALITY,
    "x264-params": "scenecut=0:sliced-threads=0",
}
VP8 = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "error-resilient": "0", "crf": "10"}
LIBRARIES = {"h264": ("libx264", H264), "vp8": ("libvpx", VP8)}


@dataclass(frozen=True, eq=False)
class Picture:
    """One encoded picture. key: it needs no other one."""

    packet: av.Packet
    key: bool


class BrowserEncoder:
    """codec: "h264" or "vp8"; size: (width, height); bitrate: bit/s at most. One thread at a time."""

    def __init__(self, codec: str, size: tuple[int, int], fps: float, bitrate: int, video: VideoFormat | None) -> None:
        library, options = LIBRARIES[codec]
        self._size, self._video = size, video
        context = av.CodecContext.create(library, "w")
        context.width, context.height = (side + side % 2 for side in size)
        context.pix_fmt = "yuv420p"
        context.time_base = Fraction(1, CLOCK)
        context.framerate = Fraction(fps).limit_denominator(1001)
        context.gop_size = NEVER
        context.thread_count = 1
        context.bit_rate = bitrate if codec == "vp8" else 0
        if video is not None:
            context.color_range = RANGE_CODES.get(video.color_range, 1)
            context.colorspace = MATRIX_CODES.get(video.matrix, 2)
        context.options = options | {"maxrate": str(bitrate), "bufsize": str(round(bitrate * BUFFER))}
        self._context = context

    def fits(self, frame: Frame, video: VideoFormat | None) -> bool:
        """False: such a picture needs another encoder."""
        return (frame.size, video) == (self._size, self._video)

    def encode(self, frame: Frame, tick: int, key: bool) -> Picture | None:
        """One frame that fits, at a time in ticks of CLOCK, later than the one before."""
        picture = to_av(frame, self._video, even=True)
        picture.pts, picture.time_base = tick, Fraction(1, CLOCK)
        if key:
            picture.pict_type = PictureType.I
        packets = self._context.encode(picture)
        if not packets:
            return None
        packets[0].time_base = Fraction(1, CLOCK)
        return Picture(packets[0], packets[0].is_keyframe)
