"""What became of each datagram: the log of what was sent, and the acks that FEEDBACK makes of it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

from lrae.codec.wire import Feedback
from lrae.codec.wire.feedback import TIME_UNIT
from lrae.codec.wire.serial import unwrap16
from lrae.sender.congestion import Ack

MAX_SENT = 4096  # datagrams whose fate is waited for
# A missing datagram counts as lost when one has arrived that was sent so much later (RFC 9002, section 6.1):
COUNTERS, SECONDS = 3, 0.01
MOST_COUNTERS, MOST_SECONDS = 64, 0.2  # where it was often wrong, both grow up to this, and sink again
WRONG, RIGHT = 1.5, 0.999  # factors: where one comes after all, and per datagram that arrives in order
LOSS_WEIGHT = 0.02  # per datagram: the estimate follows the last 50
SMOOTH = 1 / 8  # of the round trip (RFC 6298)


class Fate(NamedTuple):
    """A datagram's ack, and what was in it, as it was given to AckLog.sent()."""

    ack: Ack
    what: Any


class _Sent(NamedTuple):
    time: float
    size: int
    what: Any


class AckLog:
    """Pairs what was sent with what arrived. rtt: seconds, None until measured. loss: share lost lately."""

    def __init__(self, loss: float) -> None:
        self.rtt: float | None = None
        self.loss = loss
        self.in_flight = 0  # bytes
        self._sent: OrderedDict[int, _Sent] = OrderedDict()
        self._missing: set[int] = set()  # counters that a report has named as not there
        self._given_up: OrderedDict[int, None] = OrderedDict()  # counters that counted as lost lately
        self._patience = 1.0  # times COUNTERS and SECONDS
        self._arrival = 0  # units of time, unbounded
        self._latest = float("-inf")  # when the newest was sent that has arrived

    def sent(self, counter: int, size: int, what: Any, now: float) -> None:
        """A datagram leaves. counter: unbounded, rising. size: bytes."""
        self._sent[counter] = _Sent(now, size, what)
        self.in_flight += size
        if len(self._sent) > MAX_SENT:
            self._forget(next(iter(self._sent)))

    def reported(self, packet: Feedback, now: float) -> list[Fate]:
        """The fate of datagrams not known before, in the order of their counters. What cannot be is ignored.

        Of those that no report has named, as these were lost, nothing is known: they are forgotten without a fate.
        """
        if not packet.covered or not self._sent:
            return []
        newest = unwrap16(packet.counter, next(reversed(self._sent)))
        if newest in self._sent:
            self._latest = max(self._latest, self._sent[newest].time)
            sample = max(0.0, now - self._sent[newest].time - packet.hold * TIME_UNIT)
            self.rtt = sample if self.rtt is None else self.rtt + SMOOTH * (sample - self.rtt)
        elif newest > next(reversed(self._sent)):
            return []  # never sent
        self._arrival = unwrap16(packet.arrival, self._arrival)
        arrived = _arrivals(packet, newest, self._arrival * TIME_UNIT)
        for counter in arrived.keys() & self._given_up.keys():
            del self._given_up[counter]
            self._patience = min(MOST_COUNTERS / COUNTERS, WRONG * self._patience)
        fates = []
        for counter in [c for c in self._sent if c <= newest]:
            time = arrived.get(counter)
            if time is None and counter > newest - packet.covered:
                self._missing.add(counter)
            if time is None and not self._lost(newest - counter, self._latest - self._sent[counter].time):
                continue
            known = time is not None or counter in self._missing
            sent = self._forget(counter)
            if not known:
                continue
            fates.append(Fate(Ack(counter, sent.time, sent.size, time), sent.what))
            self.loss += LOSS_WEIGHT * ((time is None) - self.loss)
            if time is None:
                self._given_up[counter] = None
            else:
                self._patience = max(1.0, RIGHT * self._patience)
        while len(self._given_up) > MOST_COUNTERS:
            self._given_up.popitem(last=False)
        return fates

    def _lost(self, newer: int, seconds: float) -> bool:
        return newer >= min(MOST_COUNTERS, COUNTERS * self._patience) or seconds >= min(
            MOST_SECONDS, SECONDS * self._patience
        )

    def _forget(self, counter: int) -> _Sent:
        sent = self._sent.pop(counter)
        self._missing.discard(counter)
        self.in_flight -= sent.size
        return sent


def _arrivals(packet: Feedback, newest: int, time: float) -> dict[int, float]:
    """Counter: seconds on the receiver's clock. What came without a time gets that of the last that has one."""
    found, times = {newest: time}, iter(packet.times)
    for back in range(1, packet.covered):
        if packet.arrived >> back & 1:
            time -= next(times, 0) * TIME_UNIT
            found[newest - back] = time
    return found
