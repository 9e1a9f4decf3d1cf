"""A codec's end in a process of its own, as encoding and decoding in threads of one process wait for each other."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from lrae.codec.types import EncodedFrame, Frame, VideoFormat
from lrae.errors import LraeError
from lrae.receiver.jitter import ReadyFrame
from lrae.sender.events import News
from lrae.webrtc.ends import Mode, Seen

JOIN = 2.0  # seconds to wait for a process that was told to leave


class Gone(LraeError):
    """The process has ended."""


class Screen:
    """Room for one frame in memory that processes share."""

    def __init__(self, context: Any, video: VideoFormat) -> None:
        half = (video.height + 1) // 2, (video.width + 1) // 2
        self._shapes = (video.height, video.width), half, half
        self._memory = context.RawArray("B", sum(h * w for h, w in self._shapes))

    def write(self, frame: Frame) -> None:
        """Copies a frame in."""
        for room, plane in zip(self._planes(), (frame.y, frame.u, frame.v), strict=True):
            room[:] = plane

    def read(self, time: float) -> Frame:
        """The frame itself: valid until the next one is written."""
        return Frame(*self._planes(), time)

    def _planes(self) -> list[np.ndarray]:
        memory, planes, at = np.frombuffer(self._memory, np.uint8), [], 0
        for height, width in self._shapes:
            planes.append(memory[at : at + height * width].reshape(height, width))
            at += height * width
        return planes


class Remote:
    """make(*args) in a new process; call() has its methods called there, one at a time."""

    def __init__(self, context: Any, make: Callable[..., Any], *args: Any) -> None:
        self._connection, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, make, args), daemon=True)
        self._process.start()
        there.close()

    def call(self, name: str, *args: Any) -> Any:
        """Waits for the answer. Raises LraeErrors that the method raises, and Gone."""
        try:
            self._connection.send((name, args))
            answer, error = self._connection.recv()
        except (EOFError, OSError) as gone:
            raise Gone("a process of the codec has ended") from gone
        if error is not None:
            raise error
        return answer

    def close(self) -> None:
        """Ends the process, also in the middle of a call."""
        self._process.terminate()
        self._process.join(JOIN)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._connection.close()


def _serve(connection: Connection, make: Callable[..., Any], args: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us decides when to leave
    with contextlib.suppress(EOFError, OSError):  # the other process has gone
        target, failed = None, None
        try:
            target = make(*args)
        except LraeError as error:
            failed = error
        while True:
            name, values = connection.recv()
            answer, error = None, failed
            try:
                answer = None if failed else getattr(target, name)(*values)
            except LraeError as raised:
                error = raised
            connection.send((answer, error))


class _EncodingThere:
    def __init__(self, screen: Screen, *args: Any) -> None:
        from lrae.webrtc.ends_lrae import lrae_encoding  # this process alone loads the networks

        self._screen, self._encoding = screen, lrae_encoding(*args)

    def encode(self, time: float, news: News, mode: Mode) -> EncodedFrame | None:
        return self._encoding.encode(self._screen.read(time), news, mode)


class _DecodingThere:
    def __init__(self, screen: Screen, *args: Any) -> None:
        from lrae.webrtc.ends_lrae import lrae_decoding

        self._screen, self._decoding = screen, lrae_decoding(*args)
        self.start, self.mend = self._decoding.start, self._decoding.mend

    def decode(self, frame: ReadyFrame, impute: str) -> dict[str, Any]:
        seen = self._decoding.decode(frame, impute)
        self._screen.write(seen.frame)
        return {name: value for name, value in vars(seen).items() if name != "frame"}


class RemoteEncoding:
    """lrae_encoding(*args) in a process of its own; video: its second argument."""

    def __init__(self, *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._screen = Screen(context, args[1])
        self._remote = Remote(context, _EncodingThere, self._screen, *args)

    def encode(self, frame: Frame, news: News, mode: Mode) -> EncodedFrame | None:
        """As Encoding says."""
        self._screen.write(frame)
        return self._remote.call("encode", frame.time, news, mode)

    def close(self) -> None:
        self._remote.close()


class RemoteDecoding:
    """lrae_decoding(*args) in a process of its own; video: its second argument."""

    def __init__(self, *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._screen = Screen(context, args[1])
        self._remote = Remote(context, _DecodingThere, self._screen, *args)

    def start(self) -> None:
        """As Decoding says."""
        self._remote.call("start")

    def decode(self, frame: ReadyFrame, impute: str) -> Seen:
        """As Decoding says."""
        told = self._remote.call("decode", frame, impute)
        planes = self._screen.read(frame.capture)
        return Seen(Frame(planes.y.copy(), planes.u.copy(), planes.v.copy(), frame.capture), **told)

    def mend(self, frames: Sequence[ReadyFrame]) -> dict[int, frozenset[int]]:
        """As Decoding says."""
        return self._remote.call("mend", frames)

    def close(self) -> None:
        self._remote.close()
