"""Spreads a frame's datagrams in time, so that a drop-tail queue on the way does not swallow a burst."""

from __future__ import annotations

from collections import deque

PACING = 1.25  # times the stream's rate, so that the queue drains
SLACK = 0.005  # seconds: what a late timer may catch up on at once


class Pacer:
    """FIFO of datagrams. rate: bit/s of the stream, 0 if unknown. horizon: seconds in which all that is
    queued must have left, however much it is (0: everything leaves at once)."""

    def __init__(self, rate: float, horizon: float) -> None:
        self._rate = rate * PACING
        self._horizon = horizon
        self._queue: deque[tuple[int, bytes]] = deque()
        self._bits = 0
        self._speed = self._rate
        self._free = float("-inf")

    def __len__(self) -> int:
        return len(self._queue)

    def push(self, sequence: int, datagram: bytes) -> None:
        self._queue.append((sequence, datagram))
        self._bits += 8 * len(datagram)
        if self._horizon > 0:
            self._speed = max(self._rate, self._bits / self._horizon)

    def pop(self, now: float) -> tuple[int, bytes] | None:
        """(sequence number, datagram) if one may leave now."""
        if not self._queue or now < self._free:
            return None
        sequence, datagram = self._queue.popleft()
        self._bits -= 8 * len(datagram)
        if self._horizon > 0:
            self._free = max(self._free, now - SLACK) + 8 * len(datagram) / self._speed
        return sequence, datagram

    def due(self) -> float | None:
        """When pop() will next give something (maybe in the past), None if the queue is empty."""
        return self._free if self._queue else None

    def clear(self) -> None:
        self._queue.clear()
        self._bits = 0
