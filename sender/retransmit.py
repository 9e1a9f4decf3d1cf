"""Selective retransmission: what can still arrive in time, worthiest first, within a share of the rate."""

from __future__ import annotations

from typing import NamedTuple

SHARE = 0.2  # of the media's bits
SAVED = 32_000  # bits that may be saved up
TRIES = 2  # that a receiver waits for
MARGIN = 0.01  # seconds: reports and pacing take their time


class Lost(NamedTuple):
    """A DATA packet on its way, and what is needed to send it again.

    body: what was sealed. leave: the latest time of sending at which it is in time. worth: what its loss costs.
    """

    body: bytes
    leave: float
    worth: float


class Retransmitter:
    """Feed losses, take bodies to send again."""

    def __init__(self) -> None:
        self._candidates: list[Lost] = []
        self._budget = 0.0  # bits

    @staticmethod
    def wait(rtt: float | None, interval: float, deadline: float) -> float:
        """Seconds after a frame's last packet in which a retransmission comes, if it does; 0: it would be too late.

        The receiver reports once a frame (interval), the report and the packet take a round trip. One that is lost
        again gets another chance where there is time for it.
        """
        if rtt is None:
            return 0.0
        needed = rtt + interval + MARGIN
        return min(TRIES * needed, deadline - interval) if needed + interval <= deadline else 0.0

    def earn(self, bits: int) -> None:
        """Media of so many bits was sent."""
        self._budget = min(SAVED, self._budget + SHARE * bits)

    def lost(self, packet: Lost) -> None:
        self._candidates.append(packet)

    def take(self, now: float) -> list[Lost]:
        """What to send now. The rest has no more chance: the next report would come too late for it."""
        chosen = []
        for packet in sorted(self._candidates, key=lambda p: -p.worth):
            bits = 8 * len(packet.body)
            if now <= packet.leave and bits <= self._budget:
                self._budget -= bits
                chosen.append(packet)
        self._candidates.clear()
        return chosen
