"""YUV4MPEG2 ("y4m"), the raw video of pipes: a strict reader and a writer of 8-bit 4:2:0."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from lrae.codec.types import MAX_SIDE, Frame, VideoFormat
from lrae.errors import SourceError

MAX_LINE = 512  # bytes of a stream or frame header; mjpegtools writes at most about 100
CHROMA_420 = ("420", "420jpeg", "420mpeg2", "420paldv")  # they differ in where chroma sits, not in layout
RANGES = {"LIMITED": "tv", "FULL": "pc"}  # ffmpeg's XCOLORRANGE


def parse_header(line: bytes) -> VideoFormat:
    """The format that a stream header (without its newline) declares.

    y4m does not name the matrix ("unknown"); fps 0:0 and a missing fps count as 30.
    SourceError for anything that is not progressive 8-bit 4:2:0 with sides of 1 to MAX_SIDE.
    """
    words = line.split(b" ")
    if words[0] != b"YUV4MPEG2":
        raise SourceError("the input is not y4m: it does not start with YUV4MPEG2")
    fields: dict[str, str] = {}
    for word in words[1:]:
        text = word.decode("ascii", "replace")
        if text.startswith("XCOLORRANGE="):
            fields["range"] = text.partition("=")[2]
        elif text and text[0] != "X":
            fields[text[0]] = text[1:]
    width, height = (_number(fields.get(key, ""), key) for key in "WH")
    chroma = fields.get("C", "420jpeg")
    if chroma not in CHROMA_420:
        raise SourceError(f"y4m colour format C{chroma}: need 8-bit 4:2:0 (ffmpeg -pix_fmt yuv420p)")
    if fields.get("I", "p") not in ("p", "?"):
        raise SourceError("y4m is interlaced: deinterlace it first (ffmpeg -vf yadif)")
    color_range = RANGES.get(fields.get("range", "LIMITED"))
    if color_range is None:
        raise SourceError(f"y4m colour range {fields['range']}: need LIMITED or FULL")
    return VideoFormat(width, height, _rate(fields.get("F", "0:0")), color_range, "unknown")


def _number(text: str, key: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= MAX_SIDE:
        raise SourceError(f"y4m header: {key}{text} is not a side of 1 to {MAX_SIDE}")
    return int(text)


def _rate(text: str) -> Fraction:
    match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", text)
    if not match:
        raise SourceError(f"y4m header: F{text} is not a frame rate")
    numerator, denominator = int(match[1]), int(match[2])
    return Fraction(numerator, denominator) if numerator and denominator else Fraction(30)


def _read_line(stream: BinaryIO) -> bytes:
    line = stream.readline(MAX_LINE)
    if line and not line.endswith(b"\n"):
        raise SourceError("y4m header is cut off or too long")
    return line[:-1]


class Y4mReader:
    """Frames of a y4m byte stream. SourceError where the stream is not y4m or ends inside a frame."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.format = parse_header(_read_line(stream))

    def __iter__(self) -> Iterator[Frame]:
        width, height, rate = self.format.width, self.format.height, self.format.fps
        half = ((height + 1) // 2, (width + 1) // 2)
        luma, chroma = width * height, half[0] * half[1]
        number = 0
        while line := _read_line(self._stream):
            if line != b"FRAME" and not line.startswith(b"FRAME "):
                raise SourceError(f"y4m: frame {number} does not start with FRAME")
            data = self._stream.read(luma + 2 * chroma)
            if len(data) != luma + 2 * chroma:
                raise SourceError(f"y4m ends inside frame {number}")
            samples = np.frombuffer(data, np.uint8)
            yield Frame(
                samples[:luma].reshape(height, width),
                samples[luma : luma + chroma].reshape(half),
                samples[luma + chroma :].reshape(half),
                time=float(number / rate),
            )
            number += 1


def header(video: VideoFormat) -> bytes:
    """The stream header, newline included."""
    color_range = next(name for name, value in RANGES.items() if value == video.color_range)
    rate = f"F{video.fps.numerator}:{video.fps.denominator}"
    words = f"YUV4MPEG2 W{video.width} H{video.height} {rate} Ip A1:1 C420jpeg XCOLORRANGE={color_range}\n"
    return words.encode()


def frame_bytes(frame: Frame) -> bytes:
    """One frame with its marker line."""
    return b"FRAME\n" + frame.y.tobytes() + frame.u.tobytes() + frame.v.tobytes()
