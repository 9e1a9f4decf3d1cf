"""A whole session in virtual time: the cores of lrae-send and lrae-recv, joined by two links, without a socket.

    frames ─► FrameEncoder ─► SenderSession ─► Link ─► ReceiverSession ─► Decoder ─► PlayoutClock ─► Shown
                                    ▲                        │
                                    └───────── Link ◄────────┘
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lrae.channel.link import Link
from lrae.codec.api import Decoder
from lrae.codec.types import DecodedFrame, EncodedFrame, Frame
from lrae.receiver.events import FrameDue, FramesMended, StreamEnded, StreamStarted
from lrae.receiver.mending import MendingDecoder
from lrae.receiver.playout import PlayoutClock
from lrae.receiver.session import ReceiverSession
from lrae.sender.encoding import FrameEncoder
from lrae.sender.reading import WAITING
from lrae.sender.session import SenderSession

MAX_STEPS = 10_000_000
TAIL = 3.0  # seconds after the last frame in which a session may end
CALLING = 300.0  # seconds in which the session must have begun: at 80 % loss both ways that takes minutes


@dataclass(frozen=True)
class Shown:
    """A frame on screen. time: seconds, virtual; delay: from capture to screen."""

    number: int
    time: float
    delay: float
    decoded: DecodedFrame
    received: int
    packets: int  # K, 0 if nothing of the frame arrived


@dataclass
class Outcome:
    """sent: (frame of the clip, encoded, capture time) by frame number. shown: in order. counts: datagrams dropped by
    the receiver. sizes: datagrams and bytes by kind and direction. rates: (time, controller's bit/s) per frame."""

    sent: dict[int, tuple[int, EncodedFrame, float]] = field(default_factory=dict)
    shown: list[Shown] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[str, str]] = field(default_factory=Counter)
    rates: list[tuple[float, float]] = field(default_factory=list)
    skipped: int = 0
    replayed: int = 0
    recovered: int = 0
    clean: bool = False


