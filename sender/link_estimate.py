"""What acks say about a link: its least delay, what it delivered lately, whether loss depends on the rate."""

from __future__ import annotations

import math
from collections import deque


class WindowedMin:
    """The least value of the last `seconds`, give or take a tenth of it; constant memory."""

    def __init__(self, seconds: float) -> None:
        self._span = seconds / 10
        self._parts: deque[list[float]] = deque(maxlen=10)  # [begin, least]
        self.value = math.inf

    def add(self, time: float, value: float) -> None:
        """Times need not be in order, but nearly."""
        parts = self._parts
        if not parts or time - parts[-1][0] >= self._span:
            parts.append([time, value])
            self.value = min(part[1] for part in parts)
        elif value < parts[-1][1]:
            parts[-1][1] = value
            self.value = min(self.value, value)


class ReceiveRate:
    """Bit/s that arrived in the last `seconds` before the latest arrival. Constant memory."""

    SET_BACK = 1.0  # seconds: more than any datagram is late
    MOST = 4096  # datagrams

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._arrivals: deque[tuple[float, int]] = deque()
        self._bytes = 0

    def add(self, time: float, size: int) -> None:
        """A datagram of `size` bytes arrived; times in order, or nearly, on a clock that may be set."""
        arrivals = self._arrivals
        if arrivals and time < arrivals[-1][0] - self.SET_BACK:
            arrivals.clear()
            self._bytes = 0
        arrivals.append((time, size))
        self._bytes += size
        while arrivals[0][0] <= time - self._seconds or len(arrivals) > self.MOST:
            self._bytes -= arrivals.popleft()[1]

    @property
    def value(self) -> float:
        return 8 * self._bytes / self._seconds


class LossJudge:
    """Tells loss that the sender causes from loss that is simply there (radio), by slowing down once.

    When loss rises although no queue is seen, the rate is held under `ceiling`, TEST times what arrived, for one
    window. If the loss stays, it is not the sender's doing: it becomes `accepted`, and the ceiling goes. If it
    goes, a short queue was overflowing: the ceiling stays, and grows faster and faster until loss comes back.
    (In the spirit of libwebrtc's LossBasedBweV2, which fits an inherent loss beside the bandwidth.)
    """

    WINDOW = 0.5  # seconds, at least
    PACKETS = 30  # in a window, at least
    MARGIN = 0.03  # loss beyond what is accepted, and beyond what chance explains (2 sigma)
    TEST = 0.85
    GROWTH = 0.1  # of the ceiling a second, twice as much after each window without new loss
    FOLLOW = 0.25  # how far accepted loss goes with each window, down, and up to what the last test found

    def __init__(self) -> None:
        self.accepted = 0.0
        self.ceiling = math.inf  # bit/s
        self._testing = False
        self._growth = self.GROWTH
        self._suspect = 0.0  # loss that started the test
        self._tested = 0.0  # loss that the last test found not to be the sender's
        self._begin(-math.inf)

    def _begin(self, now: float) -> None:
        self._since = now
        self._lost = self._count = self._bytes = 0
        self._queued = False

    def add(self, sent: float, size: int, lost: bool) -> None:
        """The fate of one datagram. Those sent before this window say nothing about it."""
        if sent >= self._since:
            self._count += 1
            self._lost += lost
            self._bytes += 0 if lost else size

    def judge(self, queued: bool, now: float) -> None:
        """Once per report, after its datagrams. queued: a queue is there that explains loss."""
        self._queued |= queued
        if self._since == -math.inf:
            self._begin(now)
        span = now - self._since
        if span < self.WINDOW or self._count < self.PACKETS:
            return
        loss = self._lost / self._count
        chance = 2 * math.sqrt(loss * (1 - loss) / self._count)
        if self._testing:
            self._testing = False
            if loss > (self.accepted + self._suspect) / 2:
                self.accepted = self._tested = loss
                self.ceiling = math.inf
        elif loss > self.accepted + self.MARGIN + chance and not self._queued:
            self._testing, self._suspect = True, loss
            self.ceiling = self.TEST * 8 * self._bytes / span
        else:
            self.accepted = min(self._tested, self.accepted + self.FOLLOW * (loss - self.accepted))
        if self._testing:
            self._growth = self.GROWTH
        else:
            self.ceiling *= 1 + self._growth * span
            self._growth = min(2 * self._growth, 1.0)
        self._begin(now)
