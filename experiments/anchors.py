"""The conventional codecs that LRAE is measured against: x264 and x265 at zero latency, real packet bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import av

from lrae.codec.avframe import crop, from_av, to_av
from lrae.codec.types import Frame, VideoFormat
from lrae.errors import ConfigError

CRFS = (18, 22, 26, 30, 34, 38)


@dataclass(frozen=True)
class Anchor:
    """One encoder setting. key: the name of the setting's parameter string in libav."""

    encoder: str
    decoder: str
    preset: str
    key: str
    parameters: str


# One thread, so that the bits do not depend on the machine (tune zerolatency would cut slices per thread).
# No periodic intra, no scene cuts, no B frames, no look-ahead; reference frames as the preset has them.
_X264 = "keyint=infinite:scenecut=0:bframes=0:rc-lookahead=0:sync-lookahead=0:sliced-threads=0:threads=1"
_X265 = "keyint=-1:scenecut=0:bframes=0:rc-lookahead=0:frame-threads=1:pools=none:wpp=0:info=0:log-level=none"
_X264_PSNR = ":no-psy=1:aq-mode=0"  # what x264's tune psnr sets
_X265_PSNR = ":psy-rd=0:psy-rdoq=0:aq-mode=0"  # what x265's tune psnr sets

ANCHORS = {
    "x264-veryfast": Anchor("libx264", "h264", "veryfast", "x264-params", _X264),
    "x264-medium": Anchor("libx264", "h264", "medium", "x264-params", _X264),
    "x265-fast": Anchor("libx265", "hevc", "fast", "x265-params", _X265),
    # The presets' psychovisual tools (psy-rd, adaptive quantisation) spend bits against PSNR. Without them:
    "x264-veryfast-psnr": Anchor("libx264", "h264", "veryfast", "x264-params", _X264 + _X264_PSNR),
    "x264-medium-psnr": Anchor("libx264", "h264", "medium", "x264-params", _X264 + _X264_PSNR),
    "x265-fast-psnr": Anchor("libx265", "hevc", "fast", "x265-params", _X265 + _X265_PSNR),
}
DEFAULT_ANCHORS = ("x264-veryfast", "x264-medium", "x265-fast")


@dataclass(frozen=True, eq=False)
class AnchorResult:
    """sizes: bytes of the elementary stream per frame; decoded: what those bytes decode to."""

    sizes: tuple[int, ...]
    decoded: tuple[Frame, ...]

    @property
    def bytes(self) -> int:
        """Bytes of the whole elementary stream, parameter sets included."""
        return sum(self.sizes)


def drop_banner(data: bytes) -> bytes:
    """An Annex B access unit without x264's SEI banner (its settings as text, some 700 bytes).

    Taken out in the anchor's favour: no receiver needs it, and on a short clip it would count.
    """
    units = re.split(rb"(?:\x00)?\x00\x00\x01", data)  # start codes cannot occur inside a NAL unit
    kept = [unit for unit in units if unit and not (unit[0] & 31 == 6 and unit[1:2] == b"\x05")]
    return b"".join(b"\x00\x00\x00\x01" + unit for unit in kept)


def encode_stream(frames: Sequence[Frame], video: VideoFormat, name: str, crf: float) -> list[bytes]:
    """The access units, one for each frame, that an anchor makes of the frames. ConfigError: unknown name."""
    if name not in ANCHORS:
        raise ConfigError(f"unknown anchor {name}: choose from {', '.join(ANCHORS)}")
    anchor = ANCHORS[name]
    context = av.CodecContext.create(anchor.encoder, "w")
    width, height = frames[0].size
    context.width, context.height = width + width % 2, height + height % 2
    context.pix_fmt = "yuv420p"
    context.framerate = video.fps
    context.time_base = Fraction(1) / video.fps
    context.thread_count = 1
    context.options = {
        "preset": anchor.preset,
        "tune": "zerolatency",
        "crf": str(crf),
        anchor.key: anchor.parameters,
    }
    packets = []
    for number, frame in enumerate(frames):
        picture = to_av(frame, video, even=True)
        picture.pts = number
        packets += [bytes(packet) for packet in context.encode(picture)]
    packets += [bytes(packet) for packet in context.encode(None)]
    return [drop_banner(packet) for packet in packets] if anchor.decoder == "h264" else packets


def decode_stream(units: Sequence[bytes], name: str, width: int, height: int) -> list[Frame]:
    """Decode access units with nothing else known; frames cropped to width x height."""
    context = av.CodecContext.create(ANCHORS[name].decoder, "r")
    context.thread_count = 1
    pictures = [picture for unit in units for picture in context.decode(av.Packet(unit))]
    pictures += context.decode(None)
    return [crop(from_av(picture), width, height) for picture in pictures]


def run_anchor(frames: Sequence[Frame], video: VideoFormat, name: str, crf: float) -> AnchorResult:
    """Encode and decode the frames; every frame must come back."""
    units = encode_stream(frames, video, name, crf)
    decoded = decode_stream(units, name, *frames[0].size)
    if not len(units) == len(decoded) == len(frames):
        counts = f"{len(frames)} frames in, {len(units)} packets, {len(decoded)} frames out"
        raise RuntimeError(f"{name}: {counts}")
    return AnchorResult(tuple(map(len, units)), tuple(decoded))
