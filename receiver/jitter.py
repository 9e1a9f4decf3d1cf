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
REORDER_FLOOR = 0.005  # seconds
REORDER_DECAY = 0.995  # per frame: halves in about 140
OFFSET_WINDOW = 5.0  # seconds; the path's delay is the least of the last one to two windows
MENDABLE = 4  # frames released last whose late packets still count: as many decoder passes mending may cost
MEND_WITHIN = 0.05  # seconds from release; half a round trip later the sender reckons with the loss: a mend harms
MEND_PAUSE = 0.01  # seconds without another late packet: the frame is mended once, with all of them


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
class _Frame:
    """counter: of the packet that came first. passed: when and with which counter a later frame's first packet came.
    cut: how many packets are sent of it, if not all."""

    header: FrameHeader | None
    capture: float  # microseconds, unbounded
    arrived: float
    latest: float  # when its newest packet arrived that was not sent again
    counter: int | None
    wait: float = 0.0
    payloads: dict[int, bytes] = field(default_factory=dict)
    passed: tuple[float, int | None] | None = None
    released: float = 0.0
    cut: int | None = None

    @property
    def complete(self) -> bool:
        return self.header is not None and len(self.payloads) >= (self.cut or self.header.packets)


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
        self._pending: dict[int, _Frame] = {}
        self._released: deque[tuple[int, _Frame]] = deque(maxlen=2 * MAX_GAP)
        self._mended: dict[int, float] = {}  # frames to decode again, and when they got their newest packet
        self._offset = MinimumOffset()
        self._newest = 0  # unbounded references to unwrap from
        self._capture = 0
        self._released_capture = 0.0
        self._spacing = 0.0  # between captures, microseconds
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

    @property
    def incomplete(self) -> bool:
        """Something is missing of a frame that was overtaken."""
        newest = max(self._pending, default=self.next)
        whole = sum(frame.complete for number, frame in self._pending.items() if number != newest)
        return newest is not None and whole < newest - self.next

    def add(self, packet: DataPacket, now: float, counter: int | None = None) -> str | None:
        """Takes a packet; returns None, or the reason why it was dropped ("late" ones may still mend()).

        counter: of its datagram, unbounded; None for what parity gave back. It tells what was overtaken on its way,
        which is worth waiting for next time, from what was sent again.
        """
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
        if number < self.next:
            return self._late(number, packet, now, counter)
        frame = self._pending.get(number)
        if frame is None:
            frame = self._pending[number] = self._open(number, packet, now, counter)
        elif frame.header != packet.header:
            return "contradiction"
        if all(index in frame.payloads for index, _ in packet.payloads):
            return "duplicate"
        frame.payloads = {**dict(packet.payloads), **frame.payloads}
        frame.wait = max(frame.wait, packet.wait_seconds)
        frame.cut = packet.index + 1 if packet.last else frame.cut
        if self._in_order(frame, counter):
            frame.latest = now
        self._learn_reorder(frame, now, counter)
        self._offset.add(now * 1e6 - frame.capture, now)
        return None

    def pop(self, now: float) -> ReadyFrame | None:
        """The next frame if it is due, else None."""
        due = self._frame_due()
        if due is None or due > now:
            return None
        number, frame = self.next, self._pending.pop(self.next, None)
        if frame is None:
            capture = self._released_capture + self._step(number)
            frame = _Frame(None, capture, now, now, None, passed=self._overtaken(number))
        else:
            self._spacing = frame.capture - self._released_capture if self._released else 0.0
        self.next += 1
        self.reorder = max(REORDER_FLOOR, self.reorder * REORDER_DECAY)
        self._released_capture, frame.released = frame.capture, now
        self._released.append((number, frame))
        return self._ready(number, frame, now)

    def mend(self, now: float) -> tuple[ReadyFrame, ...]:
        """Frames released incomplete lately that have got more packets since, as they are now, by number."""
        due = self._mend_due()
        if due is None or due > now:
            return ()
        mended = tuple(self._ready(number, frame, now) for number, frame in self._released if number in self._mended)
        self._mended.clear()
        return mended

    def due(self) -> float | None:
        """When pop() or mend() has something, maybe in the past; None if nothing says that it ever will."""
        return min((due for due in (self._frame_due(), self._mend_due()) if due is not None), default=None)

    def finish(self, next_frame: int, now: float) -> None:
        """The sender says that no frame from `next_frame` (32 bits) on will come."""
        if self._end is None:
            self._end = unwrap(next_frame, self._newest), now

    def reset(self) -> None:
        """Forgets everything that waits; the next frame has to be intra."""
        self.next = None
        self._pending.clear()
        self._mended.clear()

    def _open(self, number: int, packet: DataPacket, now: float, counter: int | None) -> _Frame:
        capture = unwrap(packet.capture, self._capture)
        if number > self._newest or not (self._pending or self._released):
            if capture < self._capture:  # the sender's clock was set back: what we knew of the path is void
                self._offset = MinimumOffset()
            self._newest, self._capture = number, capture
        for other, frame in self._pending.items():
            if other < number and frame.passed is None:
                frame.passed = now, counter
        passed = self._overtaken(number)
        return _Frame(packet.header, capture, passed[0] if passed else now, now, counter, passed=passed)

    def _overtaken(self, number: int) -> tuple[float, int | None] | None:
        """When, and by which counter, a frame that is not pending was."""
        later = [frame for other, frame in self._pending.items() if other > number]
        first = min(later, key=lambda frame: frame.arrived, default=None)
        return None if first is None else (first.arrived, first.counter)

    def _frame_due(self) -> float | None:
        if self.next is None:
            return None
        frame = self._pending.get(self.next)
        if frame is not None:
            if frame.complete:
                return frame.arrived
            if frame.passed is None:
                return self._deadline(frame)
            return min(self._deadline(frame), frame.passed[0] + max(self.reorder, frame.wait))
        if self._pending:
            number = min(self._pending)
            later = self._pending[number]
            missed = max(0.0, (number - self.next) * self._step(self.next) * 1e-6) if self._realtime else 0.0
            hopeless = self._overtaken(self.next)[0] + max(self.reorder, later.wait)
            return min(self._deadline(later) - missed, hopeless)
        if self._end is not None and 0 < self._end[0] - self.next <= MAX_GAP:
            return self._end[1] + self.reorder
        return None

    def _mend_due(self) -> float | None:
        if not self._mended:
            return None
        whole = (number for number, frame in self._released if number in self._mended and frame.complete)
        if next(whole, None) is not None:
            return float("-inf")
        return min(self._mended.values()) + MEND_PAUSE

    def _deadline(self, frame: _Frame) -> float:
        deadline = self._earliest(frame.capture, frame.arrived) + self.deadline
        return min(frame.arrived + self.deadline, max(deadline, frame.latest + FLOWING))

    def _earliest(self, capture: float, arrived: float) -> float:
        return (capture + self._offset.value) * 1e-6 if self._realtime else arrived

    def _ready(self, number: int, frame: _Frame, now: float) -> ReadyFrame:
        delay = max(0.0, now - self._earliest(frame.capture, frame.arrived))
        return ReadyFrame(number, frame.header, frame.payloads, frame.capture * 1e-6, delay)

    def _step(self, number: int) -> float:
        """Microseconds from the frame before to a lost one."""
        if not self._pending:
            return self._spacing
        later = min(self._pending)
        return (self._pending[later].capture - self._released_capture) / (later - number + 1)

    def _late(self, number: int, packet: DataPacket, now: float, counter: int | None) -> str:
        frame = next((frame for other, frame in self._released if other == number), None)
        if frame is None:
            return "late"
        if frame.header not in (None, packet.header):
            return "contradiction"
        if all(index in frame.payloads for index, _ in packet.payloads):
            return "duplicate"
        self._learn_reorder(frame, now, counter)
        if number >= self.next - MENDABLE and now - frame.released <= MEND_WITHIN:
            frame.header = packet.header
            frame.payloads = {**dict(packet.payloads), **frame.payloads}  # what was handed out stays as it is
            self._mended[number] = now
        return "late"

    def _in_order(self, frame: _Frame, counter: int | None) -> bool:
        """Whether a packet of this frame was sent before anything of a later one, as far as that can be told."""
        if frame.passed is None:
            return True
        return counter is not None and frame.passed[1] is not None and counter < frame.passed[1]

    def _learn_reorder(self, frame: _Frame, now: float, counter: int | None) -> None:
        if frame.passed is None or not self._in_order(frame, counter):
            return
        late = now - frame.passed[0]
        if late < self.deadline:
            self.reorder = min(self.deadline, max(self.reorder, 1.5 * late))
