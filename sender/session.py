"""The sender's side of the protocol, sans IO: handshake, frames to paced datagrams, feedback to news."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from enum import Enum

from lrae.codec.types import EncodedFrame
from lrae.codec.wire import (
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
from lrae.codec.wire.data import capture_stamp
from lrae.codec.wire.feedback import indices
from lrae.codec.wire.serial import difference, wrap
from lrae.errors import WireError
from lrae.sender.events import Connected, Disconnected, Ended, Event, News, Notice, Refused
from lrae.sender.pacer import Pacer
from lrae.version import VERSION

CALL_FIRST, CALL_LAST, CALL_GROWTH = 0.1, 1.0, 1.3  # seconds between HELLOs while nobody answers
SILENCE = 3.0  # seconds without a word from the receiver: call it again
BUSY_PATIENCE = 3.0  # seconds to wait for a busy receiver, which may be waiting for a sender that has died
KEEP_ALIVE = 0.5
DRAIN, BYE_EVERY, BYE_FOR = 1.0, 0.1, 1.0
RECALL_AFTER = 1.0  # seconds after connecting in which a late HELLO means nothing
MAX_SENT = 4096  # packets whose time of sending is remembered
MAX_FLIGHT = 256  # frames
LOSS_FIRST = 0.05  # assumed until measured
LOSS_WEIGHT = 0.02  # per packet: the estimate follows the last 50


class _State(Enum):
    CALLING = "calling"
    STREAMING = "streaming"
    DRAINING = "draining"
    LEAVING = "leaving"
    OVER = "over"


class SenderSession:
    """Feed datagrams and frames, drain datagrams, events and news, re-arm one timer.

    `now`: seconds of any monotonic clock. config.stream: the stream id. counts: dropped datagrams by reason.
    rtt: seconds, None until measured. loss: share of packets lost lately. first_sequence: any.
    """

    def __init__(self, config: Config, pacer: Pacer, now: float, first_sequence: int = 0) -> None:
        self.config = config
        self.counts: Counter[str] = Counter()
        self.rtt: float | None = None
        self.loss = LOSS_FIRST
        self.peer_stats: Stats | None = None
        self.packets_sent = self.bytes_sent = 0
        self._pacer = pacer
        self._sequence = first_sequence
        self._events: deque[Event] = deque()
        self._out: deque[bytes] = deque(maxlen=64)  # control packets
        self._sent: OrderedDict[int, float] = OrderedDict()
        self._flight: OrderedDict[int, None] = OrderedDict()  # numbers of unconfirmed frames
        self._confirmed: list[tuple[int, frozenset[int]]] = []
        self._intra_wanted = False
        self._intra_at = self._connected_at = float("-inf")
        self._loss_mark: tuple[int, int] | None = None  # (sequence, received) of the feedback before
        self._next_frame = 0
        self._bye = Bye(config.stream, ByeCode.END)
        self._ever_connected = False
        self._call(now)

    # what the shell calls

    @property
    def connected(self) -> bool:
        """Frames are welcome."""
        return self._state is _State.STREAMING

    @property
    def in_flight(self) -> int:
        """Frames sent and not confirmed: what a sender without a clock of its own holds back on."""
        return len(self._flight)

    @property
    def queued(self) -> int:
        """Datagrams that wait in the pacer."""
        return len(self._pacer)

    def send_frame(self, encoded: EncodedFrame, capture: float, now: float) -> None:
        """Queues a frame's packets. capture: seconds on the same clock as `now`. Dropped unless connected."""
        if not self.connected:
            return
        stamp = capture_stamp(capture)
        for index, payload in enumerate(encoded.payloads):
            packet = DataPacket(self.config.stream, self._sequence, stamp, encoded.header, index, payload)
            self._pacer.push(self._sequence, bytes(packet))
            self._sequence = wrap(self._sequence + 1)
        self._flight[encoded.header.number] = None
        if len(self._flight) > MAX_FLIGHT:
            self._flight.popitem(last=False)
        self._next_frame = wrap(encoded.header.number + 1)

    def take_news(self, now: float) -> News:
        """What the encoder should know before the next frame."""
        news = News(tuple(self._confirmed), self._intra_wanted, self.loss)
        self._confirmed.clear()
        if self._intra_wanted:
            self._intra_wanted, self._intra_at = False, now
        return news

    def finish(self, now: float) -> None:
        """No more frames: waits for the last confirmations, then says BYE."""
        if self._state is _State.STREAMING:
            self._state, self._until = _State.DRAINING, now + DRAIN
        elif self._state is _State.CALLING:
            self._over(Ended(False))

    def stop(self, reason: str, now: float) -> None:
        """The program leaves at once: BYE without waiting for confirmations."""
        self._pacer.clear()
        if self._state is _State.CALLING:
            self._over(Ended(False))
        elif self._state is not _State.OVER:
            self._leave(Bye(self.config.stream, ByeCode.STOPPED, reason, self._next_frame), now)

    def receive_datagram(self, data: bytes, address: object, now: float) -> None:
        """Any bytes; never raises. address: not looked at, the socket has one peer."""
        try:
            packet = parse_packet(data)
        except VersionError as error:
            self.counts["version"] += 1
            if self.counts["version"] == 1:
                self._events.append(Notice(f"the receiver speaks another protocol: {error}"))
            return
        except WireError:
            self.counts["malformed"] += 1
            return
        if packet.stream != self.config.stream or self._state is _State.OVER:
            self.counts["other-stream"] += 1
        elif isinstance(packet, Feedback):
            self._on_feedback(packet, now)
        elif isinstance(packet, Stats):
            self.peer_stats, self._heard = packet, now
        elif isinstance(packet, Bye):
            self._on_bye(packet, now)
        elif isinstance(packet, Hello) and packet.role == "receiver":
            self._on_hello(now)
        else:
            self.counts["unexpected"] += 1

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, None]]:
        """(datagram, None), to be sent to the receiver at once."""
        out = [(data, None) for data in self._out]
        self._out.clear()
        if self._state in (_State.STREAMING, _State.DRAINING):
            while packet := self._pacer.pop(now):
                sequence, datagram = packet
                out.append((datagram, None))
                self._sent[sequence] = now
                if len(self._sent) > MAX_SENT:
                    self._sent.popitem(last=False)
                self.packets_sent += 1
                self.bytes_sent += len(datagram)
        if out:
            self._spoke = now
        return out

    def get_timer(self) -> float | None:
        """When handle_timer wants to be called, None if never."""
        if self._state is _State.OVER:
            return None
        if self._state in (_State.CALLING, _State.LEAVING):
            return self._repeat_at
        times = [self._heard + SILENCE, self._spoke + KEEP_ALIVE]
        if self._state is _State.DRAINING:
            times.append(self._until)
        due = self._pacer.due()
        return min(times if due is None else [*times, due])

    def handle_timer(self, now: float) -> None:
        if self._state is _State.CALLING and now >= self._repeat_at:
            self._say_config(now)
        elif self._state is _State.LEAVING and now >= self._until:
            self._over(Ended(False))
        elif self._state is _State.LEAVING and now >= self._repeat_at:
            self._out.append(bytes(self._bye))
            self._repeat_at = now + BYE_EVERY
        elif self._state is _State.STREAMING and now - self._heard >= SILENCE:
            self._events.append(Disconnected(f"the receiver has been silent for {SILENCE:g} s"))
            self._call(now)
        elif self._state is _State.DRAINING:
            self._leave_if_drained(now)
        if self._state in (_State.STREAMING, _State.DRAINING) and now - self._spoke >= KEEP_ALIVE:
            self._out.append(bytes(Hello(self.config.stream, "sender", f"lrae {VERSION}")))

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    # what packets do

    def _on_feedback(self, packet: Feedback, now: float) -> None:
        self._heard = now
        if self._state is _State.CALLING:
            self._state, self._connected_at = _State.STREAMING, now
            self._ever_connected = self._intra_wanted = True
            self._events.append(Connected())
        elif packet.intra_wanted and now - self._intra_at > 0.1 + 1.5 * (self.rtt or 0.3):
            self._intra_wanted = True
            self._flight.clear()  # whatever became of it does not matter any more
        for number, used in packet.frames():
            if number in self._flight:
                del self._flight[number]
                self._confirmed.append((number, indices(used)))
        if packet.used:
            oldest = wrap(packet.newest - len(packet.used) + 1)
            while self._flight and difference(next(iter(self._flight)), oldest) < 0:
                self._flight.popitem(last=False)  # never to be heard of again
        if packet.received:
            self._measure(packet, now)
        if self._state is _State.DRAINING:
            self._leave_if_drained(now)

    def _measure(self, packet: Feedback, now: float) -> None:
        sent = self._sent.get(packet.sequence)
        if sent is not None:
            sample = max(0.0, now - sent - packet.hold * 1e-6)
            self.rtt = sample if self.rtt is None else self.rtt + (sample - self.rtt) / 8  # RFC 6298
        before, self._loss_mark = self._loss_mark, (packet.sequence, packet.received)
        if before is None:
            return
        expected = difference(packet.sequence, before[0])
        arrived = difference(packet.received, before[1])
        if expected <= 0:
            self._loss_mark = before
        elif expected < MAX_SENT:
            share = min(1.0, max(0.0, 1 - arrived / expected))
            self.loss += (1 - (1 - LOSS_WEIGHT) ** expected) * (share - self.loss)

    def _on_bye(self, packet: Bye, now: float) -> None:
        self._heard = now
        if self._state is _State.LEAVING:
            self._over(Ended(True))
        elif packet.code == ByeCode.BUSY and now - self._called_since < BUSY_PATIENCE:
            self.counts["busy"] += 1
        else:
            self._over(Refused(packet.reason or "it has ended the stream"))

    def _on_hello(self, now: float) -> None:
        self._heard = now
        if self._state is _State.STREAMING and now - self._connected_at > RECALL_AFTER:
            self._events.append(Disconnected("the receiver has been restarted"))
            self._call(now)

    # states

    def _call(self, now: float) -> None:
        self._state = _State.CALLING
        self._pacer.clear()
        self._flight.clear()
        self._confirmed.clear()
        self._loss_mark = None
        self._heard = self._spoke = self._called_since = now
        self._pause = CALL_FIRST
        self._say_config(now)

    def _say_config(self, now: float) -> None:
        self._say(Hello(self.config.stream, "sender", f"lrae {VERSION}"))
        self._say(self.config)
        self._repeat_at = now + self._pause
        self._pause = min(CALL_LAST, self._pause * CALL_GROWTH)

    def _leave_if_drained(self, now: float) -> None:
        if now >= self._until or not (self._flight or self._pacer):
            self._leave(Bye(self.config.stream, ByeCode.END, "", self._next_frame), now)

    def _leave(self, bye: Bye, now: float) -> None:
        self._state, self._bye = _State.LEAVING, bye
        self._until, self._repeat_at = now + BYE_FOR, now + BYE_EVERY
        self._say(bye)

    def _over(self, event: Event) -> None:
        self._state = _State.OVER
        self._events.append(event)

    def _say(self, packet: Packet) -> None:
        self._out.append(bytes(packet))
