"""What a rate controller is: how a session tells it what left and what arrived, and how it answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lrae.sender.link_estimate import LossJudge, ReceiveRate, WindowedMin

TARGET = 0.020  # seconds of queueing
PROBE = 0.5
DRAIN = 0.080  # seconds
RECEIVE_SECONDS = 0.066
BASE_SECONDS = 30.0
LATEST = 0.010
EMPTY = 0.006  # seconds of queueing that any link has
UNKNOWN_RTT = 0.1
MAX_ACCEPTED = 0.8

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
    """Follows what the link delivers, and steers its queue to a short delay. See docs/transport.md.

    Once per report: `capacity` is the receive rate of the last moments while a queue is there (the link is then
    the limit), and what it was, or more, while none is. The delay that a datagram sent now would meet is the larger
    of what the last one met, beyond the least delay of late, and of what the bytes in flight would take at that
    capacity, beyond the least round trip. Below the target delay the rate is up to 1 + PROBE times the capacity,
    above it less than it, so that the excess is gone in DRAIN seconds.
    """

    def __init__(self, start: float = 300e3, least: float = 50e3, most: float = 20e6) -> None:
        self._least, self._most = least, most
        self._capacity = start
        self._rate = start
        self._owd = WindowedMin(BASE_SECONDS)
        self._rtt = WindowedMin(BASE_SECONDS)
        self._received = ReceiveRate(RECEIVE_SECONDS)
        self._loss = LossJudge()
        self._sizes: dict[int, int] = {}  # of what is in flight
        self._in_flight = 0  # bytes
        self._queueing = 0.0  # seconds, that the latest arrivals met

    @property
    def rate(self) -> float:
        return self._rate

    def on_sent(self, counter: int, size: int, now: float) -> None:
        self._sizes[counter] = size
        self._in_flight += size

    def on_acks(self, acks: Sequence[Ack], rtt: float | None, now: float) -> None:
        latest = -math.inf
        delays = []
        for ack in acks:
            self._in_flight -= self._sizes.pop(ack.counter, 0)
            self._loss.add(ack.sent, ack.size, ack.arrived is None)
            if ack.arrived is not None:
                self._owd.add(ack.arrived, ack.arrived - ack.sent)
                self._received.add(ack.arrived, ack.size)
                delays.append((ack.arrived, ack.arrived - ack.sent))
                latest = max(latest, ack.arrived)
        if not delays:
            return
        if rtt is not None:
            self._rtt.add(now, rtt)
        self._queueing = min(delay for at, delay in delays if at > latest - LATEST) - self._owd.value
        self._loss.judge(self._queueing > self._target, now)
        received = self._received.value / (1 - min(self._loss.accepted, MAX_ACCEPTED))
        self._capacity = received if self._queueing > EMPTY else max(self._capacity, received)
        self._capacity = max(self._capacity, self._least)
        self._steer()

    def on_silence(self, now: float) -> None:
        self._steer()

    @property
    def _target(self) -> float:
        return TARGET

    def _steer(self) -> None:
        round_trip = self._rtt.value if self._rtt.value < math.inf else UNKNOWN_RTT
        target = self._target
        delay = max(self._queueing, 8 * self._in_flight / self._capacity - round_trip)
        if delay < target:
            gain = min(PROBE, PROBE * (1 - delay / target))
        else:
            gain = (target - delay) / DRAIN
        wanted = min(self._capacity * (1 + gain), self._loss.ceiling)
        self._rate = min(self._most, max(self._least, wanted))
