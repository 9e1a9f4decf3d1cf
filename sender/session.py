"""The sender's side of the protocol, sans IO: handshake, frames to paced datagrams, feedback to news."""

from __future__ import annotations

import os
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from lrae.codec.types import EncodedFrame
from lrae.codec.wire import (
    HANDSHAKE,
    NONCE,
    Alive,
    Bye,
    ByeCode,
    Config,
    Feedback,
    Hello,
    Packet,
    Stats,
    VersionError,
    intact,
    parse_packet,
    peek,
    seal_packet,
)
from lrae.codec.wire.control import PADDING
from lrae.codec.wire.feedback import WHOLE, indices
from lrae.codec.wire.keys import Keys
from lrae.codec.wire.serial import difference, unwrap16, wrap
from lrae.errors import WireError
from lrae.sender.events import Connected, Disconnected, Ended, Event, News, Notice, Refused
from lrae.sender.flow import Flow
from lrae.version import VERSION

CALL_FIRST, CALL_LAST, CALL_GROWTH = 0.1, 1.0, 1.3  # seconds between HELLOs while nobody answers
TOKEN_LASTS = 8.0  # seconds; then a CONFIG that nobody answers is given up for a new HELLO
DOUBT = 1.0  # seconds without a word from the receiver: ask whether it still knows us
SILENCE = 3.0  # seconds without a word: the stream stops and the receiver is called again
BUSY_PATIENCE = 3.0  # seconds to wait for a busy receiver, which may be waiting for a sender that has died
KEEP_ALIVE = 0.5
DRAIN, BYE_EVERY, BYE_FOR = 1.0, 0.1, 1.0
MAX_FLIGHT = 256  # frames
SETTLED = 64  # confirmed frames whose fate may still be bettered by late packets


class _State(Enum):
    CALLING = "calling"
    STREAMING = "streaming"
    DRAINING = "draining"
    LEAVING = "leaving"
    OVER = "over"


