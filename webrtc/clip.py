"""An input that plays in a loop in a thread of its own, at its own pace, while it is wanted."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

from lrae.codec.types import Frame
from lrae.errors import LraeError
from lrae.sender.source import open_source
from lrae.webrtc.framing import fit

KEPT_BYTES = 96 << 20  # a clip whose frames take no more stays in memory, scaled
MAX_FPS = Fraction(30)
LATE = 0.25  # seconds behind its pace after which a clip starts a new count
JOIN = 1.0  # seconds to wait for an input that blocks


class Clip:
    """What lrae-send takes as --input. show(frame, now) is called from the thread, now being time.monotonic().

    size: (width, height) of the frames. fps: of the input if None, at most 30. SourceError: it cannot be opened, or
    ends and cannot start again. It stands still until play(True).

    format: of the frames; live: the input is, and its frames that nobody wanted are gone.
    """

    def __init__(self, name: str, size: tuple[int, int], fps: Fraction | None, show: Callable[[Frame, float], None]):
        source = open_source(name, fps=fps)
        if source.format.fps > MAX_FPS:
            source.close()
            source = open_source(name, fps=MAX_FPS)
        self.format = replace(source.format, width=size[0], height=size[1])
        self.fps, self.live = source.format.fps, source.live
        width, height = size
        short = (source.frames or KEPT_BYTES) * width * height * 3 // 2 <= KEPT_BYTES
        if not (short or self.live):
            source.close()
            source = open_source(name, fps=self.fps, loop=True)
        self.name, self.size, self.problem = name, size, ""
        self._source = source
        self._short, self._show = short, show
        self._wanted, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="clip", daemon=True)  # an input may block for ever
        self._thread.start()

    def play(self, wanted: bool) -> None:
        """Frames come, or stop coming, at once."""
        if wanted:
            self._wanted.set()
        else:
            self._wanted.clear()

    def close(self) -> None:
        """No more frames; safe to call twice."""
        self._stop.set()
        self._wanted.set()
        self._thread.join(JOIN)
        if not self._thread.is_alive():
            self._source.close()

    def _frames(self) -> Iterator[Frame]:
        frames = (fit(frame, self.size) for frame in self._source)
        return itertools.cycle(frames) if self._short else frames

    def _run(self) -> None:
        try:
            due = time.monotonic()
            for frame in self._frames():
                if not (self._wanted.is_set() or self.live):
                    self._wanted.wait()
                    due = time.monotonic()
                self._stop.wait(max(0.0, due - time.monotonic()))
                if self._stop.is_set():
                    return
                now = time.monotonic()
                if self._wanted.is_set():
                    self._show(frame, now)
                due = now if self.live else max(due, now - LATE) + 1 / float(self.fps)
        except LraeError as error:
            self.problem = str(error)