class VirtualSession:
    """Runs the frames of a clip through a session.

    start: seconds of the clock at which everything begins. fps: of capture. encode_time, decode_time: seconds that a
    frame is charged. computed: seconds that the encoder has computed so far; with it, frames are charged what they and
    the replays before them took instead of encode_time. deadline: the receiver's.
    """

    def __init__(
        self,
        frames: Sequence[Frame],
        fps: float,
        sender: SenderSession,
        encoder: FrameEncoder,
        receiver: ReceiverSession,
        decoder: Decoder,
        up: Link,
        down: Link,
        deadline: float = 0.15,
        encode_time: float = 0.0,
        decode_time: float = 0.0,
        start: float = 0.0,
        computed: Callable[[], float] | None = None,
    ) -> None:
        self.outcome = Outcome()
        self._frames, self._fps = frames, fps
        self._sender, self._encoder = sender, encoder
        self._receiver, self._decoder = receiver, decoder
        self._up, self._down = up, down
        self._deadline, self._encode_time, self._decode_time = deadline, encode_time, decode_time
        self._now, self._start = start, start
        self._computed = computed
        self._first: float | None = None  # when the first frame is captured
        self._next = 0  # frame of the clip
        self._work: list[tuple[float, int, Any]] = []  # heap of what the codec has finished: (time, order, call)
        self._order = 0
        self._encoder_free = self._decoder_free = start
        self._waiting: deque[tuple[int, float]] = deque(maxlen=WAITING)  # captured: (frame of the clip, when)
        self._finishing = self._ended = False

    def run(self) -> Outcome:
        """To the end of the clip and of the session."""
        last = None
        for _ in range(MAX_STEPS):
            self._step()
            if self._ended or (last is None and self._now > self._start + CALLING and self._first is None):
                break
            if self._next >= len(self._frames):
                last = last or self._now
                if self._now > last + TAIL:
                    break
            self._now = max(self._now, self._next_time())
        outcome, sender = self.outcome, self._sender
        outcome.counts = self._receiver.counts
        outcome.sizes = sender.flow.sent + self._receiver.sent
        outcome.skipped, outcome.replayed = self._encoder.skipped, self._encoder.replayed
        outcome.recovered = self._receiver.stats.recovered
        return outcome

    def _next_time(self) -> float:
        times = [self._up.next_time(), self._down.next_time(), self._sender.get_timer(), self._receiver.get_timer()]
        if self._work:
            times.append(self._work[0][0])
        if self._sender.connected and self._next < len(self._frames):
            times.append(self._capture_time(self._next))
        known = [time for time in times if time is not None]
        return min(known) if known else self._now + TAIL

    def _capture_time(self, index: int) -> float:
        return (self._now if self._first is None else self._first) + index / self._fps

    def _step(self) -> None:
        now, sender, receiver = self._now, self._sender, self._receiver
        for _, data in self._down.receive(now):
            sender.receive_datagram(data, None, now)
        for _, data in self._up.receive(now):
            receiver.receive_datagram(data, "sender", now)
        for session in (sender, receiver):
            timer = session.get_timer()
            if timer is not None and timer <= now:
                session.handle_timer(now)
        while self._work and self._work[0][0] <= now:
            heapq.heappop(self._work)[2](now)
        while event := receiver.next_event():
            self._on_receiver(event, now)
        while sender.next_event():
            pass
        self._capture(now)
        for data, _ in sender.datagrams_to_send(now):
            self._up.send(data, now)
        for data, _ in receiver.datagrams_to_send(now):
            self._down.send(data, now)

    def _later(self, time: float, call: Any) -> None:
        self._order += 1
        heapq.heappush(self._work, (time, self._order, call))

    # the sender's program

    def _capture(self, now: float) -> None:
        if not self._sender.connected:
            return
        self._first = now if self._first is None else self._first
        while self._next < len(self._frames) and self._capture_time(self._next) <= now + 1e-9:
            self._waiting.append((self._next, self._capture_time(self._next)))  # the oldest of too many is dropped
            self._next += 1
        while self._waiting and self._encoder_free <= now:
            self._encode(*self._waiting.popleft(), now)
        if self._next == len(self._frames) and not self._waiting and not self._finishing:
            self._finishing = True
            self._later(max(now, self._encoder_free), self._sender.finish)

    def _encode(self, index: int, capture: float, now: float) -> None:
        frame = self._frames[index]
        timed = Frame(frame.y, frame.u, frame.v, capture - self._first)
        before = self._computed() if self._computed else 0.0
        encoded = self._encoder.encode(timed, self._sender.take_news(now))
        self.outcome.rates.append((now, self._sender.flow.controller.rate))
        spent = self._encode_time if encoded else 0.0
        self._encoder_free = now + (self._computed() - before if self._computed else spent)
        if encoded is None:
            self._later(self._encoder_free, lambda at: None)  # the next frame may wait for that
            return
        self.outcome.sent[encoded.header.number] = index, encoded, capture
        self._later(self._encoder_free, lambda at: self._sender.send_frame(encoded, capture, at))

    # the receiver's program

    def _on_receiver(self, event: Any, now: float) -> None:
        if isinstance(event, StreamStarted):
            self._mending = MendingDecoder(self._decoder)
            self._playout = PlayoutClock(self._deadline, event.config.realtime)
            self._receiver.accept(event, now, early=not getattr(self._decoder, "sequential", False))
        elif isinstance(event, FrameDue):
            self._decoder_free = max(now, self._decoder_free) + self._decode_time
            self._later(self._decoder_free, lambda at: self._decode(event, at))
        elif isinstance(event, FramesMended):
            self._later(max(now, self._decoder_free), lambda at: self._mend(event, at))
        elif isinstance(event, StreamEnded):
            self.outcome.clean = event.clean
            self._ended = True

    def _decode(self, due: FrameDue, now: float) -> None:
        frame = due.frame
        decoded = self._mending.decode(frame)
        self._receiver.decoded(due, decoded.used, now)
        at = self._playout.show_at(frame.capture, due.time - frame.delay, now)
        sent = self.outcome.sent.get(frame.number)
        capture = sent[2] if sent else at
        packets = frame.header.packets if frame.header else 0
        self.outcome.shown.append(Shown(frame.number, at, at - capture, decoded, len(frame.payloads), packets))

    def _mend(self, mended: FramesMended, now: float) -> None:
        self._decoder_free = max(now, self._decoder_free) + self._decode_time * self._mending.passes(mended.frames)
        self._receiver.decoded_again(mended, self._mending.mend(mended.frames), now)
