"""What a rate controller is: how a session tells it what left and what arrived, and how it answers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lrae.sender.link_estimate import LossJudge, ReceiveRate, WindowedMin

# chosen on recorded LTE links and steady ones, at round trips of 10 to 300 ms: docs/transport.md
TARGET = 0.024  # seconds of queueing to steer to, at TARGET_RATE
TARGET_RATE = 4e6  # bit/s
TARGET_SLOPE = 0.003  # seconds less for each doubling of the rate, so that the larger of two flows yields
TARGET_LEAST, TARGET_MOST = 0.010, 0.050
PROBE = 0.6  # how much faster than the link delivered, while no queue is there
DRAIN = 0.060  # seconds, and a round trip, in which an excess of queueing is to be gone
EMPTY = 0.006  # seconds of queueing that need not be a queue
LONG, SHORT = 0.100, 0.033  # seconds over which arrivals are counted
LOW, LONGER = 1.5e6, 0.250  # at fewer bit/s LONG holds few datagrams and says little: so many seconds instead
LATEST = 0.010  # seconds of arrivals that say how long the queue is
BASE_SECONDS = 30.0  # a least delay older than this is forgotten: clocks skew, routes change
PROVEN_SECONDS = 10.0  # what was delivered longer ago says nothing
PROVEN = 1.5  # times what was delivered may be assumed
STUCK_SECONDS = 0.25  # and a round trip: a queue that stays the same for so long while the rate is halved is none
STUCK_SAME = 0.010  # seconds, or this part of it where that is more:
STUCK_SHARE = 0.1  # the same
LONGER_ROUTE = 0.5  # seconds: no route grows by more
SLACK = 0.1  # seconds by which a queue may seem longer than the whole round trip
MAX_ACCEPTED = 0.8  # loss beyond this is not made up for
MAX_IN_FLIGHT = 1 << 14  # datagrams
FIRST_RTT, FIRST_INTERVAL = 0.1, 0.033  # seconds, before any is known
MAX_INTERVAL = 0.2


@dataclass(frozen=True, slots=True)
class Ack:
    """The fate of one datagram, told once.

    counter: its number, without wraparound. sent: seconds, the sender's clock. size: bytes that it took on the
    link, UDP and IP headers included. arrived: seconds, the receiver's clock (another zero, and it may run at
    another speed), None if it is lost.
    """

    counter: int
    sent: float
    size: int
    arrived: float | None


class RateController(Protocol):
    """Says how much may leave; sans-IO, `now` in seconds of the sender's clock."""

    def on_sent(self, counter: int, size: int, now: float) -> None:
        """A datagram of `size` bytes has left."""

    def on_acks(self, acks: Sequence[Ack], rtt: float | None, now: float) -> None:
        """News from the receiver, about once a frame. acks: in order of counter, each counter once.

        rtt: seconds of the latest round trip without the time that the receiver held it, None if unknown.
        """

    def on_silence(self, now: float) -> None:
        """Called about every 50 ms while datagrams are in flight and no news comes."""

    @property
    def rate(self) -> float:
        """Bit/s that may leave, all datagrams and headers counted."""