class SenderSession:
    """Feed datagrams and frames, drain datagrams, events and news, re-arm one timer.

    `now`: seconds of any monotonic clock. config.stream: the stream id; its nonces are filled in here. entropy(n): n
    random bytes. counts: dropped datagrams by reason. flow: what it sends, and what it knows of the path.
    """

    def __init__(
        self, config: Config, flow: Flow, keys: Keys, now: float, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        self.config = replace(config, owner=entropy(NONCE))
        self.counts: Counter[str] = Counter()
        self.flow = flow
        self.peer_stats: Stats | None = None
        self._keys, self._entropy = keys, entropy
        self._handshake = keys.handshake("sender")
        self._envelope = None
        self._events: deque[Event] = deque()
        self._out: deque[bytes] = deque(maxlen=64)  # handshake packets
        self._flight: OrderedDict[int, int] = OrderedDict()  # how many payloads an unconfirmed frame has
        self._settled: OrderedDict[int, tuple[int, int]] = OrderedDict()  # of a confirmed one, and which were used
        self._confirmed: list[tuple[int, frozenset[int]]] = []
        self._intra_wanted = False
        self._intra_at = self._connected_at = float("-inf")
        self._next_frame = 0
        self._bye = Bye(config.stream, ByeCode.END)
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

    def send_frame(self, encoded: EncodedFrame, capture: float, now: float) -> None:
        """Queues a frame's packets. capture: seconds on the same clock as `now`. Dropped unless connected."""
        if not self.connected:
            return
        self.flow.queue_frame(encoded, capture, now)
        self._flight[encoded.header.number] = encoded.header.packets
        if len(self._flight) > MAX_FLIGHT:
            self._flight.popitem(last=False)
        self._next_frame = wrap(encoded.header.number + 1)

    def take_news(self, now: float) -> News:
        """What the encoder should know before the next frame."""
        flow = self.flow
        news = News(
            tuple(self._confirmed),
            self._intra_wanted,
            flow.acks.loss,
            flow.target,
            flow.take_excess(),
            flow.queue_seconds,
        )
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
        if self._state is _State.CALLING:
            self._over(Ended(False))
        elif self._state is not _State.OVER:
            self._leave(ByeCode.STOPPED, reason, now)

    def receive_datagram(self, data: bytes, address: object, now: float) -> None:
        """Any bytes; never raises. address: not looked at, the socket has one peer."""
        try:
            kind, stream, _ = peek(data)
            envelope = self._handshake if kind in HANDSHAKE else self._envelope
            if self._state is _State.OVER or stream != self.config.stream:
                reason = "other-stream"
            elif envelope is None:
                reason = "unexpected"
            else:
                reason = self._on_packet(parse_packet(envelope.unseal(data)), now)
        except VersionError as error:
            reason = "version" if self._keys.secret or intact(data) else "malformed"
            if reason == "version" and not self.counts[reason] and not self._keys.secret:
                self._events.append(Notice(f"the receiver speaks another protocol: {error}"))
        except WireError as error:
            reason = error.reason
        if reason:
            self.counts[reason] += 1

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, None]]:
        """(datagram, None), to be sent to the receiver at once."""
        out = [(data, None) for data in self._out]
        self._out.clear()
        if self._state in (_State.STREAMING, _State.DRAINING):
            while data := self.flow.next_datagram(now):
                out.append((data, None))
        if out:
            self._spoke = now
        return out

    def get_timer(self) -> float | None:
        """When handle_timer wants to be called, None if never."""
        if self._state is _State.OVER:
            return None
        if self._state in (_State.CALLING, _State.LEAVING):
            return self._repeat_at
        doubt = max(self._heard + DOUBT, self._repeat_at)
        times = [self._heard + SILENCE, doubt]
        if self._state is _State.DRAINING:
            times.append(self._until)
        if not self.flow.queued:
            times.append(self._spoke + KEEP_ALIVE)
        due = self.flow.due()
        return min(times if due is None else [*times, due])

    def handle_timer(self, now: float) -> None:
        if self._state is _State.CALLING and now >= self._repeat_at:
            self._call_again(now)
        elif self._state is _State.LEAVING and now >= self._until:
            self._over(Ended(False))
        elif self._state is _State.LEAVING and now >= self._repeat_at:
            self._say(self._bye)
            self._repeat_at = now + BYE_EVERY
        elif self._state is _State.STREAMING and now - self._heard >= SILENCE:
            self._events.append(Disconnected(f"the receiver has been silent for {SILENCE:g} s"))
            self._call(now)
        elif self._state is _State.DRAINING:
            self._leave_if_drained(now)
        if self._state in (_State.STREAMING, _State.DRAINING):
            self.flow.handle_timer(now)
            if now - self._heard >= DOUBT and now >= self._repeat_at:
                self._ask(now)
            if not self.flow.queued and now - self._spoke >= KEEP_ALIVE:
                self.flow.queue_packet(Alive(self.config.stream))

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    # what packets do

    def _on_packet(self, packet: Packet, now: float) -> str | None:
        """Returns why the packet counts as dropped."""
        if isinstance(packet, Feedback):
            self._on_feedback(packet, now)
        elif isinstance(packet, Stats):
            self.peer_stats, self._heard = packet, now
        elif isinstance(packet, Bye):
            return self._on_bye(packet, now)
        elif isinstance(packet, Hello) and packet.role == "receiver":
            return self._on_hello(packet, now)
        else:
            return "unexpected"
        return None

    def _on_feedback(self, packet: Feedback, now: float) -> None:
        self._heard = now
        if self._state is _State.CALLING:
            self._state, self._connected_at = _State.STREAMING, now
            self._intra_wanted = True
            self._events.append(Connected())
        elif packet.intra_wanted and now - self._intra_at > 0.1 + 1.5 * (self.flow.acks.rtt or 0.3):
            self._intra_wanted = True
            self._flight.clear()  # whatever became of it does not matter any more
        newest = unwrap16(packet.newest, self._next_frame)
        for back in range(len(packet.used) - 1, -1, -1):
            self._confirm(wrap(newest - back), packet.used[back])
        if packet.used:
            oldest = wrap(newest - len(packet.used) + 1)
            while self._flight and difference(next(iter(self._flight)), oldest) < 0:
                self._flight.popitem(last=False)  # never to be heard of again
        self.flow.reported(packet, now)
        if self._state is _State.DRAINING:
            self._leave_if_drained(now)

    def _confirm(self, number: int, used: int) -> None:
        packets, known = self._settled.get(number, (0, 0))
        packets = self._flight.pop(number, packets)
        used = (1 << packets) - 1 if used == WHOLE else used
        if not packets or (number in self._settled and used & ~known == 0):
            return  # nothing new
        self._settled[number] = packets, used
        if len(self._settled) > SETTLED:
            self._settled.popitem(last=False)
        self._confirmed.append((number, indices(used)))

    def _on_bye(self, packet: Bye, now: float) -> str | None:
        if packet.token != self.config.token:
            return "replayed"
        self._heard = now
        if self._state is _State.LEAVING:
            self._over(Ended(True))
        elif packet.code == ByeCode.BUSY and now - self._called_since < BUSY_PATIENCE:
            return "busy"
        else:
            self._over(Refused(packet.reason or "it has ended the stream"))
        return None

    def _on_hello(self, packet: Hello, now: float) -> str | None:
        if self._state in (_State.LEAVING, _State.DRAINING):
            return None
        if not packet.nonce:  # it does not know us (any more)
            if self._state is _State.STREAMING and now >= self._repeat_at and now - self._connected_at > DOUBT:
                self._ask(now)
            return None
        if packet.nonce != self._nonce or not packet.token:
            return "replayed"
        if self._state is _State.STREAMING:
            self._events.append(Disconnected("the receiver has been restarted, or the path has changed"))
        self._reset(now)  # with another nonce: one answer is enough
        self.flow.deadline = packet.deadline * 1e-3 or self.flow.deadline
        self.config = replace(self.config, nonce=packet.nonce, token=packet.token)
        self._envelope = self._keys.session(packet.nonce, packet.token, self.config.stream, "sender")
        self.flow.restart(self._envelope)
        self._config_until = now + TOKEN_LASTS
        self._call_again(now)
        return None

    # states

    def _call(self, now: float) -> None:
        self._called_since = now
        self._reset(now)
        self._call_again(now)

    def _reset(self, now: float) -> None:
        """Nothing of the stream so far matters any more."""
        self._state = _State.CALLING
        self._nonce = self._entropy(NONCE)
        self._flight.clear()
        self._settled.clear()
        self._confirmed.clear()
        self.flow.restart(self._envelope)
        self._heard = self._spoke = now
        self._pause, self._config_until = CALL_FIRST, float("-inf")

    def _call_again(self, now: float) -> None:
        """CONFIG while there is a token for it, else HELLO."""
        if now < self._config_until:
            self._say(self.config)
        else:
            self._hello()
        self._repeat_at = now + self._pause
        self._pause = min(CALL_LAST, self._pause * CALL_GROWTH)

    def _ask(self, now: float) -> None:
        """HELLO while streaming: a receiver that has lost us answers with a token."""
        self._hello()
        self._repeat_at = now + CALL_LAST / 2

    def _hello(self) -> None:
        self._say(Hello(self.config.stream, "sender", f"lrae {VERSION}", self._nonce, padding=bytes(PADDING)))

    def _leave_if_drained(self, now: float) -> None:
        if now >= self._until or not (self._flight or self.flow.queued):
            self._leave(ByeCode.END, "", now)

    def _leave(self, code: ByeCode, reason: str, now: float) -> None:
        self._state = _State.LEAVING
        self._bye = Bye(self.config.stream, code, self.config.token, reason, self._next_frame)
        self._until, self._repeat_at = now + BYE_FOR, now + BYE_EVERY
        self._say(self._bye)

    def _over(self, event: Event) -> None:
        self._state = _State.OVER
        self._events.append(event)

    def _say(self, packet: Packet) -> None:
        data = seal_packet(packet, self._handshake)
        self.flow.sent["control", "packets"] += 1
        self.flow.sent["control", "bytes"] += len(data)
        self._out.append(data)

