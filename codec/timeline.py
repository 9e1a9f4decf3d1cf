"""Timestamps that a file or network gives, made into times that always rise."""

from __future__ import annotations

MAX_GAP = 5.0  # seconds; a larger step, or one back, is a discontinuity and not a pause


class Timeline:
    """Maps time stamps (seconds, any origin, None where unknown) to times from 0 that rise strictly.

    Steps of up to MAX_GAP are kept; a discontinuity (another file, another sender) counts as one period.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._last = -period
        self._shift: float | None = None

    def __call__(self, stamp: float | None) -> float:
        follows = self._last + self._period
        now = follows if stamp is None or self._shift is None else stamp + self._shift
        if not self._last < now <= self._last + MAX_GAP:
            now = follows
        if stamp is not None:
            self._shift = now - stamp
        self._last = now
        return now
