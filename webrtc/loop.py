"""The demo's pipeline on the wall clock: threads and processes around webrtc/pipeline.py; no caller ever waits.

What on_stats gets, once for each instant at which pictures are shown, JSON-ready ("lrae" and "h264" are the two legs):

    frame           number of the source's frame on screen, from 1
    time            seconds from the loop's start to that frame's capture
    size            [width, height]
    delay_ms        lrae, h264: from the capture of the newest picture to when its receiver had it; gateway: from the
                    capture of the frame to now, without the network's delay
    queue_ms        how long the newest frame waited for the encoder
    fps             instants in the last second
    psnr, ssim      dB, PSNR-YUV 6:1:1 and -10 log10(1 - SSIM of luma), of what is on screen against the source; SSIM is
                    taken of every sixth instant
    kbps            by kind, over the last second: media, side, parity, retransmit, headers; feedback comes on top
    packets         of that frame, in order: 0 arrived, 1 lost, 2 lost and recovered (by parity or sent again), 3 lost
                    and painted by the imputer; none if the leg did not send the frame
    state           whole, partial, extrapolated (new pictures, from all, some or none of a frame's packets) or frozen
    stall_ms        by how much the newest picture is older than the source's, 0 normally
    stalls          how often that exceeded 200 ms
    label           {"name", "confidence"}; name null: no class is likely enough; null: the classifier says nothing yet
    dropped_inputs  frames offered that were not taken, as the encoder was busy
    situation       as it was then
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from lrae.codec.types import Frame, VideoFormat
from lrae.errors import LraeError
from lrae.webrtc.ends import Decoding, Encoding, H264Decoding, H264Encoding
from lrae.webrtc.pipeline import H264, LRAE, Pipeline, Report
from lrae.webrtc.remote import Gone, RemoteDecoding, RemoteEncoding
from lrae.webrtc.situation import Situation
from lrae.webrtc.stats import StatsMaker

MAX_OFF = 1.0  # seconds: a capture time further from now is not believed
MAX_WAIT = 0.5  # seconds between looks at the clock
WAITING = 2  # instants between pipeline and display; the oldest of more is dropped
JOIN = 5.0  # seconds to wait for threads
AGAIN = 10.0  # seconds at least between starts of processes that end by themselves

Ends = dict[str, tuple[Encoding, Decoding]]


@dataclass(frozen=True, eq=False)
class Pictures:
    """What is on screen at one instant. source: frame `number`, captured at `time`, time.monotonic() seconds."""

    source: Frame
    lrae: Frame
    conventional: Frame
    number: int
    time: float


def make_ends(video: VideoFormat, bitrate: float, model: str = "m", device: str = "auto") -> Ends:
    """LRAE in two processes, H.264 in this one. Raises ConfigError."""
    lrae = RemoteEncoding(model, video, bitrate, device), RemoteDecoding(model, video, device, "actions")
    return {LRAE: lrae, H264: (H264Encoding(video, bitrate), H264Decoding(video))}


class Loop:
    """Everything here returns at once and may be called from any thread.

    size: (width, height) of all frames. on_picture(Pictures), on_stats(dict): called from a thread of the loop's; a
    slow one costs instants, nothing else. ends(video, bit/s): what encodes and decodes. problem: why a codec has
    failed, "" if none has; what can be started again is. Raises ConfigError.
    """

    def __init__(
        self,
        size: tuple[int, int],
        fps: float,
        situation: Situation,
        on_picture: Callable[[Pictures], None],
        on_stats: Callable[[dict], None],
        seed: int = 0,
        ends: Callable[[VideoFormat, float], Ends] = make_ends,
    ) -> None:
        self.problem = ""
        self._size, self._on_picture, self._on_stats = size, on_picture, on_stats
        self._start, self._seed, self._make = time.monotonic(), seed, ends
        self._video = VideoFormat(*size, Fraction(fps).limit_denominator(1000))
        self._again: float | None = None  # when to begin anew
        self._build(situation, 0)
        self._calls: deque[Callable[[float], None]] = deque()
        self._news = threading.Condition()
        self._reports: deque[Report] = deque(maxlen=WAITING)
        self._report = threading.Condition()
        self._frame: tuple[Frame, float] | None = None  # the newest one offered
        self._missed = 0  # offered before it, and never looked at
        self._closed = False
        names = [f"{leg}-{what}" for leg in self._ends for what in ("encode", "decode")]
        self._workers = {name: ThreadPoolExecutor(1, name) for name in names}
        self._threads = [threading.Thread(target=run, name=run.__name__) for run in (self._pump, self._show)]
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def offer(self, frame: Frame, time: float) -> None:
        """A captured frame of the loop's size (ValueError), which must not change afterwards. time: of its capture,
        time.monotonic() seconds. If the encoder is busy, the newest one offered waits."""
        if frame.size != self._size:
            raise ValueError(f"a frame of {frame.size}, not {self._size}")
        with self._news:
            self._missed += self._frame is not None
            self._frame = frame, time
            self._news.notify()

    def set(self, situation: Situation) -> None:
        """Acts at once."""
        self._post(lambda now: self._pipeline.set(situation, now))

    def drop(self, seconds: float = 1.0) -> None:
        """Everything is lost for so long, from now."""
        self._post(lambda now: self._pipeline.drop(seconds, now))

    def close(self) -> None:
        """Ends threads and processes; safe to call twice."""
        with self._news, self._report:
            self._closed = True
            self._news.notify()
            self._report.notify()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(JOIN)
        self._close_ends()
        for worker in self._workers.values():
            worker.shutdown(cancel_futures=True)

    # the pipeline's thread

    def _build(self, situation: Situation, number: int) -> None:
        self._built = self._now()
        self._ends = self._make(self._video, situation.bitrate_kbps * 1000)
        self._pipeline = Pipeline(self._video, situation, self._ends, self._run, self._emit, self._seed, number)

    def _close_ends(self) -> None:
        for end in (end for ends in self._ends.values() for end in ends if hasattr(end, "close")):
            end.close()

    def _begin_anew(self) -> None:
        """New processes and sessions, as one has ended."""
        self._close_ends()
        old, self._again = self._pipeline, None
        self._build(old.situation, old.number)
        self._pipeline.dropped = old.dropped
        self.problem = ""

    def _post(self, call: Callable[[float], None]) -> None:
        with self._news:
            self._calls.append(call)
            self._news.notify()

    def _pump(self) -> None:
        while True:
            if self._again is not None and self._now() >= self._again:
                self._begin_anew()
            pipeline = self._pipeline
            with self._news:
                wait = min(MAX_WAIT, pipeline.next_time() - self._now())
                if wait > 0 and not (self._calls or self._frame or self._closed):
                    self._news.wait(wait)
                if self._closed:
                    return
                calls, frame, missed = list(self._calls), self._frame, self._missed
                self._calls.clear()
                self._frame, self._missed = None, 0
            pipeline.dropped += missed
            for call in calls:
                call(self._now())
            if frame is not None:
                now, capture = self._now(), frame[1] - self._start
                pipeline.offer(frame[0], capture if 0 <= now - capture <= MAX_OFF else now, now)
            pipeline.advance(self._now())

    def _now(self) -> float:
        return time.monotonic() - self._start

    def _run(self, name: str, call: Callable[[], Any], done: Callable[[Any, float], None]) -> None:
        pipeline = self._pipeline

        def tell(future: Future, now: float) -> None:
            if pipeline is not self._pipeline:
                return
            if error := future.exception():
                self._failed(error)
            else:
                done(future.result(), now)

        def finished(future: Future) -> None:
            if not (future.cancelled() or self._closed):
                self._post(lambda now: tell(future, now))

        if not self._closed:
            self._workers[name].submit(call).add_done_callback(finished)

    def _failed(self, error: BaseException) -> None:
        """A codec's leg stands still from now on; the others go on. Processes that have ended are started again."""
        self.problem = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, Gone):
            self._again = self._again or max(self._now(), self._built + AGAIN)
        if not isinstance(error, LraeError):
            sys.excepthook(type(error), error, error.__traceback__)

    # the display's thread

    def _emit(self, report: Report) -> None:
        with self._report:
            self._reports.append(report)
            self._report.notify()

    def _show(self) -> None:
        maker = StatsMaker()
        while True:
            with self._report:
                self._report.wait_for(lambda: self._reports or self._closed)
                if self._closed:
                    return
                report = self._reports.popleft()
            instant = report.instant
            pictures = (view.picture for view in instant.views.values())
            self._on_picture(Pictures(instant.source, *pictures, instant.number, instant.capture + self._start))
            self._on_stats(maker.stats(report, self._now()))
