"""Where frames go: one text names a window, a file, a pipe or nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO, Protocol

from lrae.codec.avframe import Converter, to_av
from lrae.codec.timeline import Timeline
from lrae.codec.types import Frame, VideoFormat
from lrae.codec.y4m import frame_bytes, header
from lrae.errors import SinkError
from lrae.receiver.sink_video import VideoSink
from lrae.receiver.sink_window import WindowSink, check_display

KINDS = "window, NAME.mp4, NAME.mkv, NAME.y4m, - (y4m on standard output) or null"
VIDEO_SUFFIXES = (".mp4", ".mkv")


class Sink(Protocol):
    """Takes frames in the order they are shown. wanted: False once the user has closed the window."""

    wanted: bool

    def write(self, frame: Frame, info: str = "") -> None:
        """Show or store one frame. info: a line for people (a window's title). SinkError."""
        ...

    def close(self) -> None:
        """Finish the output; safe to call twice. SinkError if what is left cannot be written."""
        ...


class Screen(Sink, Protocol):
    """A sink that outlives streams and takes each in its own size."""

    def start(self, video: VideoFormat) -> None:
        """A stream begins: what the next frames look like."""
        ...


class NullSink:
    """Takes everything and keeps nothing."""

    wanted = True

    def write(self, frame: Frame, info: str = "") -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class Y4mSink:
    """Raw video.

    fill: repeat a frame where the times leave a gap, since y4m has a constant rate (for players); otherwise
    each frame is written exactly once (for measurements). owned: close the stream at the end.
    """

    wanted = True

    def __init__(self, stream: BinaryIO, name: str, video: VideoFormat, fill: bool, owned: bool) -> None:
        self._stream, self._name, self._video = stream, name, video
        self._fill, self._owned = fill, owned
        self._timeline = Timeline(float(1 / video.fps))
        self._slot, self._last, self._failed = -1, b"", False
        self._put(header(video))

    def _put(self, data: bytes) -> None:
        try:
            self._stream.write(data)
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._failed = True
            reason = "nobody reads it any more" if isinstance(error, BrokenPipeError) else error
            raise SinkError(f"{self._name}: {getattr(reason, 'strerror', None) or reason}") from error

    def write(self, frame: Frame, info: str = "") -> None:
        slot = max(self._slot + 1, round(self._timeline(frame.time) * self._video.fps))
        data = frame_bytes(frame)
        for _ in range(slot - self._slot - 1 if self._fill and self._last else 0):
            self._put(self._last)
        self._put(data)
        self._slot, self._last = slot, data

    def close(self) -> None:
        if self._owned and not self._stream.closed:
            try:
                self._stream.close()
            except OSError as error:  # a buffer that could not be written raises again here
                if not self._failed:
                    raise SinkError(f"{self._name}: {error.strerror}") from error


class FittedSink:
    """Brings frames of another size (the next sender's) to the size that the output was opened with."""

    def __init__(self, sink: Sink, video: VideoFormat) -> None:
        self._sink, self._video, self._convert = sink, video, Converter(video)

    @property
    def wanted(self) -> bool:
        return self._sink.wanted

    def write(self, frame: Frame, info: str = "") -> None:
        if frame.size != (self._video.width, self._video.height):
            frame = self._convert(to_av(frame, self._video), frame.time)
        self._sink.write(frame, info)

    def close(self) -> None:
        self._sink.close()


def check_sink(text: str) -> None:
    """What can be said against an output before the first frame is there. SinkError, one line."""
    if text == "window":
        check_display()
    elif text not in ("-", "null"):
        path = Path(text)
        if path.suffix.lower() not in (*VIDEO_SUFFIXES, ".y4m"):
            raise SinkError(f"output {text!r}: give {KINDS}")
        if path.is_dir():
            raise SinkError(f"{text}: is a directory")
        if not path.parent.is_dir():
            raise SinkError(f"{text}: the folder {path.parent} does not exist")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise SinkError(f"{text}: not permitted to write there")


def open_sink(text: str, video: VideoFormat) -> Sink:
    """Open an output for frames of a format. text: KINDS. SinkError, one line, where that cannot be.

    Files are overwritten; what was written stays playable if the program dies (a second may be lost).
    """
    check_sink(text)
    if text == "window":
        return FittedSink(WindowSink(video), video)
    if text == "null":
        return NullSink()
    if text == "-":
        return FittedSink(Y4mSink(sys.stdout.buffer, "standard output", video, True, False), video)
    if not text.lower().endswith(".y4m"):
        return FittedSink(VideoSink(text, video), video)
    try:
        stream = Path(text).open("wb")  # noqa: SIM115 - closed by the sink
    except OSError as error:
        raise SinkError(f"{text}: {error.strerror}") from error
    return FittedSink(Y4mSink(stream, text, video, False, True), video)
