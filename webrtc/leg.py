"""One codec's way through the network, sans IO: sender and receiver sessions, joined by two links.

    send() ─► SenderSession ─► Link ─► ReceiverSession ─► FrameDue …
                    ▲                        │
                    └───────── Link ◄────────┘
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import replace

from lrae.channel.config import LinkConfig
from lrae.channel.link import Link
from lrae.codec.types import EncodedFrame, VideoFormat
from lrae.codec.wire import DATA_OVERHEAD, Config, DataPacket, Kind, PlainEnvelope, peek
from lrae.codec.wire.envelope import HEAD
from lrae.codec.wire.keys import NoKey
from lrae.receiver.events import Event, FrameDue, StreamStarted
from lrae.receiver.session import ReceiverSession
from lrae.sender.congestion import FixedRate
from lrae.sender.events import News
from lrae.sender.flow import UDP_IP, FecPolicy, Flow
from lrae.sender.main import QUEUE_SECONDS
from lrae.sender.pacer import Pacer
from lrae.sender.session import SenderSession
from lrae.webrtc.fec import SwitchedFec
from lrae.webrtc.situation import Situation
from lrae.webrtc.weather import Weather

STREAM = 1
KEPT = 256  # frames whose packets are remembered
ARRIVED, LOST, RECOVERED, IMPUTED = range(4)
MIN_DEADLINE, MAX_DEADLINE = 0.06, 0.15  # seconds
PACING = 2.5  # times the bitrate, as browsers pace: here nothing queues on the way, and spreading a frame more is delay
ANSWER = 0.012  # seconds that a report and what is sent again for it take beside the way
SENT = ("data", "parity", "retransmit", "control")


def deadline(situation: Situation, fps: float) -> float:
    """Seconds that a receiver waits for a frame after it could have been there: as long as a packet takes to be sent
    again (a round trip, a frame until its loss shows, one until it is told), within bounds that keep it live."""
    needed = 2e-3 * situation.delay_ms + 2 / fps + ANSWER
    return min(MAX_DEADLINE, max(MIN_DEADLINE, needed))


class Leg:
    """Feed encoded frames, drain events of the receiver. Times: seconds since the start; next_time() says when step()
    is due.

    model, model_hash: of CONFIG. up, down: the losses each way. policies: FEC by name. sequential: the decoder cannot
    go back.
    """

    def __init__(
        self,
        model: str,
        model_hash: str,
        video: VideoFormat,
        situation: Situation,
        policies: dict[str, FecPolicy | None],
        up: Weather,
        down: Weather,
        seed: int | str,
        sequential: bool = False,
    ) -> None:
        rng, self._fps = random.Random(f"{seed}:{model}"), float(video.fps)
        rate = situation.bitrate_kbps * 1000
        self._controller, self._fec = FixedRate(rate), SwitchedFec(policies, situation.fec)
        self._pacer = Pacer(rate, QUEUE_SECONDS, PACING)
        self.flow = Flow(STREAM, self._pacer, self._controller, self._fec, True, udp_ip=True)
        self._sender = SenderSession(Config(STREAM, video, model, model_hash), self.flow, NoKey(), 0.0, rng.randbytes)
        self._receiver = ReceiverSession(deadline(situation, self._fps), NoKey(), rng.randbytes)
        self._links = [
            Link(LinkConfig(loss=weather, delay_ms=situation.delay_ms), f"{seed}:{model}:{way}")
            for way, weather in (("up", up), ("down", down))
        ]
        self._sequential = sequential
        # frame: packet: whether it was lost when it was sent first, its payloads
        self._fates: OrderedDict[int, dict[int, tuple[bool, frozenset[int]]]] = OrderedDict()
        self._side_bytes = 0
        self.captures: OrderedDict[int, float] = OrderedDict()  # of frames sent
        self._numbers: OrderedDict[float, int] = OrderedDict()  # the same the other way round
        self._used: OrderedDict[int, tuple[frozenset[int], bool]] = OrderedDict()  # frame: payloads there, imputed
        self.streams = 0  # how often the sender had to call its receiver

    @property
    def connected(self) -> bool:
        """Frames are welcome."""
        return self._sender.connected

    def set(self, situation: Situation) -> None:
        """Another network, rate and FEC, at once."""
        for link in self._links:
            link.config = replace(link.config, delay_ms=situation.delay_ms)
        self._controller.rate = self._pacer.rate = situation.bitrate_kbps * 1000
        self._fec.name = situation.fec
        self._receiver.deadline = self.flow.deadline = deadline(situation, self._fps)

    def news(self, now: float) -> News:
        """What the encoder should know before the next frame."""
        return self._sender.take_news(now)

    def send(self, encoded: EncodedFrame, capture: float, now: float) -> None:
        """A frame has been encoded."""
        number = encoded.header.number
        self.captures[number], self._fates[number], self._numbers[capture] = capture, {}, number
        for kept in (self.captures, self._fates, self._numbers):
            if len(kept) > KEPT:
                kept.popitem(last=False)
        self._side_bytes += encoded.side_bytes
        self._sender.send_frame(encoded, capture, now)
        self._transmit(now)

    def decoded(self, due: FrameDue, used: frozenset[int], now: float, imputed: bool = False) -> None:
        """As ReceiverSession.decoded() says. imputed: what was missing has been painted."""
        self._receiver.decoded(due, used, now)
        self._used[due.frame.number] = frozenset(due.frame.payloads), imputed
        if len(self._used) > KEPT:
            self._used.popitem(last=False)

    def decoded_again(self, *args) -> None:
        """As ReceiverSession.decoded_again() says."""
        self._receiver.decoded_again(*args)

    def next_time(self) -> float:
        """When step() is due; inf: never."""
        times = [*(link.next_time() for link in self._links), self._sender.get_timer(), self._receiver.get_timer()]
        return min((time for time in times if time is not None), default=float("inf"))

    def step(self, now: float) -> Iterator[Event]:
        """What happens at `now`; to be called no later than next_time() says."""
        up, down = self._links
        for _, data in down.receive(now):
            self._sender.receive_datagram(data, None, now)
        for _, data in up.receive(now):
            self._receiver.receive_datagram(data, "sender", now)
        for session in (self._sender, self._receiver):
            timer = session.get_timer()
            if timer is not None and timer <= now:
                session.handle_timer(now)
        while event := self._receiver.next_event():
            if isinstance(event, StreamStarted):
                self.streams += 1
                self._receiver.accept(event, now, early=not self._sequential)
            yield event
        while self._sender.next_event():
            pass
        self._transmit(now)

    def _transmit(self, now: float) -> None:
        up, down = self._links
        for data, _ in self._sender.datagrams_to_send(now):
            before = up.counts.lost
            up.send(data, now)
            if peek(data)[0] is Kind.DATA:
                self._watch(data, up.counts.lost > before)
        for data, _ in self._receiver.datagrams_to_send(now):
            down.send(data, now)

    def _watch(self, data: bytes, lost: bool) -> None:
        """Remembers what the network does to a packet when it is sent first."""
        packet = DataPacket.parse_body(STREAM, memoryview(data)[HEAD.size : HEAD.size - PlainEnvelope.overhead])
        payloads = frozenset(index for index, _ in packet.payloads)
        self._fates.setdefault(packet.header.number, {}).setdefault(packet.index, (lost, payloads))

    # what it tells

    def packets(self, capture: float) -> list[int]:
        """What became of the packets of the frame captured then, in order: ARRIVED, LOST, RECOVERED (lost when they
        were sent first) or IMPUTED (lost, and the picture made without); empty if it was not sent."""
        number = self._numbers.get(capture)
        fates = [fate for _, fate in sorted(self._fates.get(number, {}).items())]
        if number not in self._used:
            return [LOST if lost else ARRIVED for lost, _ in fates]
        there, imputed = self._used[number]
        gone = IMPUTED if imputed else LOST
        return [(RECOVERED if lost else ARRIVED) if payloads <= there else gone for lost, payloads in fates]

    def sent_bytes(self) -> Counter[str]:
        """Bytes so far by kind: media, side, parity, retransmit, headers (of DATA, UDP and IP, and all that is said
        beside frames), and feedback, which is not part of the rate."""
        sent, back = self.flow.sent, self._receiver.sent
        packets = sum(sent[kind, "packets"] for kind in SENT)
        heads = DATA_OVERHEAD * sent["data", "packets"]
        return Counter(
            media=sent["data", "bytes"] - heads - self._side_bytes,
            side=self._side_bytes,
            parity=sent["parity", "bytes"],
            retransmit=sent["retransmit", "bytes"],
            headers=heads + UDP_IP * packets + sent["control", "bytes"],
            feedback=sum(back[kind, "bytes"] + UDP_IP * back[kind, "packets"] for kind in ("feedback", "control")),
        )
