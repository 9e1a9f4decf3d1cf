"""The one thread that encodes: always the newest picture, only while somebody looks, never ahead of who sends."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

import av

from lrae.codec.types import Frame, VideoFormat
from lrae.receiver.broadcast.clock import Ticks
from lrae.receiver.broadcast.encoder import BrowserEncoder, Picture

KEY_EVERY = 0.4  # seconds between key frames, whoever asks: each costs as much as ten other frames
STILL_EVERY = 0.5  # seconds after which a picture that stays is encoded again: who has missed it sees it then
RECENT = 30  # frames whose age in the queue is looked at


class EncodeWorker:
    """Encodes each picture once for every codec in use and gives it away; starts with the first picture wanted.

    deliver(pictures by codec) is called in the worker's thread and must end in taken(), from any thread: until then
    nothing more is encoded, so that a slow taker lowers the frame rate and not the liveliness.
    """

    def __init__(self, fps: float, bitrate: int, deliver: Callable[[dict[str, Picture]], None]) -> None:
        self._fps, self._bitrate, self._deliver = fps, bitrate, deliver
        self._video: VideoFormat | None = None
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._newest: tuple[Frame, float, float] | None = None  # frame, its time, when it came
        self._fresh, self._taken = False, True  # the newest one was not encoded yet; the last one is on its way
        self._closed = False
        self._codecs: frozenset[str] = frozenset()
        self._keys: set[str] = set()  # codecs that a key frame is wanted in
        self._next_key = self._next_still = 0.0
        self._ages: deque[float] = deque(maxlen=RECENT)
        self._since = 0.0
        self.counts: Counter[str] = Counter()  # frames, keys, bytes, newer (pictures that a newer one replaced), failed

    def show(self, frame: Frame, time_: float) -> None:
        """Takes the newest picture; one that still waits is dropped."""
        with self._wake:
            if self._closed:
                return
            self.counts["newer"] += self._fresh and bool(self._codecs)
            self._newest, self._fresh = (frame, time_, time.monotonic()), True
            self._wake.notify_all()

    def expect(self, video: VideoFormat) -> None:
        """What the next pictures look like."""
        with self._wake:
            self._fps, self._video = float(video.fps), video

    def want(self, codecs: frozenset[str]) -> None:
        """The codecs that somebody looks at from now on; none: nothing is encoded."""
        with self._wake:
            self._codecs = codecs
            self._keys &= codecs
            if codecs and self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name="broadcast", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def want_key(self, codec: str) -> None:
        """Somebody cannot go on without a key frame."""
        with self._wake:
            self._keys.add(codec)
            self._wake.notify_all()

    def taken(self) -> None:
        """What was delivered is on its way."""
        with self._wake:
            self._taken = True
            self._ages.append(time.monotonic() - self._since)
            self._wake.notify_all()

    @property
    def age(self) -> float:
        """Seconds: the longest of the last second or so between show() and the packets' way out, or of what waits."""
        with self._wake:
            waiting = time.monotonic() - self._since if not self._taken else 0.0
            return max(waiting, max(self._ages, default=0.0))

    def close(self) -> None:
        """Ends the thread; waits for a frame that is being encoded."""
        with self._wake:
            self._closed = True
            thread = self._thread
            self._wake.notify_all()
        if thread is not None:
            thread.join()

    def _next(self) -> tuple[Frame, float, frozenset[str], frozenset[str]] | None:
        """Waits for something to do: frame, time, codecs, those that get a key frame; None at the end."""
        with self._wake:
            while not self._closed:
                now, wait = time.monotonic(), None
                if self._codecs and self._newest and self._taken:
                    due = bool(self._keys) and now >= self._next_key
                    if self._fresh or due or now >= self._next_still:
                        return self._take(now, due)
                    wait = min(self._next_still, self._next_key if self._keys else math.inf) - now
                self._wake.wait(wait)
        return None

    def _take(self, now: float, key: bool) -> tuple[Frame, float, frozenset[str], frozenset[str]]:
        """The newest picture, with its time moved on if it was taken before; with the lock held."""
        frame, at, came = self._newest
        keys = frozenset(self._keys) if key else frozenset()
        if key:
            self._keys.clear()
            self._next_key = now + KEY_EVERY
        if not self._fresh:
            at, came = at + now - came, now
        self._since, self._next_still = came, now + STILL_EVERY
        self._fresh = self._taken = False
        return frame, at, self._codecs, keys

    def _work(self) -> None:
        encoders: dict[str, BrowserEncoder] = {}
        ticks = Ticks()
        while (todo := self._next()) is not None:
            frame, at, codecs, keys = todo
            tick, video = ticks(at, time.monotonic()), self._video
            pictures = {}
            for codec in codecs:
                try:
                    if codec not in encoders or not encoders[codec].fits(frame, video):
                        encoders[codec] = BrowserEncoder(codec, frame.size, self._fps, self._bitrate, video)
                    picture = encoders[codec].encode(frame, tick, codec in keys)
                except (av.FFmpegError, ValueError):  # a size that the codec does not take, no memory
                    encoders.pop(codec, None)
                    self.counts["failed"] += 1
                    continue
                if picture is not None:
                    pictures[codec] = picture
                    self.counts.update(frames=1, keys=picture.key, bytes=picture.packet.size)
            for codec in set(encoders) - codecs:
                del encoders[codec]
            self._deliver(pictures)
