"""Parity that heeds nothing: the same share of every frame's packets."""

from __future__ import annotations

from collections.abc import Sequence

from lrae.codec.fec import Plan


class FixedFec:
    """scheme: "block" or "streaming". share: parity packets per packet, on average. window: frames, of streaming."""

    def __init__(self, scheme: str, share: float, window: int = 1) -> None:
        self.share = share
        self._scheme, self._window = scheme, window
        self._owed = 0.0

    def plan(self, sizes: Sequence[int], rtt: float | None, deadline: float, interval: float) -> Plan:
        """What to add to a frame of so many packets; their sizes do not matter."""
        self._owed += self.share * len(sizes)
        parity = int(self._owed + 1e-9)
        self._owed -= parity
        return Plan(self._scheme, parity, self._window)

    def observe(self, lost: Sequence[bool]) -> None:
        """Nothing to learn."""
