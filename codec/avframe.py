"""Frames to and from libav pictures: yuv420p planes are copied, never converted."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from lrae.codec.types import Frame, VideoFormat

# AVColorSpace (libavutil/pixfmt.h) by number -> libav's name; only YUV matrices are listed
MATRIX_NAMES = {
    1: "bt709",
    2: "unknown",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    9: "bt2020nc",
    10: "bt2020c",
}
MATRIX_CODES = {name: code for code, name in MATRIX_NAMES.items()}
RANGE_CODES = {"tv": 1, "pc": 2}
MIN_FPS, MAX_FPS = 1, 240  # of sources
PLANAR_420 = ("yuv420p", "yuvj420p")  # the second is the first with full range


def matrix_name(code: int) -> str:
    """libav's name of an AVColorSpace number; "unknown" for one that is no YUV matrix."""
    return MATRIX_NAMES.get(int(code), "unknown")


def range_name(code: int, pix_fmt: str) -> str:
    """ "pc" for full range, "tv" for limited and for unspecified (the convention of YUV video)."""
    return "pc" if int(code) == 2 or pix_fmt.startswith("yuvj") else "tv"


def from_av(picture: av.VideoFrame, time: float = 0.0) -> Frame:
    """Copy the planes of a yuv420p (or yuvj420p) picture. ValueError for another pixel format."""
    if picture.format.name not in PLANAR_420:
        raise ValueError(f"{picture.format.name} is not planar 8-bit 4:2:0")
    width, height = picture.width, picture.height
    half = ((width + 1) // 2, (height + 1) // 2)
    planes = [
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:h, :w].copy()
        for plane, (w, h) in zip(picture.planes, ((width, height), half, half), strict=True)
    ]
    return Frame(*planes, time=time)


def to_av(frame: Frame, video: VideoFormat | None = None, even: bool = False) -> av.VideoFrame:
    """A libav yuv420p picture with the same samples; colour tags from `video` if given.

    even: repeat the last row and column where a side is odd (H.264 in 4:2:0 has even sides only).
    """
    width, height = frame.size
    if even and (width % 2 or height % 2):
        luma = np.pad(frame.y, ((0, height % 2), (0, width % 2)), mode="edge")
        frame = Frame(luma, frame.u, frame.v, frame.time)
        width, height = frame.size
    picture = av.VideoFrame(width, height, "yuv420p")
    for plane, samples in zip(picture.planes, (frame.y, frame.u, frame.v), strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        rows[: samples.shape[0], : samples.shape[1]] = samples
    picture.pict_type = PictureType.NONE  # the encoder chooses
    if video is not None:
        picture.color_range = RANGE_CODES.get(video.color_range, 1)
        picture.colorspace = MATRIX_CODES.get(video.matrix, 2)
    return picture


class Converter:
    """Turns libav pictures of any pixel format and size into frames of one VideoFormat.

    A yuv420p picture of the right size is copied; everything else goes through swscale. RGB becomes the
    format's matrix; the range stays what the format says.
    """

    def __init__(self, video: VideoFormat) -> None:
        self.format = video
        self._scaler = VideoReformatter()

    def __call__(self, picture: av.VideoFrame, time: float) -> Frame:
        video = self.format
        same_size = (picture.width, picture.height) == (video.width, video.height)
        if not (same_size and picture.format.name in PLANAR_420):
            picture = self._scaler.reformat(
                picture,
                width=video.width,
                height=video.height,
                format="yuv420p",
                src_color_range=RANGE_CODES[range_name(picture.color_range, picture.format.name)],
                dst_color_range=RANGE_CODES[video.color_range],
                dst_colorspace=MATRIX_CODES[video.matrix] if picture.format.is_rgb else None,
                interpolation="BICUBIC",
                threads=1,
            )
        return from_av(picture, time)


def crop(frame: Frame, width: int, height: int) -> Frame:
    """The top left part of a frame; undoes the padding of `to_av(even=True)`."""
    half = (slice((height + 1) // 2), slice((width + 1) // 2))
    return Frame(frame.y[:height, :width], frame.u[half], frame.v[half], frame.time)


def stream_format(stream: av.video.stream.VideoStream, picture: av.VideoFrame) -> VideoFormat:
    """The VideoFormat of a decoded picture of a stream; fps 30 where the container says nothing credible."""
    rate = stream.average_rate or stream.base_rate or stream.guessed_rate or 0
    return VideoFormat(
        width=picture.width,
        height=picture.height,
        fps=Fraction(rate) if MIN_FPS <= rate <= MAX_FPS else Fraction(30),
        color_range=range_name(picture.color_range, picture.format.name),
        matrix=matrix_name(picture.colorspace),
    )
