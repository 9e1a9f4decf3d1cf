"""The receiver's side of the protocol, sans IO: who may speak, one stream at a time, what is said back."""

from __future__ import annotations

import os
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable

from lrae.codec.fec import Parity
from lrae.codec.wire import (
    HANDSHAKE,
    Alive,
    Bye,
    ByeCode,
    Config,
    DataPacket,
    Envelope,
    Hello,
    Kind,
    Packet,
    Stats,
    VersionError,
    intact,
    parse_packet,
    peek,
    seal_packet,
)
from lrae.codec.wire.keys import Keys
from lrae.codec.wire.tokens import Tokens
from lrae.errors import WireError
from lrae.receiver.events import Event, FrameDue, FramesMended, Notice, StreamEnded, StreamStarted
from lrae.receiver.reception import Reception
from lrae.version import VERSION

TAKEOVER = 1.0  # seconds of silence after which another sender may take over
VANISHED = 5.0  # seconds of silence that end a stream
STATS_EVERY = 1.0
ANSWER_EVERY = 0.1  # seconds between answers to packets of streams that we do not have
MAX_PAST = 32  # streams whose end is remembered
MAX_NOTICES = 32
MAX_OUT = 256  # datagrams that wait to be sent


class ReceiverSession:
    """Feed datagrams, drain events and datagrams, re-arm one timer. `now`: seconds of any monotonic clock.

    deadline: seconds, as in JitterBuffer. entropy(n): n random bytes. counts: how many datagrams were dropped, by
    reason. received: "packets" and "bytes" of all streams. sent: the same by kind, feedback or control.
    """

    def __init__(self, deadline: float, keys: Keys, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self.counts: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.sent: Counter[tuple[str, str]] = Counter()
        self._deadline, self._keys = deadline, keys
        self._handshake = keys.handshake("receiver")
        self._tokens = Tokens(entropy)
        self._events: deque[Event] = deque()
        self._out: deque[tuple[bytes, Hashable]] = deque(maxlen=MAX_OUT)
        self._past: OrderedDict[tuple[Hashable, int], Bye] = OrderedDict()  # by address and stream id
        self._noticed: set[str] = set()
        self._answered = float("-inf")
        self._stream: StreamStarted | None = None
        self._envelope: Envelope | None = None
        self._address: Hashable = None
        self._counter = -1  # the newest of the session
        self._stats = Stats(0, 0, 0, 0, 0, 0, 0)
        self._media: Reception | None = None  # once the shell has accepted the stream

    # what the shell calls

    def receive_datagram(self, data: bytes, address: Hashable, now: float) -> None:
        """Any bytes from anybody; never raises."""
        try:
            kind, stream, _ = peek(data)
            if kind in HANDSHAKE:
                packet = parse_packet(self._handshake.unseal(data))
                reason = self._on_handshake(packet, len(data), address, now)
            elif not self._speaks(stream, address):
                reason = self._on_stranger(kind, stream, data, address, now)
            else:
                reason = self._on_session(data, address, now)
        except VersionError as error:
            reason = "version" if self._keys.secret or intact(data) else "malformed"
            if reason == "version" and not self._keys.secret:
                self._notice(f"a sender speaks another protocol: {error}")
                self._answer(Hello(0, "receiver", f"lrae {VERSION}"), len(data), address, now)
        except WireError as error:
            reason = error.reason
        if reason:
            self.counts[reason] += 1
        self._release(now)

    def accept(self, stream: StreamStarted, now: float, early: bool = True) -> None:
        """The shell is ready to decode this stream (nothing happens if it has ended by then). early: see Reception."""
        if stream is self._stream and self._media is None:
            self._media = Reception(stream.config, self._deadline, self.counts, now, early)
            self._heard, self._stats_at = now, now + STATS_EVERY

    def refuse(self, stream: StreamStarted, code: ByeCode, reason: str, now: float) -> None:
        """The shell cannot take this stream (any more): the sender is told why."""
        if stream is self._stream:
            self._say_bye(code, reason)
            self._end(reason, False)

    def decoded(self, due: FrameDue, used: frozenset[int], now: float) -> None:
        """The payloads of a frame that took part in decoding it: in order, once for each FrameDue."""
        if due.stream is self._stream:
            self._media.decoded(due.frame, used, now)
            self._release(now)

    def decoded_again(self, mended: FramesMended, used: dict[int, frozenset[int]], now: float) -> None:
        """Frames have been decoded once more. used: of each, by number."""
        if mended.stream is self._stream:
            for number, payloads in used.items():
                self._media.decoded_again(number, payloads, now)

    def stop(self, reason: str, now: float) -> None:
        """The program leaves: tells the sender and ends the stream."""
        if self._stream is not None:
            self.refuse(self._stream, ByeCode.STOPPED, reason, now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Hashable]]:
        """(datagram, address), to be sent at once."""
        self._speak(now)
        out = list(self._out)
        self._out.clear()
        for data, _ in out:
            kind = "feedback" if peek(data)[0] is Kind.FEEDBACK else "control"
            self.sent[kind, "packets"] += 1
            self.sent[kind, "bytes"] += len(data)
        return out

    def get_timer(self) -> float | None:
        """When handle_timer wants to be called, None if never."""
        if self._stream is None:
            return None
        vanished = self._heard + VANISHED
        return vanished if self._media is None else min(vanished, self._stats_at, self._media.due())

    def handle_timer(self, now: float) -> None:
        self._release(now)
        if self._stream is not None and now - self._heard >= VANISHED:
            self._end(f"the sender has been silent for {VANISHED:g} s", False)

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    @property
    def deadline(self) -> float:
        """Seconds, as in JitterBuffer; may be set at any time (a sender learns of it with its next stream)."""
        return self._deadline

    @deadline.setter
    def deadline(self, seconds: float) -> None:
        self._deadline = seconds
        if self._media is not None:
            self._media.set_deadline(seconds)

    @property
    def streaming(self) -> bool:
        """A stream has been accepted and has not ended."""
        return self._media is not None

    @property
    def stats(self) -> Stats:
        """Counts of the present (or last) stream."""
        return self._stats if self._media is None else self._media.stats

    # who speaks

    def _speaks(self, stream: int, address: Hashable) -> bool:
        """A datagram may belong to the stream. With a key the envelope decides, wherever it comes from."""
        ours = self._stream is not None and stream == self._stream.config.stream
        return ours and (self._keys.secret or address == self._address)

    def _on_handshake(self, packet: Packet, size: int, address: Hashable, now: float) -> str | None:
        """Returns why the packet counts as dropped."""
        if isinstance(packet, Config):
            return self._on_config(packet, size, address, now)
        if isinstance(packet, Bye):
            return self._on_bye(packet, size, address, now)
        if packet.role != "sender":
            return "unexpected"
        if self._media is not None and (address, packet.stream) == (self._address, self._stream.config.stream):
            self._media.report_soon(now)  # which says that we know each other: nobody need begin again
            return None
        token = self._tokens.issue(address, packet.stream, packet.nonce, now)
        deadline = min(60_000, round(self._deadline * 1e3))
        answer = Hello(packet.stream, "receiver", f"lrae {VERSION}", packet.nonce, token, deadline)
        return self._send(answer, address, size)

    def _on_config(self, config: Config, size: int, address: Hashable, now: float) -> str | None:
        if self._stream is not None and config.token == self._stream.config.token:
            if self._media is None:
                self._heard = now
            else:  # does not count as heard: a replayed one must not keep a dead stream alive
                self._media.report_soon(now)
            return None
        if bye := self._said(config.token):
            return self._send(bye, address, size)
        if not self._tokens.check(address, config.stream, config.nonce, config.token, now):
            return "token"
        if self._stream is not None:
            again = config.owner == self._stream.config.owner
            if not again and now - self._heard <= TAKEOVER:
                reason = "the receiver has another sender"
                self._send(Bye(config.stream, ByeCode.BUSY, config.token, reason), address, size)
                return "busy"
            self._end("the sender has called again" if again else "another sender has taken over", False)
        self._tokens.use(config.token)
        self._past.pop((address, config.stream), None)
        self._stream, self._heard = StreamStarted(config, address), now
        self._address, self._counter = address, -1
        self._envelope = self._keys.session(config.nonce, config.token, config.stream, "receiver")
        self._events.append(self._stream)
        return None

    def _on_bye(self, packet: Bye, size: int, address: Hashable, now: float) -> str | None:
        if self._said(packet.token):
            return self._send(Bye(packet.stream, ByeCode.END, packet.token), address, size)
        if self._stream is None or packet.token != self._stream.config.token:
            return "unexpected"
        self._heard = now
        if packet.code == ByeCode.END and self._media is not None:
            self._media.finish(packet.next_frame, now)
            self._say(self._media.stats)
            self._say_bye(ByeCode.END, "")
        else:
            self._say_bye(ByeCode.END, "")
            self._end(packet.reason or "the sender has left", packet.code == ByeCode.END)
        return None

    def _on_stranger(self, kind: Kind, stream: int, data: bytes, address: Hashable, now: float) -> str:
        """A datagram of no stream that we have. Without the key, nobody gets an answer that he has not had before."""
        if bye := self._past.get((address, stream)):
            self._answer(bye, len(data), address, now)
            return "after-end"
        if self._keys.secret:
            return "unknown-stream"
        self._keys.session(b"", b"", stream, "receiver").unseal(data)  # raises WireError where it is damaged
        if kind in (Kind.DATA, Kind.ALIVE, Kind.PARITY):
            self._answer(Hello(stream, "receiver", f"lrae {VERSION}"), len(data), address, now)
        known = self._stream is not None
        return "other-stream" if known else "unknown-stream"

    def _on_session(self, data: bytes, address: Hashable, now: float) -> str | None:
        opened = self._envelope.unseal(data)
        packet = parse_packet(opened)
        self._heard = now
        self.received["packets"] += 1
        self.received["bytes"] += len(data)
        newest = opened.counter > self._counter
        self._counter = max(self._counter, opened.counter)
        if newest and address != self._address:  # older ones do not say where the sender is now (RFC 9000, 9.3)
            self._notice("the sender's address has changed")
            self._address = address
        if self._media is None:
            return "early"
        self._media.arrived(opened.counter, now)
        if isinstance(packet, DataPacket):
            self._media.on_data(packet, bytes(opened.body), opened.counter, now)
        elif isinstance(packet, Parity):
            self._media.on_parity(packet, now)
        elif not isinstance(packet, Alive):
            return "unexpected"
        return None

    # what comes of it

    def _release(self, now: float) -> None:
        if self._media is None:
            return
        while frame := self._media.pop(now):
            self._events.append(FrameDue(frame, self._stream, now))
        if mended := self._media.mend(now):
            self._events.append(FramesMended(mended, self._stream))
        self._media.watch_load(now)
        if self._media.finished:
            self._end("end of stream", True)

    def _end(self, reason: str, clean: bool) -> None:
        self._stats = self.stats
        self._events.append(StreamEnded(self._stream, reason, clean, self._stats))
        self._stream = self._media = self._envelope = None

    def _speak(self, now: float) -> None:
        if self._media is None:
            return
        if report := self._media.feedback(now):
            self._say(report)
        if now >= self._stats_at:
            self._say(self._media.stats)
            self._stats_at = now + STATS_EVERY

    def _say(self, packet: Packet) -> None:
        """To the sender of the stream."""
        self._out.append((seal_packet(packet, self._envelope), self._address))

    def _say_bye(self, code: ByeCode, reason: str) -> None:
        """Says BYE, and again whenever the sender speaks of this stream after its end."""
        config = self._stream.config
        bye = self._past[self._address, config.stream] = Bye(config.stream, code, config.token, reason)
        if len(self._past) > MAX_PAST:
            self._past.popitem(last=False)
        self._out.append((seal_packet(bye, self._handshake), self._address))

    def _said(self, token: bytes) -> Bye | None:
        """The BYE of a session that is over."""
        return next((bye for bye in self._past.values() if bye.token == token), None)

    def _send(self, packet: Packet, address: Hashable, cause: int) -> str | None:
        """Answers a handshake packet of `cause` bytes from anywhere, never by more (RFC 9000, section 8)."""
        data = seal_packet(packet, self._handshake)
        if len(data) > cause:
            return "amplification"
        self._out.append((data, address))
        return None

    def _answer(self, packet: Packet, cause: int, address: Hashable, now: float) -> None:
        if now - self._answered >= ANSWER_EVERY:
            self._answered = now
            self._send(packet, address, cause)

    def _notice(self, text: str) -> None:
        if text not in self._noticed and len(self._noticed) < MAX_NOTICES:
            self._noticed.add(text)
            self._events.append(Notice(text))
