"""Forward error correction that may be switched while a stream runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lrae.codec.fec import Plan
from lrae.sender.flow import FecPolicy

PER_LOSS = 5.0  # parity packets for each packet lost,
MOST = 1.0  # at most so many for each packet
SMOOTH = 0.01  # per datagram: the estimate of losses follows the last 100
WITHOUT = Plan("none")


class LossFec:
    """A block code whose share of parity follows the losses of late: what H.264 gets. Of fixed shares, five times the
    loss is about the best in hindsight for a codec that cannot show a frame of which anything is missing (448x256 at
    600 kbit/s, 5 to 30 % independent losses, 20 ms round trip)."""

    def __init__(self) -> None:
        self._loss = self._owed = 0.0

    @property
    def share(self) -> float:
        """Parity packets for each packet."""
        return min(MOST, PER_LOSS * self._loss)

    def plan(self, sizes: Sequence[int], rtt: float | None, deadline: float, interval: float) -> Plan:
        """What to add to a frame of so many packets; their sizes do not matter."""
        self._owed += self.share * len(sizes)
        parity = int(self._owed)
        self._owed -= parity
        return Plan("block", parity) if parity else WITHOUT

    def observe(self, lost: Sequence[bool]) -> None:
        """The fate of the next datagrams."""
        for one in lost:
            self._loss += SMOOTH * (one - self._loss)


class SwitchedFec:
    """One of several policies, by name; None: no parity. Those that do not act learn all the same."""

    def __init__(self, policies: Mapping[str, FecPolicy | None], name: str) -> None:
        self._policies = policies
        self.name = name

    @property
    def share(self) -> float:
        """Of media, to reckon with before anything is known."""
        return policy.share if (policy := self._policies[self.name]) else 0.0

    def plan(self, sizes: Sequence[int], rtt: float | None, deadline: float, interval: float) -> Plan:
        """As FecPolicy says."""
        policy = self._policies[self.name]
        return policy.plan(sizes, rtt, deadline, interval) if policy else WITHOUT

    def observe(self, lost: Sequence[bool]) -> None:
        """As FecPolicy says."""
        for policy in self._policies.values():
            if policy:
                policy.observe(lost)
