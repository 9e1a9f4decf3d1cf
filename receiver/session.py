"""The receiver's side of the protocol, sans IO: one stream at a time, frames in order, feedback, counts."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Hashable

from lrae.codec.wire import (
    MAX_REPORTED,
    Bye,
    ByeCode,
    Config,
    DataPacket,
    Feedback,
    Hello,
    Packet,
    Stats,
    VersionError,
    parse_packet,
)
from lrae.codec.wire.feedback import bitmap
from lrae.codec.wire.serial import unwrap, wrap
from lrae.errors import WireError
from lrae.receiver.events import Event, FrameDue, Notice, StreamEnded, StreamStarted
from lrae.receiver.jitter import JitterBuffer
from lrae.version import VERSION

TAKEOVER = 1.0  # seconds of silence after which another sender may take over
VANISHED = 5.0  # seconds of silence that end a stream
FEEDBACK_WAITING, FEEDBACK_IDLE, STATS_EVERY = 0.1, 0.25, 1.0
ANSWER_EVERY = 0.1  # seconds between answers to packets of streams that we do not have
MAX_PAST = 32  # streams whose end is remembered
# a decoder that falls further behind drops everything up to an intra frame
MAX_UNDECIDED, MAX_BEHIND = 32, 1.0  # frames; seconds, of a stream in real time
CAUGHT_UP = 2  # frames: now an intra frame is welcome again
MAX_OUT = 256  # datagrams that wait to be sent

_Peer = tuple[Hashable, int]


class ReceiverSession:
    """Feed datagrams, drain events and datagrams, re-arm one timer. `now`: seconds of any monotonic clock.

    deadline: seconds, as in JitterBuffer. counts: how many datagrams were dropped, by reason.
    """

    def __init__(self, deadline: float = 0.15) -> None:
        self.counts: Counter[str] = Counter()
        self._deadline = deadline
        self._events: deque[Event] = deque()
        self._out: deque[tuple[bytes, Hashable]] = deque(maxlen=MAX_OUT)
        self._past: OrderedDict[_Peer, Bye] = OrderedDict()
        self._noticed: set[str] = set()
        self._answered = float("-inf")
        self._stream: StreamStarted | None = None
        self._start(None, 0.0)

    def _start(self, stream: StreamStarted | None, now: float) -> None:
        self._stream, self._accepted, self._heard = stream, False, now
        self._buffer = JitterBuffer(self._deadline, stream is None or stream.config.realtime)
        self._fates: deque[int] = deque(maxlen=MAX_REPORTED)  # newest first
        self._undecided: deque[float] = deque()  # when frames went to the shell that it has not decoded yet
        self._overloaded = False
        self._fated = 0  # unbounded number of the newest fate
        self._received, self._sequence, self._arrival = 0, 0, now
        self._shown = self._partial = self._lost = 0
        self._dropped_before = sum(self.counts.values())
        self._late_before = self.counts["late"]
        self._feedback_at = self._stats_at = now

    # what the shell calls

    def receive_datagram(self, data: bytes, address: Hashable, now: float) -> None:
        """Any bytes from anybody; never raises."""
        try:
            packet = parse_packet(data)
        except VersionError as error:
            self._drop("version")
            self._notice(f"a sender speaks another protocol: {error}")
            self._answer(Hello(0, "receiver", f"lrae {VERSION}"), address, now)
            return
        except WireError:
            self._drop("malformed")
            return
        peer = address, packet.stream
        if isinstance(packet, Config):
            self._on_config(packet, peer, now)
        elif peer != self._peer:
            self._on_stranger(packet, peer, now)
        elif isinstance(packet, DataPacket):
            self._on_data(packet, now)
        elif isinstance(packet, Bye):
            self._on_bye(packet, now)
        elif isinstance(packet, Hello) and packet.role == "sender":
            self._heard = now
        else:
            self._drop("unexpected")
        self._release(now)

    def accept(self, stream: StreamStarted, now: float) -> None:
        """The shell is ready to decode this stream (nothing happens if it has ended meanwhile)."""
        if stream is self._stream and not self._accepted:
            self._accepted, self._heard = True, now
            self._feedback_at, self._stats_at = now, now + STATS_EVERY

    def refuse(self, stream: StreamStarted, code: ByeCode, reason: str, now: float) -> None:
        """The shell cannot take this stream (any more): the sender is told why."""
        if stream is self._stream:
            self._say_bye(code, reason)
            self._end(reason, False)

    def decoded(self, due: FrameDue, used: frozenset[int], now: float) -> None:
        """The payloads of a frame that took part in decoding it: in order, once for each FrameDue."""
        if due.stream is not self._stream:
            return
        if due.frame.number != self._fated + 1:
            self._fates.clear()
        self._fated = due.frame.number
        self._fates.appendleft(bitmap(used))
        self._shown += 1
        self._lost += not used
        self._partial += 0 < len(used) < due.frame.header.packets if due.frame.header else 0
        self._feedback_at = now
        self._undecided.popleft()
        self._overloaded = self._overloaded and len(self._undecided) > CAUGHT_UP
        self._release(now)

    def stop(self, reason: str, now: float) -> None:
        """The program leaves: tells the sender and ends the stream."""
        if self._stream is not None:
            self.refuse(self._stream, ByeCode.STOPPED, reason, now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Hashable]]:
        """(datagram, address), to be sent at once."""
        self._speak(now)
        out = list(self._out)
        self._out.clear()
        return out

    def get_timer(self) -> float | None:
        """When handle_timer wants to be called, None if never."""
        if self._stream is None:
            return None
        times = [self._heard + VANISHED]
        if self._accepted:
            due = self._buffer.due()
            times += [self._feedback_at, self._stats_at] + ([due] if due is not None else [])
        return min(times)

    def handle_timer(self, now: float) -> None:
        self._release(now)
        if self._stream is not None and now - self._heard >= VANISHED:
            self._end(f"the sender has been silent for {VANISHED:g} s", False)

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    @property
    def stats(self) -> Stats:
        """Counts of the present (or last) stream."""
        dropped = sum(self.counts.values()) - self._dropped_before
        late = self.counts["late"] - self._late_before
        stream = self._stream.config.stream if self._stream else 0
        return Stats(stream, self._shown, self._partial, self._lost, self._received, late, dropped)

    # what packets do

    @property
    def _peer(self) -> _Peer | None:
        return (self._stream.address, self._stream.config.stream) if self._stream else None

    def _on_config(self, packet: Config, peer: _Peer, now: float) -> None:
        address = peer[0]
        if peer == self._peer:
            self._heard = now
            self._hello_or_feedback(now)
        elif peer in self._past:
            self._send(self._past[peer], address)
        elif self._stream is not None and now - self._heard <= TAKEOVER:
            self._drop("busy")
            self._send(Bye(packet.stream, ByeCode.BUSY, "the receiver has another sender"), address)
        else:
            if self._stream is not None:
                self._end("another sender has taken over", False)
            self._start(StreamStarted(packet, address), now)
            self._events.append(self._stream)
            self._hello_or_feedback(now)

    def _on_stranger(self, packet: Packet, peer: _Peer, now: float) -> None:
        if peer in self._past:
            if isinstance(packet, Bye):
                self._send(Bye(packet.stream, ByeCode.END), peer[0])
            elif isinstance(packet, DataPacket):
                self._drop("after-end")
                self._answer(self._past[peer], peer[0], now)
        elif isinstance(packet, Hello) and packet.role == "sender":
            pass  # comes with a CONFIG, which is answered
        elif not isinstance(packet, DataPacket):
            self._drop("unexpected")
        elif self._stream is None:
            self._drop("unknown-stream")
            self._answer(Hello(packet.stream, "receiver", f"lrae {VERSION}"), peer[0], now)
        else:
            self._drop("other-stream")

    def _on_data(self, packet: DataPacket, now: float) -> None:
        self._heard = now
        if not self._accepted:
            self._drop("early")
            return
        if self._overloaded:
            self._drop("overload")
            return
        sequence = unwrap(packet.sequence, self._sequence)
        if self._received == 0 or sequence > self._sequence:
            self._sequence, self._arrival = sequence, now
        reason = self._buffer.add(packet, now)
        if reason != "duplicate":
            self._received += 1
        if reason is not None:
            self._drop(reason)

    def _on_bye(self, packet: Bye, now: float) -> None:
        self._heard = now
        if packet.code == ByeCode.END and self._accepted:
            self._buffer.finish(packet.next_frame, now)
            self._send(self.stats, self._stream.address)
            self._say_bye(ByeCode.END, "")
        else:
            self._say_bye(ByeCode.END, "")
            self._end(packet.reason or "the sender has left", packet.code == ByeCode.END)

    # what comes of it

    def _release(self, now: float) -> None:
        if self._stream is None or not self._accepted:
            return
        while frame := self._buffer.pop(now):
            self._undecided.append(now)
            self._events.append(FrameDue(frame, self._stream, now))
        behind = now - self._undecided[0] if self._undecided and self._stream.config.realtime else 0.0
        if len(self._undecided) >= MAX_UNDECIDED or behind > MAX_BEHIND:
            self._overloaded = True
            self._buffer.reset()
        if self._buffer.finished and not self._undecided:
            self._end("end of stream", True)

    def _end(self, reason: str, clean: bool) -> None:
        self._events.append(StreamEnded(self._stream, reason, clean, self.stats))
        self._stream = None

    def _speak(self, now: float) -> None:
        if self._stream is None or not self._accepted:
            return
        if now >= self._feedback_at:
            self._send(self._feedback(now), self._stream.address)
            self._feedback_at = now + (FEEDBACK_WAITING if self._buffer.wants_intra else FEEDBACK_IDLE)
        if now >= self._stats_at:
            self._send(self.stats, self._stream.address)
            self._stats_at = now + STATS_EVERY

    def _feedback(self, now: float) -> Feedback:
        return Feedback(
            self._stream.config.stream,
            self._buffer.wants_intra and not self._overloaded,
            wrap(self._sequence),
            wrap(self._received),
            wrap(round(self._arrival * 1e6)),
            min(round((now - self._arrival) * 1e6), (1 << 32) - 1),
            wrap(self._fated),
            tuple(self._fates),
        )

    def _hello_or_feedback(self, now: float) -> None:
        if self._accepted:
            self._feedback_at = now
        else:
            self._send(Hello(self._stream.config.stream, "receiver", f"lrae {VERSION}"), self._stream.address)

    def _say_bye(self, code: ByeCode, reason: str) -> None:
        """Says BYE, and again whenever the sender speaks of this stream after its end."""
        bye = self._past[self._peer] = Bye(self._stream.config.stream, code, reason)
        if len(self._past) > MAX_PAST:
            self._past.popitem(last=False)
        self._send(bye, self._stream.address)

    def _send(self, packet: Packet, address: Hashable) -> None:
        self._out.append((bytes(packet), address))

    def _answer(self, packet: Packet, address: Hashable, now: float) -> None:
        if now - self._answered >= ANSWER_EVERY:
            self._answered = now
            self._send(packet, address)

    def _drop(self, reason: str) -> None:
        self.counts[reason] += 1

    def _notice(self, text: str) -> None:
        if text not in self._noticed and len(self._noticed) < MAX_PAST:
            self._noticed.add(text)
            self._events.append(Notice(text))
