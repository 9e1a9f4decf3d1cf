"""Times of pictures, from whatever clock, as RTP ticks that follow this machine's clock."""

from __future__ import annotations

from lrae.receiver.broadcast.encoder import CLOCK

MAX_STEP = 0.5  # seconds that a picture's time may differ from the clock before it counts as another clock
FOLLOW = 0.01  # per picture: how fast a slow drift of one against the other is followed


class Ticks:
    """Ticks that rise strictly and keep the spacing of the pictures' own times.

    A new stream has another origin, and a stream may pause: then the clock of this machine says how long it was.
    """

    def __init__(self) -> None:
        self._offset: float | None = None
        self._start = 0.0
        self._last = -1

    def __call__(self, time: float, now: float) -> int:
        """time: of the picture, seconds, any origin; now: seconds of a monotonic clock."""
        apart = time - now
        if self._offset is None:
            self._start, self._offset = now, apart
        elif abs(apart - self._offset) > MAX_STEP:
            self._offset = apart
        self._last = max(self._last + 1, round((time - self._offset - self._start) * CLOCK))
        self._offset += FOLLOW * (apart - self._offset)
        return self._last
