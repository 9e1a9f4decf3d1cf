"""From packets in any order to frames in order, each released when complete, hopeless or at its deadline."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from lrae.codec.types import FrameHeader
from lrae.codec.wire import DataPacket
from lrae.codec.wire.serial import unwrap

MAX_GAP = 32  # frames; a wider hole is not extrapolated over, an intra frame is wanted instead
MAX_JUMP = 10_000  # frames; a number further away belongs to no sane sender
FLOWING = 0.05  # seconds since its newest packet in which a frame counts as still coming in
REORDER_FLOOR = 0.015  # seconds
REORDER_DECAY = 0.995  # per frame: halves in about 140
OFFSET_WINDOW = 5.0  # seconds; the path's delay is the least of the last one to two windows


@dataclass(frozen=True)
class ReadyFrame:
    """A frame to decode now. header None: nothing of it arrived.

    number: frame number, unbounded. capture: seconds on the sender's clock; of a lost frame, what its
    neighbours suggest. delay: seconds since it could have been here at the earliest, from the path's quickest
    packet of late (of a stream that is not realtime: since its first packet arrived).
    """

    number: int
    header: FrameHeader | None
    payloads: dict[int, bytes]
    capture: float
    delay: float


@dataclass
class _Pending:
    header: FrameHeader
    capture: int  # microseconds, unbounded
    arrived: float
    last_sequence: int
    latest: float  # when its newest packet arrived
    payloads: dict[int, bytes] = field(default_factory=dict)
    passed: float | None = None  # when a packet that was sent after this frame arrived

    @property
    def complete(self) -> bool:
        return len(self.payloads) == self.header.packets


class MinimumOffset:
    """The least (arrival - capture), microseconds, of the last 5 to 10 seconds; follows drifting clocks."""

    def __init__(self) -> None:
        self._windows: deque[tuple[float, float]] = deque(maxlen=2)  # (start, least)

    def add(self, offset: float, now: float) -> None:
        if not self._windows or now - self._windows[-1][0] >= OFFSET_WINDOW:
            self._windows.append((now, offset))
        else:
            start, least = self._windows[-1]
            self._windows[-1] = start, min(least, offset)

    @property
    def value(self) -> float:
        return min((least for _, least in self._windows), default=0.0)


class JitterBuffer:
    """Bounded reassembly.

    deadline: seconds when an incomplete frame is released, counted as ReadyFrame.delay is; while its packets
    still come in (a sender that is late itself), it may wait so long from the first of them instead.
    reorder: seconds that a packet may come after ones that were sent later; learned.
    """

    def __init__(self, deadline: float, realtime: bool = True) -> None:
        self.deadline = deadline
        self._realtime = realtime
        self.reorder = REORDER_FLOOR
        self.next: int | None = None  # the frame to release next; None: an intra frame is wanted
        self._pending: dict[int, _Pending] = {}
        self._released: deque[tuple[int, _Pending]] = deque(maxlen=2 * MAX_GAP)
        self._offset = MinimumOffset()
        self._newest = 0  # unbounded references to unwrap from
        self._capture = 0
        self._released_capture = 0.0
        self._spacing = 0.0  # between captures, microseconds
        self._sequence = -1
        self._end: tuple[int, float] | None = None  # (number after the last frame, when we heard it)

    @property
    def wants_intra(self) -> bool:
        return self.next is None

    @property
    def finished(self) -> bool:
        """The sender has said its end, and every frame before it is released or out of reach."""
        if self._end is None:
            return False
        return self.next is None or not (self._pending or 0 < self._end[0] - self.next <= MAX_GAP)

    def add(self, packet: DataPacket, now: float) -> str | None:
        """Takes a packet; returns None, or the reason why it was dropped."""
        number = unwrap(packet.header.number, self._newest)
        if self._released and abs(number - self._newest) > MAX_JUMP:
            return "contradiction"
        if self.next is None and self._released and number <= self._released[-1][0]:
            return "late"
        if self.next is None or number >= self.next + MAX_GAP:
            if not packet.header.intra:
                if self.next is not None:
                    self.reset()
                return "waiting-for-intra"
            self._pending.clear()
            self.next = number
        sequence = unwrap(packet.sequence, max(self._sequence, 0))
        last_sequence = sequence - packet.index + packet.header.packets - 1
        frame = self._pending.get(number)
        if number < self.next:
            return self._late(number, packet.index, now)
        if frame is None:
            self._newest = max(number, self._newest) if self._pending or self._released else number
            self._capture = unwrap(packet.capture, self._capture)
            frame = _Pending(packet.header, self._capture, now, last_sequence, now)
            self._pending[number] = frame
        elif frame.header != packet.header or frame.last_sequence != last_sequence:
            return "contradiction"
        if packet.index in frame.payloads:
            return "duplicate"
        frame.payloads[packet.index] = packet.payload
        frame.latest = now
        self._learn_reorder(frame, now)
        self._offset.add(now * 1e6 - frame.capture, now)
        if sequence > self._sequence:
            self._sequence = sequence
            for other in self._pending.values():
                if other.passed is None and other.last_sequence < sequence:
                    other.passed = now
        return None

    def pop(self, now: float) -> ReadyFrame | None:
        """The next frame if it is due, else None."""
        due = self.due()
        if due is None or due > now:
            return None
        number, frame = self.next, self._pending.pop(self.next, None)
        self.next += 1
        self.reorder = max(REORDER_FLOOR, self.reorder * REORDER_DECAY)
        if frame is None:
            capture = self._released_capture = self._released_capture + self._step(number)
            return ReadyFrame(number, None, {}, capture * 1e-6, now - self._earliest(capture, now))
        self._spacing = frame.capture - self._released_capture if self._released else 0.0
        self._released_capture = frame.capture
        self._released.append((number, frame))
        delay = now - self._earliest(frame.capture, frame.arrived)
        return ReadyFrame(number, frame.header, frame.payloads, frame.capture * 1e-6, delay)

    def due(self) -> float | None:
        """When the next frame is to be released, maybe in the past; None if nothing says that it exists."""
        if self.next is None:
            return None
        frame = self._pending.get(self.next)
        if frame is not None:
            if frame.complete:
                return frame.arrived
            hopeless = frame.passed + self.reorder if frame.passed is not None else float("inf")
            return min(self._deadline(frame), hopeless)
        if self._pending:
            later = self._pending[min(self._pending)]
            return min(later.arrived + self.reorder, self._deadline(later))
        if self._end is not None and 0 < self._end[0] - self.next <= MAX_GAP:
            return self._end[1] + self.reorder
        return None

    def finish(self, next_frame: int, now: float) -> None:
        """The sender says that no frame from `next_frame` (32 bits) on will come."""
        if self._end is None:
            self._end = unwrap(next_frame, self._newest), now

    def reset(self) -> None:
        """Forgets everything that waits; the next frame has to be intra."""
        self.next = None
        self._pending.clear()

    def _deadline(self, frame: _Pending) -> float:
        deadline = self._earliest(frame.capture, frame.arrived) + self.deadline
        return min(frame.arrived + self.deadline, max(deadline, frame.latest + FLOWING))

    def _earliest(self, capture: float, arrived: float) -> float:
        return (capture + self._offset.value) * 1e-6 if self._realtime else arrived

    def _step(self, number: int) -> float:
        """Microseconds from the frame before to a lost one."""
        if not self._pending:
            return self._spacing
        later = min(self._pending)
        return (self._pending[later].capture - self._released_capture) / (later - number + 1)

    def _late(self, number: int, index: int, now: float) -> str:
        for released, frame in self._released:
            if released == number:
                if index in frame.payloads:
                    return "duplicate"
                self._learn_reorder(frame, now)
        return "late"

    def _learn_reorder(self, frame: _Pending, now: float) -> None:
        if frame.passed is not None and now - frame.passed < self.deadline:
            self.reorder = min(self.deadline, max(self.reorder, 1.5 * (now - frame.passed)))
