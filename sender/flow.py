"""From a frame's payloads to paced, sealed datagrams with parity and retransmissions, and from reports to the rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from lrae.codec.fec import FecEncoder, Plan
from lrae.codec.types import EncodedFrame
from lrae.codec.wire import DataPacket, Envelope, Feedback, Kind, Packet
from lrae.codec.wire.data import capture_stamp, wait_stamp
from lrae.sender.acks import AckLog
from lrae.sender.congestion import FixedRate, RateController
from lrae.sender.pacer import Pacer
from lrae.sender.retransmit import Lost, Retransmitter

UDP_IP = 28  # bytes of IPv4 and UDP headers
LOSS_FIRST = 0.05  # assumed until measured
SMOOTH = 0.05  # per frame: how fast the share of media in what is sent is followed
LEAD_RISE = 1e-4  # seconds per frame: how fast the least delay before sending is forgotten
SILENCE_EVERY = 0.05  # seconds
FIRST_INTERVAL, MAX_INTERVAL = 1 / 30, 1.0  # seconds between frames: assumed at first; that count as such


class FecPolicy(Protocol):
    """Says how much parity a frame gets. share: of media, to reckon with before anything is known."""

    share: float

    def plan(self, sizes: Sequence[int], rtt: float | None, deadline: float, interval: float) -> Plan:
        """What to add to a frame of packets of so many bytes. rtt (None: not known), deadline, interval: seconds."""

    def observe(self, lost: Sequence[bool]) -> None:
        """The fate of the next datagrams, in the order of sending."""


class Flow:
    """One session's media.

    controller: says how much may leave; with FixedRate(0) everything does. policy: chooses parity, None: never any.
    retransmit: send lost packets again where they can still be in time. udp_ip: a fixed rate counts the headers of UDP
    and IP, as a measured one always does. deadline: seconds, the receiver's.
    sent: datagrams and bytes by kind, such as sent["data", "bytes"].
    """

    def __init__(
        self,
        stream: int,
        pacer: Pacer,
        controller: RateController,
        policy: FecPolicy | None,
        retransmit: bool,
        udp_ip: bool = False,
    ) -> None:
        self.sent: Counter[tuple[str, str]] = Counter()
        self.deadline = 0.15
        self.acks = AckLog(LOSS_FIRST)
        self._stream, self._pacer, self.controller, self._policy = stream, pacer, controller, policy
        self._header = UDP_IP if udp_ip or not isinstance(controller, FixedRate) else 0
        self._retransmitter = Retransmitter() if retransmit else None
        self._media = 1 / (1 + policy.share) if policy else 1.0  # share of DATA in the bits sent lately
        self._queued_bits = {"media": 0.0, "all": 0.0}  # since the frame before
        self._excess = 0.0
        self.restart(None)

    def restart(self, envelope: Envelope | None) -> None:
        """Another session begins: nothing that was queued or sent matters any more."""
        self._envelope = envelope
        loss, rtt = self.acks.loss, self.acks.rtt
        self.acks = AckLog(loss)
        self.acks.rtt = rtt
        self._pacer.clear()
        self._fec = FecEncoder()
        self._lead, self._interval = float("inf"), FIRST_INTERVAL
        self._capture: float | None = None
        self._silent_at = float("-inf")
        self.plan = Plan("none")

    @property
    def target(self) -> float:
        """Bit/s of DATA datagrams that the encoder may make, 0 if nothing limits it."""
        return self.controller.rate * self._media

    def take_excess(self) -> float:
        """Bits by which what is not media has exceeded, since the last call, what `target` had set aside for it (in
        bits of media: how much less of that there may be now)."""
        excess, self._excess = self._excess, 0.0
        return excess

    def total(self, unit: str) -> int:
        """"packets" or "bytes" of everything sent."""
        return sum(count for (_, u), count in self.sent.items() if u == unit)

    @property
    def queued(self) -> int:
        """Packets that wait in the pacer."""
        return len(self._pacer)

    @property
    def queue_seconds(self) -> float:
        return self._pacer.seconds

    def queue_frame(self, encoded: EncodedFrame, capture: float, now: float) -> None:
        """Queues a frame's packets and its parity. capture: seconds on the clock of `now`."""
        if self._capture is not None:
            self._interval = min(MAX_INTERVAL, max(1e-3, capture - self._capture))
        self._capture = capture
        self._lead = min(self._lead + LEAD_RISE, now - capture)
        rtt = self.acks.rtt
        datagrams = encoded.bundles or [(index,) for index in sorted(encoded.sent)]
        if self._policy:
            sizes = [sum(len(encoded.payloads[i]) for i in group) for group in datagrams]
            self.plan = self._policy.plan(sizes, rtt, self.deadline, self._interval)
        again = self._retransmitter.wait(rtt, self._interval, self.deadline) if self._retransmitter else 0.0
        parity_wait = self._interval * (self.plan.window - 1) if self.plan.parity else 0.0
        wait = wait_stamp(max(again, parity_wait))
        bodies = [packet.body() for packet in self._packets(encoded, datagrams, capture_stamp(capture), wait)]
        worths = encoded.worth or [1.0] * len(encoded.payloads)
        worth = [sum(worths[i] for i in group) for group in datagrams]
        leave = capture + self._lead + self.deadline
        for body, value in zip(bodies, worth, strict=True):
            self._push(Kind.DATA, body, Lost(body, leave, value) if again else None)
        for parity in self._fec.add(encoded.header.number, bodies, self.plan, worth):
            self._push(Kind.PARITY, parity.body())
        self._follow_share()

    def _packets(
        self, encoded: EncodedFrame, datagrams: Sequence[Sequence[int]], capture: int, wait: int
    ) -> list[DataPacket]:
        """The DATA packets of a frame, each with the payloads of one datagram."""
        header, cut = encoded.header, not encoded.bundles and max(encoded.sent) < encoded.header.packets - 1
        packets = []
        for number, group in enumerate(datagrams):
            payloads = tuple((index, encoded.payloads[index]) for index in group)
            last = cut and number == len(datagrams) - 1
            index = number if encoded.bundles else group[0]
            packets.append(DataPacket(self._stream, capture, header, index, payloads, wait, last))
        return packets

    def queue_packet(self, packet: Packet) -> None:
        """A control packet, before everything else."""
        self._push(packet.KIND, packet.body(), urgent=True, name="control")

    def next_datagram(self, now: float) -> bytes | None:
        """A datagram that may leave now."""
        item = self._pacer.pop(now)
        if item is None:
            return None
        kind, name, body, lost = item
        counter = self._envelope.counter
        data = self._envelope.seal(kind, self._stream, body)
        size = len(data) + self._header
        self.acks.sent(counter, size, lost, now)
        self.controller.on_sent(counter, size, now)
        self.sent[name, "packets"] += 1
        self.sent[name, "bytes"] += len(data)
        if kind is Kind.DATA and name == "data" and self._retransmitter:
            self._retransmitter.earn(8 * size)
        return data

    def reported(self, packet: Feedback, now: float) -> None:
        """What a report says of the path."""
        fates = self.acks.reported(packet, now)
        if not fates:
            return
        self._silent_at = now + SILENCE_EVERY
        self.controller.on_acks([fate.ack for fate in fates], self.acks.rtt, now)
        self._pacer.rate = self.controller.rate
        if self._policy:
            self._policy.observe([fate.ack.arrived is None for fate in fates])
        for fate in fates:
            if fate.ack.arrived is None and fate.what is not None:
                self._retransmitter.lost(fate.what)
        if self._retransmitter:
            for lost in self._retransmitter.take(now):
                self._push(Kind.DATA, lost.body, lost, urgent=True, name="retransmit")

    def due(self) -> float | None:
        """When next_datagram() or handle_timer() wants to be called, None if never."""
        due = self._pacer.due()
        if self.acks.in_flight and self._silent_at > float("-inf"):
            due = self._silent_at if due is None else min(due, self._silent_at)
        return due

    def handle_timer(self, now: float) -> None:
        """Tells the controller of silence."""
        if self.acks.in_flight and float("-inf") < self._silent_at <= now:
            self._silent_at = now + SILENCE_EVERY
            self.controller.on_silence(now)
            self._pacer.rate = self.controller.rate

    def _push(self, kind: Kind, body: bytes, lost: Lost | None = None, urgent: bool = False, name: str = "") -> None:
        size = len(body) + self._envelope.overhead + self._header
        self._pacer.push((kind, name or kind.name.lower(), body, lost), size, urgent)
        self._queued_bits["all"] += 8 * size
        self._queued_bits["media"] += 8 * (size - self._header) * (kind is Kind.DATA and not name)

    def _follow_share(self) -> None:
        """Once a frame: what share of the bits is media (parity, retransmissions and headers are the rest)."""
        queued = self._queued_bits
        self._excess += queued["all"] * self._media - queued["media"]
        self._media += SMOOTH * (queued["media"] / queued["all"] - self._media)
        queued["all"] = queued["media"] = 0.0
