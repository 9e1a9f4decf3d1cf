"""A thread that reads a source for an event loop, at the frames' own pace or as fast as they are wanted."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Iterable

from lrae.codec.types import Frame
from lrae.errors import LraeError, SourceError

WAITING = 2  # frames between source and encoder
JOIN = 1.0  # seconds to wait for a source that blocks


class FrameReader:
    """await get() gives (frame, capture on the loop's clock), None at the end; raises what the source did.

    paced: a frame is due at its own time after the first, and the oldest of too many is dropped and counted.
    Otherwise the source waits for the encoder, and capture times are the frames' own.
    live: frames come when they come.
    """

    def __init__(self, source: Iterable[Frame], paced: bool, live: bool) -> None:
        self.dropped = 0
        self._source, self._paced, self._live = source, paced or live, live
        self._loop = asyncio.get_running_loop()
        self._frames: deque[tuple[Frame, float]] = deque()
        self._over: Exception | bool = False
        self._news = asyncio.Event()
        self._stop = threading.Event()
        self._room = threading.Semaphore(WAITING)
        self._thread = threading.Thread(target=self._run, daemon=True)  # a camera may block for ever

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No more frames; waits a moment for the source to return."""
        self._stop.set()
        self._room.release()
        if self._thread.ident:
            self._thread.join(JOIN)

    @property
    def running(self) -> bool:
        """The source is still in use by the thread."""
        return self._thread.is_alive()

    async def get(self) -> tuple[Frame, float] | None:
        """The next frame, or None after the last."""
        while not self._frames and not self._over:
            self._news.clear()
            await self._news.wait()
        if self._frames:
            self._room.release()
            return self._frames.popleft()
        if isinstance(self._over, Exception):
            raise self._over
        return None

    def _run(self) -> None:
        over: Exception | bool = True
        try:
            start = None
            for frame in self._source:
                start = self._loop.time() - frame.time if start is None else start
                due = self._loop.time() if self._live else start + frame.time
                if self._paced:
                    self._stop.wait(max(0.0, due - self._loop.time()))
                else:
                    self._room.acquire()
                if self._stop.is_set():
                    break
                self._tell(self._arrived, frame, due if self._paced else frame.time)
        except LraeError as error:
            over = error
        except Exception as error:
            over = SourceError(f"reading the input failed: {error}")
        self._tell(self._ended, over)

    def _tell(self, function, *args) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has gone, nobody listens
            self._loop.call_soon_threadsafe(function, *args)

    def _arrived(self, frame: Frame, capture: float) -> None:
        if self._paced and len(self._frames) >= WAITING:
            self._frames.popleft()
            self.dropped += 1
        self._frames.append((frame, capture))
        self._news.set()

    def _ended(self, over: Exception | bool) -> None:
        self._over = over
        self._news.set()
