"""Files, URLs and cameras, in yuv420p as they are stored wherever that is what they hold."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from fractions import Fraction

import av
import cv2
import numpy as np

from lrae.codec.avframe import MAX_FPS, MIN_FPS, Converter, stream_format
from lrae.codec.timeline import Timeline
from lrae.codec.types import Frame, VideoFormat
from lrae.errors import SourceError

LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtp", "udp", "srt", "tcp")
TIMEOUT = (10.0, 10.0)  # seconds to open, to wait for a packet
MAX_DAMAGED = 300  # packets in a row that do not decode before the input counts as broken


class AvReader:
    """A file or URL. SourceError, one line, for all that libav can say against it."""

    def __init__(self, name: str) -> None:
        self.name = name
        scheme, separator, _ = name.partition("://")
        self.live = bool(separator) and scheme.lower() in LIVE_SCHEMES
        self.seekable = not self.live
        self._container: av.container.InputContainer | None = None
        self._first = self._pictures()
        try:
            picture = next(self._first, None)
        except BaseException:
            self.close()
            raise
        if picture is None:
            self.close()
            raise SourceError(f"{name}: no frames in it")
        stream = self._container.streams.video[0]
        self.format = stream_format(stream, picture)
        if picture.format.is_rgb:
            self.format = VideoFormat(picture.width, picture.height, self.format.fps, "tv", "bt709")
        self.count = stream.frames or None
        self.notes = () if not picture.rotation else (f"rotation flag of {picture.rotation} degrees ignored",)
        self._first = itertools.chain([picture], self._first)

    def _open(self) -> None:
        options = {"rtsp_transport": "tcp", "fflags": "nobuffer"} if self.live else {}
        try:
            self._container = av.open(self.name, options=options, timeout=TIMEOUT)
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            if isinstance(error, av.InvalidDataError):
                reason = "not a video that libav can read"
            raise SourceError(f"{self.name}: {reason}") from error
        if not self._container.streams.video:
            raise SourceError(f"{self.name}: no video in it")

    def _pictures(self) -> Iterator[av.VideoFrame]:
        """Every picture that decodes; damaged packets in between are passed over."""
        self._open()
        stream = self._container.streams.video[0]
        stream.thread_type = "SLICE" if self.live else "AUTO"
        damaged = 0
        try:
            for packet in self._container.demux(stream):
                try:
                    pictures = packet.decode()
                    damaged = 0
                except av.InvalidDataError:
                    damaged += 1
                    if damaged > MAX_DAMAGED:
                        raise
                    continue
                yield from pictures
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"{self.name}: {error.strerror or error}") from error

    def frames(self) -> Iterator[Frame]:
        pictures = self._first
        if pictures is None:
            self.close()
            pictures = self._pictures()
        self._first = None
        convert = Converter(self.format)
        timeline = Timeline(float(1 / self.format.fps))
        for picture in pictures:
            yield convert(picture, timeline(picture.time))

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None


class CameraReader:
    """A camera by index, through OpenCV (PyAV's wheel has no camera drivers), raw YUV if the driver can."""

    live = True
    seekable = False
    count = None
    notes = ()

    def __init__(self, index: int) -> None:
        self.name = f"camera {index}"
        logging = cv2.utils.logging  # errors only: what is wrong is said below, in one line
        logging.setLogLevel(logging.LOG_LEVEL_ERROR)
        self._device = cv2.VideoCapture(index)
        if not self._device.isOpened():
            raise SourceError(f"{self.name}: not there, in use, or not permitted")
        self._device.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        self._jpeg = av.CodecContext.create("mjpeg", "r")
        start, first = time.monotonic(), self._grab()
        if first is None:
            self.close()
            raise SourceError(f"{self.name}: gives no frames")
        self._start, self._first = start, first
        rate = self._device.get(cv2.CAP_PROP_FPS)
        fps = Fraction(rate).limit_denominator(1001) if MIN_FPS <= rate <= MAX_FPS else Fraction(30)
        color_range = "pc" if first.format.name.startswith("yuvj") else "tv"
        matrix = "bt709" if first.format.is_rgb else "bt470bg"  # JFIF and UVC: BT.601
        self.format = VideoFormat(first.width, first.height, fps, color_range, matrix)

    def _grab(self) -> av.VideoFrame | None:
        good, data = self._device.read()
        return camera_picture(data, self._jpeg) if good else None

    def frames(self) -> Iterator[Frame]:
        convert = Converter(self.format)
        yield convert(self._first, 0.0)
        while (picture := self._grab()) is not None:
            yield convert(picture, time.monotonic() - self._start)
        raise SourceError(f"{self.name}: stopped giving frames")

    def close(self) -> None:
        self._device.release()


def camera_picture(data: np.ndarray, jpeg: av.VideoCodecContext) -> av.VideoFrame:
    """What a driver hands over as a picture: YUYV [H, W, 2], BGR [H, W, 3], or the bytes of a JPEG."""
    if data.ndim == 3 and data.shape[2] in (2, 3) and data.shape[0] > 1:
        return av.VideoFrame.from_ndarray(data, format="yuyv422" if data.shape[2] == 2 else "bgr24")
    try:
        return jpeg.decode(av.Packet(data.tobytes()))[0]
    except (av.FFmpegError, IndexError) as error:
        raise SourceError("the camera sends a pixel format that is not known here") from error
