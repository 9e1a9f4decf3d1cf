"""Spreads a frame's packets in time, so that a drop-tail queue on the way does not swallow a burst."""

from __future__ import annotations

from collections import deque
from typing import Any

PACING = 1.25  # times the stream's rate, so that the queue drains
SLACK = 0.005  # seconds: what a late timer may catch up on at once


class Pacer:
    """Queue of packets, whatever they are. rate: bit/s of the stream, 0 if unknown; may be set at any time.

    horizon: seconds in which all that is queued must have left, however much it is (0: everything leaves at once).
    pacing: times the rate at which the queue leaves.
    """

    def __init__(self, rate: float, horizon: float, pacing: float = PACING) -> None:
        self.rate = rate
        self._horizon, self._pacing = horizon, pacing
        self._queue: deque[tuple[Any, int]] = deque()
        self._bits = 0
        self._needed = 0.0  # bit/s to keep the horizon
        self._free = float("-inf")

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def seconds(self) -> float:
        """How long the queue takes to leave, about."""
        speed = self._speed
        return self._bits / speed if speed else 0.0

    def push(self, item: Any, size: int, urgent: bool = False) -> None:
        """Queues an item of `size` bytes on the wire; urgent: before all others."""
        if urgent:
            self._queue.appendleft((item, size))
        else:
            self._queue.append((item, size))
        self._bits += 8 * size
        if self._horizon > 0:
            self._needed = max(self._needed, self._bits / self._horizon)

    def pop(self, now: float) -> Any | None:
        """An item if one may leave now."""
        if not self._queue or now < self._free:
            return None
        item, size = self._queue.popleft()
        self._bits -= 8 * size
        if self._horizon > 0:
            self._free = max(self._free, now - SLACK) + 8 * size / self._speed
        if not self._queue:
            self._needed = 0.0
        return item

    def due(self) -> float | None:
        """When pop() will next give something (maybe in the past), None if the queue is empty."""
        return self._free if self._queue else None

    def clear(self) -> None:
        self._queue.clear()
        self._bits, self._needed = 0, 0.0

    @property
    def _speed(self) -> float:
        return max(self.rate * self._pacing, self._needed)
