"""One direction of a network in virtual time: datagrams in, (time, datagram) out. No socket, no clock."""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass

from lrae.channel.config import LinkConfig
from lrae.channel.loss import losses
from lrae.channel.rate import NS

MAX_HELD_BYTES = 8 << 20
_HELD_PER_DATAGRAM = 128  # what an empty datagram in flight costs in memory, about
_JITTER_CUT = 5.0  # in means; cuts off 0.7 % of an exponential


@dataclass
class LinkCounts:
    """Datagrams by fate. sent + duplicated = lost + queue_dropped + delivered + those still in flight."""

    sent: int = 0
    lost: int = 0
    queue_dropped: int = 0
    duplicated: int = 0
    corrupted: int = 0
    reordered: int = 0
    delivered: int = 0
    sent_bytes: int = 0
    delivered_bytes: int = 0


class Link:
    """LinkConfig at work: send() at any time, receive() what has arrived by then.

    The same config, seed and calls give the same result. Each impairment draws from a generator of its own,
    and the loss process takes one step per datagram sent, so the n-th datagram is lost or not whatever the
    sizes, times and other settings are: two runs that differ in one setting meet the same losses. (Losses that
    follow the clock depend on when a datagram is sent, and on nothing else.)

    Times are seconds on any clock; start is when capacity traces begin. A datagram sent before the latest
    time seen counts as sent then. While max_held_bytes wait inside, datagrams drop as at a full queue.
    """

    def __init__(
        self, config: LinkConfig, seed: int | str, start: float = 0.0, max_held_bytes: int = MAX_HELD_BYTES
    ):
        self.config = config
        self.counts = LinkCounts()
        self._lost = losses(config.loss, random.Random(f"{seed}:loss"))
        self._corrupting = random.Random(f"{seed}:corrupt")
        self._duplicating = random.Random(f"{seed}:duplicate")
        self._jittering = random.Random(f"{seed}:jitter")
        self._reordering = random.Random(f"{seed}:reorder")
        self._server = config.rate.server()
        self._queue: deque[tuple[int, int]] = deque()  # (departure in ns, bytes), in order
        self._queued_bytes = 0
        self._flying: list[tuple[int, int, float, bytes]] = []  # heap of (ns, number, seconds, data)
        self._held_bytes = 0
        self._max_held_bytes = max_held_bytes
        self._number = 0
        self._start = start
        self._now = 0  # ns since start
        self._last_arrival = 0  # ns since start, of datagrams that keep their order

    @property
    def in_flight(self) -> int:
        """Datagrams sent but neither delivered nor dropped, duplicates included."""
        return len(self._flying)

    @property
    def queued_bytes(self) -> int:
        """Bytes in the bottleneck queue at the latest time seen, headers included."""
        return self._queued_bytes

    def send(self, data: bytes, now: float) -> None:
        """Hands over one datagram at time now."""
        self._advance(now)
        self.counts.sent += 1
        self.counts.sent_bytes += len(data)
        lost = self._lost(self._now)
        corrupt = self._corrupting.random() < self.config.corrupt
        duplicate = self._duplicating.random() < self.config.duplicate
        full = self._held_bytes + len(data) + _HELD_PER_DATAGRAM > self._max_held_bytes
        departure = None if full else self._depart(max(1, len(data) + self.config.overhead_bytes))
        if departure is None:
            self.counts.queue_dropped += 1
            return
        if lost:
            self.counts.lost += 1
            return
        if corrupt and data:
            self.counts.corrupted += 1
            data = _changed(data, self._corrupting)
        self._fly(data, departure)
        if duplicate:
            self.counts.duplicated += 1
            self._fly(data, departure)

    def next_time(self) -> float | None:
        """When the next datagram arrives (seconds); None if none is on its way."""
        return self._flying[0][2] if self._flying else None

    def receive(self, now: float) -> list[tuple[float, bytes]]:
        """(arrival time, datagram) of everything that has arrived by now, in order of arrival."""
        self._advance(now)
        arrived = []
        while self._flying and self._flying[0][2] <= now:
            _, _, time, data = heapq.heappop(self._flying)
            self._held_bytes -= len(data) + _HELD_PER_DATAGRAM
            self.counts.delivered += 1
            self.counts.delivered_bytes += len(data)
            arrived.append((time, data))
        return arrived

    def _advance(self, now: float) -> None:
        self._now = max(self._now, round((now - self._start) * NS))
        while self._queue and self._queue[0][0] <= self._now:
            self._queued_bytes -= self._queue.popleft()[1]

    def _depart(self, size: int) -> int | None:
        """When the last byte leaves the bottleneck (ns); None if the queue is full. If idle, it takes all."""
        if self._server is None:
            return self._now
        if self._queue and self._queued_bytes + size > self.config.queue_bytes:
            return None
        departure = self._server.depart(self._now, size)
        self._queue.append((departure, size))
        self._queued_bytes += size
        return departure

    def _fly(self, data: bytes, departure: int) -> None:
        """Puts one copy on its way. Jitter and reordering as LinkConfig says."""
        config = self.config
        delay_ms = config.delay_ms
        if config.pings:
            delay_ms += config.pings.one_way_ms(departure)
        if config.jitter_ms:
            delay_ms += config.jitter_ms * min(self._jittering.expovariate(1.0), _JITTER_CUT)
        arrival = departure + round(delay_ms * 1e6)
        if self._reordering.random() < config.reorder:
            self.counts.reordered += 1
            arrival += round(self._reordering.random() * config.reorder_ms * 1e6)
        else:
            arrival = self._last_arrival = max(arrival, self._last_arrival)
        self._number += 1
        self._held_bytes += len(data) + _HELD_PER_DATAGRAM
        heapq.heappush(self._flying, (arrival, self._number, self._start + arrival / NS, data))


def _changed(data: bytes, rng: random.Random) -> bytes:
    """One to three bytes at different places, each replaced by another value."""
    changed = bytearray(data)
    for place in rng.sample(range(len(data)), min(len(data), rng.randint(1, 3))):
        changed[place] ^= rng.randint(1, 255)
    return bytes(changed)
