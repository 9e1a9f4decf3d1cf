"""What is on the screens of all receivers at one instant, beside the source delayed to match. Sans IO.

Frame i of the source is due at its capture time plus one delay for all, which is as long as the slower receiver needs;
each screen then shows the newest picture that its receiver has by then, of frame i or an older one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from lrae.codec.types import Frame
from lrae.webrtc.ends import Seen

WINDOW = 128  # frames that say how long a receiver needs
SHARE = 0.95  # of them are to be ready when it is their turn
MARGIN = 0.004  # seconds
SINK, SINK_FIRST, FIRST = 0.04, 0.2, 6.0  # seconds of delay given back in a second: later, in the first seconds; which
LONGEST = 0.4  # seconds beyond the network's delay and the receivers' deadline: what is later counts as not there
START = 0.1  # seconds beyond the network's delay, until something is known
MAX_CAPTURED, MAX_COMING = 64, 64  # frames
STALL = 0.2  # seconds without a new picture from which on people see a freeze


@dataclass(frozen=True, eq=False)
class Arrived:
    """A picture that a receiver has made. capture: of its frame; ready: when it was there."""

    seen: Seen
    capture: float
    ready: float


@dataclass(frozen=True, eq=False)
class View:
    """One screen. picture: on it. state: "whole", "partial", "extrapolated" (a new picture, from so much of a frame),
    "frozen" (the old one). new: what came last, None if nothing has. delay: seconds from its capture until it was
    there. stall: seconds by which the newest picture is older than the source's. stalls: of more than STALL so far."""

    picture: Frame
    state: str
    new: Arrived | None
    delay: float
    stall: float
    stalls: int


@dataclass(frozen=True, eq=False)
class Instant:
    """A frame of the source is due. views: by leg. delay: seconds since its capture."""

    number: int
    capture: float
    source: Frame
    views: dict[str, View]
    delay: float


@dataclass(eq=False)
class _Screen:
    picture: Frame
    coming: deque[Arrived] = field(default_factory=lambda: deque(maxlen=MAX_COMING))
    needs: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))  # seconds from capture to ready
    newest: Arrived | None = None
    moved: float | None = None  # capture of the newest picture that was a new one
    stalls: int = 0
    stalled: bool = False


class Display:
    """Feed captured frames and arrived pictures, take instants. longest: seconds that a delay may be at most."""

    def __init__(self, legs: Iterable[str], size: tuple[int, int], network: float, deadline: float) -> None:
        width, height = size
        half = (height + 1) // 2, (width + 1) // 2
        grey = Frame(*(np.full(shape, 128, np.uint8) for shape in ((height, width), half, half)))
        self._screens = {name: _Screen(grey) for name in legs}
        self._captured: deque[tuple[int, Frame, float]] = deque(maxlen=MAX_CAPTURED)
        self.delay = network + START
        self._network, self._deadline = network, deadline
        self._now = 0.0
        self._started: float | None = None

    def adjust(self, network: float, deadline: float) -> None:
        """The network has another delay, the receivers another deadline, seconds."""
        change, self._network, self._deadline = network - self._network, network, deadline
        self.delay = max(0.0, self.delay + change)
        for screen in self._screens.values():
            screen.needs = deque((max(0.0, need + change) for need in screen.needs), WINDOW)

    def captured(self, number: int, frame: Frame, capture: float) -> None:
        """A frame of the source, in order."""
        self._captured.append((number, frame, capture))

    def arrived(self, leg: str, arrived: Arrived, now: float) -> None:
        """A picture, in order of capture."""
        screen = self._screens[leg]
        screen.coming.append(arrived)
        if arrived.seen.used:
            screen.needs.append(min(arrived.ready - arrived.capture, self._network + self._deadline + LONGEST))
        self._started = now if self._started is None else self._started
        wanted = max((_high(s.needs) for s in self._screens.values() if s.needs), default=self.delay) + MARGIN
        sink = (SINK_FIRST if now - self._started < FIRST else SINK) * (now - self._now)
        self.delay, self._now = max(wanted, self.delay - sink), now

    def next_time(self) -> float:
        """When instant() has one; inf: not known."""
        return self._captured[0][2] + self.delay if self._captured else float("inf")

    def instant(self, now: float) -> Instant | None:
        """The newest instant that is due, if any; older ones are left out."""
        due = None
        while self._captured and self.next_time() <= now:
            due = self._captured.popleft()
        if due is None:
            return None
        number, frame, capture = due
        views = {name: self._look(screen, capture) for name, screen in self._screens.items()}
        return Instant(number, capture, frame, views, now - capture)

    def _look(self, screen: _Screen, capture: float) -> View:
        state = "frozen"
        while screen.coming and screen.coming[0].capture <= capture + 1e-4:
            new = screen.coming.popleft()
            whole = new.seen.complete and bool(new.seen.used)
            if whole or not same(new.seen.frame, screen.picture):
                state = "whole" if whole else "partial" if new.seen.used else "extrapolated"
                screen.picture, screen.moved = new.seen.frame, new.capture
            screen.newest = new
        stall = 0.0 if screen.moved is None else max(0.0, capture - screen.moved)
        screen.stalls += stall > STALL and not screen.stalled
        screen.stalled = stall > STALL
        newest = screen.newest
        delay = newest.ready - newest.capture if newest else 0.0
        return View(screen.picture, state, newest, delay, stall, screen.stalls)


def same(a: Frame, b: Frame) -> bool:
    """Whether two pictures are equal, bit for bit."""
    return a is b or all(np.array_equal(p, q) for p, q in ((a.y, b.y), (a.u, b.u), (a.v, b.v)))


def _high(needs: deque[float]) -> float:
    return sorted(needs)[int(SHARE * (len(needs) - 1))]
