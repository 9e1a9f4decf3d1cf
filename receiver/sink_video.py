"""Received frames in an .mp4 or .mkv file that stays playable whatever happens."""

from __future__ import annotations

from fractions import Fraction

import av

from lrae.codec.avframe import MATRIX_CODES, RANGE_CODES, to_av
from lrae.codec.timeline import Timeline
from lrae.codec.types import Frame, VideoFormat
from lrae.errors import SinkError

CLOCK = 90_000  # ticks a second
CRF = 16  # near transparent: the file should show the codec's errors and not x264's


class VideoSink:
    """H.264 with the frames' own times and the stream's colour tags; an odd side gets one more row or column.

    Fragments of one second (mp4) and flushed clusters (mkv): if the program dies, at most about the last
    second is lost.
    """

    wanted = True

    def __init__(self, name: str, video: VideoFormat) -> None:
        self._name, self._video = name, video
        self._timeline = Timeline(float(1 / video.fps))
        self._tick = -1
        options = {"flush_packets": "1"}
        if name.lower().endswith(".mp4"):
            options["movflags"] = "frag_keyframe+empty_moov+default_base_moof"
        try:
            self._container = av.open(name, "w", options=options)
        except (av.FFmpegError, OSError) as error:
            raise SinkError(f"{name}: {error.strerror or error}") from error
        settings = {"crf": str(CRF), "preset": "veryfast", "tune": "zerolatency"}
        self._stream = self._container.add_stream("libx264", rate=video.fps, options=settings)
        self._stream.width = video.width + video.width % 2
        self._stream.height = video.height + video.height % 2
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = Fraction(1, CLOCK)
        context = self._stream.codec_context
        context.time_base = Fraction(1, CLOCK)
        context.gop_size = max(1, round(video.fps))
        context.color_range = RANGE_CODES[video.color_range]
        context.colorspace = MATRIX_CODES.get(video.matrix, MATRIX_CODES["unknown"])

    def write(self, frame: Frame, info: str = "") -> None:
        picture = to_av(frame, self._video, even=True)
        self._tick = max(self._tick + 1, round(self._timeline(frame.time) * CLOCK))
        picture.pts, picture.time_base = self._tick, Fraction(1, CLOCK)
        self._mux(picture)

    def _mux(self, picture: av.VideoFrame | None) -> None:
        if self._container is None:
            raise SinkError(f"{self._name}: the output is closed")
        try:
            self._container.mux(self._stream.encode(picture))
        except (av.FFmpegError, OSError) as error:
            self._release()
            raise SinkError(f"{self._name}: {error.strerror or error}") from error

    def _release(self) -> None:
        """Close without a word: what could be written is written."""
        container, self._container = self._container, None
        try:
            container.close()
        except (av.FFmpegError, OSError):
            return

    def close(self) -> None:
        if self._container is None:
            return
        if self._tick >= 0:
            self._mux(None)
        container, self._container = self._container, None
        try:
            container.close()
        except (av.FFmpegError, OSError) as error:
            raise SinkError(f"{self._name}: {error.strerror or error}") from error
