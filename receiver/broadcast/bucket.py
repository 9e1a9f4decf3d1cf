"""How often somebody may ask for something: a token bucket."""

from __future__ import annotations


class Bucket:
    """So many at once, and on average so many a second."""

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst, self._rate = burst, per_second
        self._left, self._at = burst, 0.0

    def take(self, now: float) -> bool:
        """False: one too many. now: seconds of a monotonic clock."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
