"""Which datagrams arrived and when: what FEEDBACK says of the path."""

from __future__ import annotations

import itertools
from collections import OrderedDict

from lrae.codec.wire.feedback import MAX_COVERED, MAX_HOLD, TIME_UNIT

KEPT = 256  # counters whose arrival is remembered
AGAIN, AGAIN_LOSSY = 12, 72  # counters before the new ones that are named again, should reports be lost; times the loss
TIMED_AGAIN = 2  # of them with their times,
LOSSY = 0.02  # where at least such a share of the datagrams is lost
LOSS_WEIGHT = 0.02  # per datagram: the estimate follows the last 50


class ArrivalLog:
    """Feed the counters of a session's datagrams as they come, ask for reports.

    loss: share of datagrams lost lately.
    """

    def __init__(self) -> None:
        self._times: OrderedDict[int, float] = OrderedDict()  # by counter, in order of arrival
        self._newest = -1
        self._told = -1  # the newest counter in the last report
        self.loss = 0.0

    def add(self, counter: int, now: float) -> None:
        """A datagram arrived. counter: unbounded. Duplicates count once."""
        if counter in self._times or counter <= self._newest - KEPT:
            return
        gap = max(0, counter - self._newest - 1)
        self.loss += (1 - (1 - LOSS_WEIGHT) ** (gap + 1)) * (gap / (gap + 1) - self.loss)
        self._times[counter] = now
        self._newest = max(self._newest, counter)
        if len(self._times) > KEPT:
            self._times.popitem(last=False)

    def report(self, now: float) -> dict[str, object]:
        """The fields of Feedback from `counter` to `times`; all 0 before anything has arrived."""
        if self._newest not in self._times:
            return {}
        newest, at = self._newest, self._times[self._newest]
        fresh = max(0, newest - self._told)
        covered = min(MAX_COVERED, fresh + AGAIN + int(AGAIN_LOSSY * self.loss), newest + 1)
        with_time = fresh + TIMED_AGAIN * (self.loss >= LOSSY)
        here = [back for back in range(covered) if newest - back in self._times]
        timed = [self._times[newest - back] for back in here if back < with_time]
        ticks = [round((at - time) / TIME_UNIT) for time in timed]
        self._told = newest
        return {
            "counter": newest & 0xFFFF,
            "arrival": round(at / TIME_UNIT) & 0xFFFF,
            "hold": min(MAX_HOLD, round((now - at) / TIME_UNIT)),
            "covered": covered,
            "arrived": sum(1 << back for back in here),
            "times": tuple(b - a for a, b in itertools.pairwise(ticks)),
        }