class FixedRate:
    """A rate that heeds nothing: for links whose capacity is known."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def on_sent(self, counter: int, size: int, now: float) -> None:
        """Nothing to learn."""

    def on_acks(self, acks: Sequence[Ack], rtt: float | None, now: float) -> None:
        """Nothing to learn."""

    def on_silence(self, now: float) -> None:
        """Nothing to learn."""


class AdaptiveRate:
    """Follows what the link delivers and steers its queue to a short, fixed delay (docs/transport.md).

    At each report:

    - `capacity` is what arrived per second over the last moments while a queue is there (then the link is the
      limit), and never less than it was while none is (then the sender is).
    - `delay` is the queueing that a datagram would meet which left now: the larger of what the latest arrival
      met, beyond the least one-way delay of late, and of what the bytes in flight take at this capacity, beyond
      the least round trip. The second needs no news to grow: an outage shows while it lasts.
    - the rate is capacity * (1 + gain); gain is PROBE with no queue, 0 at the target delay, and beyond it so far
      below 0 that the excess is gone in DRAIN seconds and a round trip.

    Loss alone lowers the rate only where that makes it go away (LossJudge). Neither clock offset nor skew
    matters, as only delays against the least of the last BASE_SECONDS count.
    """

    def __init__(self, start: float = 300e3, least: float = 50e3, most: float = 20e6) -> None:
        self._least, self._most = least, most
        self._capacity = self._rate = start
        self._one_way = WindowedMin(BASE_SECONDS)
        self._round_trip = WindowedMin(BASE_SECONDS)
        self._longer, self._long, self._short = ReceiveRate(LONGER), ReceiveRate(LONG), ReceiveRate(SHORT)
        self._proven = WindowedMin(PROVEN_SECONDS)  # of minus what was delivered
        self._loss = LossJudge()
        self._flying: deque[tuple[int, int]] = deque()  # (counter, bytes)
        self._in_flight = 0  # bytes
        self._queueing = 0.0  # seconds
        self._interval = FIRST_INTERVAL  # seconds between reports, smooth
        self._heard: float | None = None  # when the last report came
        self._stuck: tuple[float, float, float] | None = None  # since when, queueing then, most capacity since

    @property
    def rate(self) -> float:
        return self._rate

    @property
    def queueing(self) -> float:
        """Seconds that the latest arrival spent in queues."""
        return self._queueing

    def on_sent(self, counter: int, size: int, now: float) -> None:
        if self._flying and counter <= self._flying[-1][0]:  # another session counts from its own beginning
            self._flying.clear()
            self._in_flight = 0
        self._flying.append((counter, size))
        self._in_flight += size
        if len(self._flying) > MAX_IN_FLIGHT:
            self._in_flight -= self._flying.popleft()[1]

    def on_acks(self, acks: Sequence[Ack], rtt: float | None, now: float) -> None:
        arrived = self._take(acks, now)
        if not arrived:
            return
        if rtt is not None:
            self._round_trip.add(now, rtt)
        if self._heard is None:
            self._proven.add(now, -self._capacity)
        else:
            self._interval += 0.1 * (min(now - self._heard, MAX_INTERVAL) - self._interval)
        self._heard = now
        self._measure_queue(arrived, now)
        self._loss.judge(self._queueing > self._target, now)
        self._measure_capacity(now)
        self._doubt(now)
        self._steer(now)

    def on_silence(self, now: float) -> None:
        self._steer(now)

    def _take(self, acks: Sequence[Ack], now: float) -> list[tuple[float, float]]:
        """(arrival, one-way delay), on unsynchronised clocks, of what arrived."""
        arrived = []
        for ack in acks:
            self._loss.add(ack.sent, ack.size, ack.arrived is None)
            if ack.arrived is not None:
                for received in (self._longer, self._long, self._short):
                    received.add(ack.arrived, ack.size)
                self._one_way.add(now, ack.arrived - ack.sent)
                arrived.append((ack.arrived, ack.arrived - ack.sent))
        while acks and self._flying and self._flying[0][0] <= acks[-1].counter:
            self._in_flight -= self._flying.popleft()[1]
        return arrived

    def _measure_queue(self, arrived: list[tuple[float, float]], now: float) -> None:
        latest, delay = max(arrived)
        self._queueing = min(delay for at, delay in arrived if at > latest - LATEST) - self._one_way.value
        if self._queueing > now - (latest - delay) + SLACK:  # the receiver's clock was set
            self._forget_base()

    def _measure_capacity(self, now: float) -> None:
        delivered = (self._longer if self._capacity < LOW else self._long).value
        if self._queueing > self._target:
            delivered = min(delivered, self._short.value)
        delivered /= 1 - min(self._loss.accepted, MAX_ACCEPTED)
        self._proven.add(now, -delivered)
        if self._queueing < EMPTY:
            delivered = max(delivered, min(self._capacity, -PROVEN * self._proven.value))
        self._capacity = max(self._least, delivered)

    @property
    def _target(self) -> float:
        target = TARGET - TARGET_SLOPE * math.log2(self._capacity / TARGET_RATE)
        return min(TARGET_MOST, max(TARGET_LEAST, target))

    def _steer(self, now: float) -> None:
        round_trip = self._round_trip.value if self._round_trip.value < math.inf else FIRST_RTT
        silent = 0.0 if self._heard is None else min(self._interval, now - self._heard)
        delay = max(self._queueing, 8 * self._in_flight / self._capacity - round_trip - silent)
        target = self._target
        if delay < target:
            gain = PROBE * min(1.0, 1 - delay / target)
        else:
            gain = (target - delay) / (DRAIN + round_trip)
        wanted = min(self._capacity * (1 + gain), self._loss.ceiling)
        self._rate = min(self._most, max(self._least, wanted))

    def _doubt(self, now: float) -> None:
        """A longer route looks like a queue, but neither drains nor grows whatever the rate: a new base."""
        if not self._target < self._queueing < LONGER_ROUTE:
            self._stuck = None
            return
        since, queueing, most = self._stuck or (now, self._queueing, 0.0)
        if abs(self._queueing - queueing) > max(STUCK_SAME, STUCK_SHARE * queueing):
            since, queueing, most = now, self._queueing, 0.0
        most = max(most, self._capacity)
        self._stuck = since, queueing, most
        if now - since > STUCK_SECONDS + self._round_trip.value and self._capacity < most / 2:
            self._forget_base()
            self._stuck = None

    def _forget_base(self) -> None:
        self._one_way, self._round_trip = WindowedMin(BASE_SECONDS), WindowedMin(BASE_SECONDS)
        self._queueing = 0.0
