"""Losses that several links meet at the same instants, and that may change at any time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import cache
from importlib.resources import as_file, files

from lrae.channel.loss_time import Rng, TimedLosses, read_timed_losses
from lrae.webrtc.situation import Situation

SLOT = 0.001  # seconds in which all datagrams have the same fate: paced ones are further apart
PACKET_BITS = 6000  # of a typical datagram: their distance, which a burst's length in packets stands for


class Weather:
    """A loss model of the clock (lrae.channel.loss_time) that all links of one direction share: a datagram is lost if
    it is sent in a bad slot. Each slot is bad with probability `loss`, and takes after the one before it so much that
    typical datagrams are lost `burst` at a time, on average; a trace's losses and drop() come on top.

    Asked in order of time; set() and drop() act from the time asked last on.
    """

    mean = mean_burst = 0.0  # they change

    def __init__(self, seed: int | str, situation: Situation) -> None:
        self._rng = random.Random(f"{seed}:weather")
        self._slot, self._bad = -1, False
        self._dropping = -math.inf  # seconds
        self._loss, self._stay = 0.0, 0.0
        self.set(situation)

    def set(self, situation: Situation) -> None:
        """Other losses, at once."""
        loss = situation.loss
        again = stay_chance(loss, situation.burst) ** (SLOT * situation.bitrate_kbps * 1e3 / PACKET_BITS)
        if (loss, again) != (self._loss, self._stay):
            self._loss, self._stay = loss, again
            self._bad = self._rng.random() < loss
        trace = call_trace(situation.trace) if situation.trace else None
        self._trace = trace.lost_at(self._rng) if trace else None

    def drop(self, until: float) -> None:
        """Everything is lost until then, seconds since the links began."""
        self._dropping = until

    def lost(self, now: float) -> bool:
        """Whether a datagram sent now is lost. now: seconds since the links began."""
        slot = int(now / SLOT)
        if slot > self._slot:
            same = self._stay ** (slot - self._slot)  # no slot between drew another fate
            if self._rng.random() >= same:
                self._bad = self._rng.random() < self._loss
            self._slot = slot
        traced = self._trace is not None and self._trace(round(now * 1e9))
        return self._bad or traced or now < self._dropping

    def lost_at(self, rng: Rng) -> Callable[[int], bool]:
        """As loss_time says; rng is not drawn from, so that all links meet the same."""
        return lambda ns: self.lost(ns * 1e-9)


def stay_chance(loss: float, burst: float) -> float:
    """With which probability a datagram takes over the fate of the one before it, rather than one drawn anew, so that
    a share `loss` is lost, `burst` at a time. Datagrams drawn independently are lost 1 / (1 - loss) at a time."""
    if loss >= 1:
        return 0.0
    return max(0.0, 1 - 1 / burst - loss) / (1 - loss)


@cache
def call_trace(name: str) -> TimedLosses:
    """A trace that comes with the package."""
    with as_file(files("lrae.webrtc") / "traces" / f"{name}.csv") as path:
        return read_timed_losses(str(path))
