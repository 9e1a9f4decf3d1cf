"""When to show a decoded frame: evenly, and no later than that takes."""

from __future__ import annotations

from collections import deque

WINDOW = 128  # frames that say how late frames get ready
SHARE = 0.95  # of them are to be ready when it is their turn
MARGIN = 0.004  # seconds
SINK = 0.02  # seconds of delay given back in a second: 2 % faster than life, which nobody sees
SINK_FIRST, FIRST = 0.2, 1.0  # the same, in the first second of a stream: its first frame is large and late


class PlayoutClock:
    """Maps capture times to times of showing by one offset, which rises at once when too many frames get ready late
    and sinks slowly when they need not wait any more.

    deadline: seconds after its earliest possible arrival at which a frame is to be seen at the latest (one that gets
    ready later is shown at once); also the longest that a frame is ever held. realtime: of the stream; frames of
    others are shown when they are ready.
    """

    def __init__(self, deadline: float, realtime: bool = True) -> None:
        self.delay = 0.0  # seconds from the earliest possible arrival to showing, of the last frame
        self._deadline, self._realtime = deadline, realtime
        self._needs: deque[float] = deque(maxlen=WINDOW)  # seconds from capture (their clock) to ready (ours)
        self._offset = 0.0  # what is added to capture times
        self._started = self._ready = self._shown = float("-inf")

    def show_at(self, capture: float, earliest: float, ready: float) -> float:
        """When to show the next frame, at `ready` or later.

        capture: seconds on the sender's clock. earliest: when the frame would have arrived if the path had been as
        quick as it ever was of late, ready: when it has been decoded, both in seconds on our clock.
        """
        at = ready
        if self._realtime:
            self._adapt(ready - capture, earliest - capture, ready)
            at = min(max(ready, capture + self._offset, self._shown), ready + self._deadline)
        self._ready, self._shown, self.delay = ready, at, at - earliest
        return at

    def _adapt(self, need: float, least: float, now: float) -> None:
        if not self._needs or self._offset > least + self._deadline + MARGIN:  # the clocks have moved
            self._needs.clear()
            self._offset, self._started = need + MARGIN, now
        self._needs.append(need)
        wanted = sorted(self._needs)[int(SHARE * (len(self._needs) - 1))] + MARGIN
        sink = (SINK_FIRST if now - self._started < FIRST else SINK) * (now - self._ready)
        self._offset = min(max(wanted, self._offset - sink), least + self._deadline)
