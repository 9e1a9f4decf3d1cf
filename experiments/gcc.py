"""Google Congestion Control as its draft and libwebrtc have it, to measure the adaptive rate against.

Sources: draft-ietf-rmcat-gcc-02; Carlucci et al., "Congestion Control for Web Real-Time Communication" (ToN 2017);
the constants of the trendline filter are libwebrtc's. Left out: probe clusters (before the first over-use the rate
grows by half per response time instead) and ALR.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from lrae.sender.congestion import Ack
from lrae.sender.link_estimate import ReceiveRate

BURST = 0.005  # seconds: datagrams that left within this are one group
GROUPS, SMOOTHING, GAIN, MOST_DELTAS = 20, 0.9, 4.0, 60  # libwebrtc's trendline_estimator.cc
THRESHOLD, LEAST_THRESHOLD, MOST_THRESHOLD = 12.5, 6.0, 600.0  # ms
RISE, FALL = 0.0087, 0.039  # of the threshold, per ms (section 5.4)
OVERUSE_SECONDS = 0.010
BETA = 0.85
ETA = 1.08  # a second
RECEIVE_SECONDS = 0.5
CAP = 1.5  # times what arrived
LOW, HIGH = 0.02, 0.10  # loss
LOSS_SECONDS = 1.0
PACKET_BITS = 8 * 1200


class Gcc:
    """Rate = min(delay-based, loss-based)."""

    def __init__(self, start: float = 300e3, least: float = 50e3, most: float = 20e6) -> None:
        self._least, self._most = least, most
        self._delay_based = self._loss_based = start
        self._received = ReceiveRate(RECEIVE_SECONDS)
        self._group: tuple[float, float, float] | None = None  # first sent, last sent, last arrival
        self._before: tuple[float, float] | None = None  # last sent, last arrival of the group before
        self._points: deque[tuple[float, float]] = deque(maxlen=GROUPS)  # (arrival, smooth accumulated delay), ms
        self._accumulated = self._smooth = self._trend = 0.0  # ms; ms; ms per ms
        self._deltas = 0
        self._threshold = THRESHOLD
        self._over = 0.0  # seconds of over-use
        self._signal = "normal"
        self._state = "increase"
        self._congested = False  # ever
        self._mean: float | None = None  # kbit/s at which over-use began, and its relative variance
        self._variance = 0.4
        self._updated: float | None = None
        self._lost = self._count = 0
        self._loss_since = 0.0

    @property
    def rate(self) -> float:
        return min(self._most, max(self._least, min(self._delay_based, self._loss_based)))

    def on_sent(self, counter: int, size: int, now: float) -> None:
        """Nothing to learn."""

    def on_silence(self, now: float) -> None:
        """The draft says nothing."""

    def on_acks(self, acks: Sequence[Ack], rtt: float | None, now: float) -> None:
        for ack in acks:
            self._count += 1
            if ack.arrived is None:
                self._lost += 1
            else:
                self._received.add(ack.arrived, ack.size)
                self._arrive(ack.sent, ack.arrived)
        self._adapt(0.1 + (rtt or 0.1), now)
        self._heed_loss(now)

    def _arrive(self, sent: float, arrived: float) -> None:
        group = self._group
        if group is None or sent - group[0] > BURST:
            if group and self._before:
                self._delta(1e3 * (group[1] - self._before[0]), 1e3 * (group[2] - self._before[1]), group[2])
            self._before = group[1:] if group else None
            self._group = sent, sent, arrived
        else:
            self._group = group[0], max(sent, group[1]), max(arrived, group[2])

    def _delta(self, sent: float, arrived: float, at: float) -> None:
        """Times between two groups, ms: trendline, threshold, signal."""
        self._deltas = min(self._deltas + 1, MOST_DELTAS)
        self._accumulated += arrived - sent
        self._smooth = SMOOTHING * self._smooth + (1 - SMOOTHING) * self._accumulated
        self._points.append((1e3 * at, self._smooth))
        if len(self._points) < GROUPS:
            return
        x = sum(point[0] for point in self._points) / GROUPS
        y = sum(point[1] for point in self._points) / GROUPS
        square = sum((point[0] - x) ** 2 for point in self._points)
        trend = sum((point[0] - x) * (point[1] - y) for point in self._points) / square if square else self._trend
        modified = self._deltas * trend * GAIN
        if modified > self._threshold:
            self._over += arrived / 1e3
            if self._over > OVERUSE_SECONDS and trend >= self._trend:
                self._over, self._signal = 0.0, "over"
        else:
            self._over = 0.0
            self._signal = "under" if modified < -self._threshold else "normal"
        self._trend = trend
        beyond = abs(modified) - self._threshold
        if beyond < 15:
            speed = RISE if beyond > 0 else FALL
            self._threshold += speed * beyond * min(arrived, 100.0)
            self._threshold = min(MOST_THRESHOLD, max(LEAST_THRESHOLD, self._threshold))

    def _adapt(self, response: float, now: float) -> None:
        """The AIMD of section 5.5."""
        passed = 0.0 if self._updated is None else min(1.0, now - self._updated)
        self._updated = now
        received = self._received.value
        if self._signal == "over":
            if self._state != "decrease":
                self._learn(received)
                self._delay_based = min(self._delay_based, BETA * received)
                self._congested = True
            self._state, self._signal = "decrease", "normal"
            return
        if self._signal == "under":
            self._state = "hold"
            return
        if self._state != "increase":
            self._state = "increase"
            return
        wanted = self._delay_based
        if self._near(received):
            wanted += PACKET_BITS * min(1.0, passed / response)
        else:
            wanted *= (ETA if self._congested else CAP ** (1 / response)) ** passed
        self._delay_based = max(self._delay_based, min(wanted, CAP * received + 10e3))
        self._delay_based = min(self._delay_based, self._most)

    def _near(self, received: float) -> bool:
        """Within 3 deviations of where over-use began."""
        if self._mean is None:
            return False
        deviation = 3 * math.sqrt(self._variance * self._mean)
        if received / 1e3 > self._mean + deviation:
            self._mean = None
            return False
        return True

    def _learn(self, received: float) -> None:
        """libwebrtc's link_capacity_estimator.cc."""
        sample = received / 1e3
        if self._mean is not None and sample < self._mean - 3 * math.sqrt(self._variance * self._mean):
            self._mean = None
        self._mean = sample if self._mean is None else 0.95 * self._mean + 0.05 * sample
        error = (self._mean - sample) ** 2 / max(self._mean, 1.0)
        self._variance = min(2.5, max(0.4, 0.95 * self._variance + 0.05 * error))

    def _heed_loss(self, now: float) -> None:
        """Section 6, once a second."""
        if now - self._loss_since < LOSS_SECONDS or not self._count:
            return
        loss = self._lost / self._count
        if loss > HIGH:
            self._loss_based = self.rate * (1 - 0.5 * loss)
        elif loss < LOW:
            self._loss_based = max(self._loss_based, 1.05 * self.rate)
        if not self._congested and loss < LOW:
            self._loss_based = self._most
        self._lost = self._count = 0
        self._loss_since = now
