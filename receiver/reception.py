"""One stream's media as it comes in: arrivals, parity, frames in order, and the reports on all of that."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace

from lrae.codec.fec import FecDecoder, Parity, Recovered
from lrae.codec.wire import MAX_REPORTED, Config, DataPacket, Feedback, Stats
from lrae.codec.wire.feedback import WHOLE, bitmap
from lrae.codec.wire.serial import unwrap
from lrae.errors import WireError
from lrae.receiver.arrivals import ArrivalLog
from lrae.receiver.jitter import JitterBuffer, ReadyFrame

# seconds between reports: while an intra frame is wanted, while nothing happens, while datagrams come; never less than
FEEDBACK_WAITING, FEEDBACK_IDLE, FEEDBACK_ARRIVALS, FEEDBACK_LEAST = 0.1, 0.25, 0.075, 0.01
FEC_HISTORY = 24  # frames that parity may still speak of
# a decoder that falls further behind drops everything up to an intra frame
MAX_UNDECIDED, MAX_BEHIND = 32, 1.0  # frames; seconds, of a stream in real time
CAUGHT_UP = 2  # frames: now an intra frame is welcome again


class Reception:
    """From the packets of a session to frames that are due, and to Feedback and Stats.

    counts: of the whole receiver, by reason; what is dropped here is counted there. early: a frame's fate is told when
    it goes to the decoder, as what is intact decodes; else when the decoder has said what it could use. recovered:
    packets that parity brought back.
    """

    def __init__(self, config: Config, deadline: float, counts: Counter[str], now: float, early: bool = True) -> None:
        self.recovered = 0
        self._early = early
        self._config, self._counts = config, counts
        self._before = counts.copy()
        self._buffer = JitterBuffer(deadline, config.realtime)
        self._fec = FecDecoder()
        self._arrivals = ArrivalLog()
        self._fates: deque[int] = deque(maxlen=MAX_REPORTED)  # newest first
        self._undecided: deque[float] = deque()  # when frames went to the shell that it has not decoded yet
        self._overloaded = False
        self._fated = 0  # unbounded number of the newest fate
        self._number = 0  # unbounded number of the newest frame heard of
        self._packets = self._shown = self._partial = self._lost = 0
        self._feedback_at, self._feedback_last = now, float("-inf")

    # packets

    def arrived(self, counter: int, now: float) -> None:
        """A datagram of the session, whatever is in it."""
        self._arrivals.add(counter, now)
        if not self._buffer.wants_intra:
            self._feedback_at = min(self._feedback_at, max(now, self._feedback_last + FEEDBACK_ARRIVALS))

    def on_data(self, packet: DataPacket, body: bytes, counter: int, now: float) -> None:
        """A DATA packet, the body that it came in, and the counter of its datagram."""
        if self._overloaded:
            self._counts["overload"] += 1
            return
        self._packets += 1
        number = unwrap(packet.header.number, self._number)
        if self._add(packet, counter, now) and number > self._number:
            self._number = number
            if packet.wait and self._buffer.next is not None and self._buffer.next < number:
                self._feedback_at = min(self._feedback_at, now)  # so that what is missing is sent again in time
        self._mended(self._fec.add(number, packet.index, body), now)

    def on_parity(self, packet: Parity, now: float) -> None:
        """A PARITY packet."""
        if not self._overloaded and not self._buffer.wants_intra:
            number = unwrap(packet.number, self._number)
            self._mended(self._fec.add_parity(replace(packet, number=number)), now)

    def _mended(self, found: list[Recovered], now: float) -> None:
        """Packets that parity brought back take the way of those that arrived."""
        for lost in found:
            try:
                packet = DataPacket.parse_body(self._config.stream, lost.packet)
            except WireError:
                self._counts["bad-parity"] += 1
                continue
            if (packet.index, unwrap(packet.header.number, lost.number)) != (lost.index, lost.number):
                self._counts["bad-parity"] += 1
            else:
                self.recovered += self._add(packet, None, now)

    def _add(self, packet: DataPacket, counter: int | None, now: float) -> bool:
        reason = self._buffer.add(packet, now, counter)
        if reason is not None:
            self._counts[reason] += 1
        return reason is None

    # frames

    def pop(self, now: float) -> ReadyFrame | None:
        """The next frame that is due."""
        frame = self._buffer.pop(now)
        if frame is not None:
            self._undecided.append(now)
            self._fec.forget(frame.number - FEC_HISTORY)
            if self._early:
                self._tell(frame, frozenset(frame.payloads), now)
        return frame

    def _tell(self, frame: ReadyFrame, used: frozenset[int], now: float) -> None:
        if frame.number != self._fated + 1:
            self._fates.clear()
        self._fated = frame.number
        whole = frame.header is not None and len(used) == frame.header.packets
        self._fates.appendleft(WHOLE if whole else bitmap(used))
        self._feedback_at = now

    def set_deadline(self, seconds: float) -> None:
        """Frames not released yet have another deadline."""
        self._buffer.deadline = seconds

    def mend(self, now: float) -> tuple[ReadyFrame, ...]:
        """Frames that were released incomplete, as they are now that more has come, by number."""
        return self._buffer.mend(now)

    def decoded(self, frame: ReadyFrame, used: frozenset[int], now: float) -> None:
        """The payloads that took part in decoding a frame: in order, once for each that pop() gave."""
        self._shown += 1
        self._lost += not used
        self._partial += 0 < len(used) < frame.header.packets if frame.header else 0
        self._undecided.popleft()
        if not self._early:
            self._tell(frame, used, now)
        elif used != frozenset(frame.payloads):
            self._start_anew(now)
        self._overloaded = self._overloaded and len(self._undecided) > CAUGHT_UP

    def _start_anew(self, now: float) -> None:
        """What was told is not true, as a payload was intact but malformed: only an intra frame makes that good."""
        self._buffer.reset()
        self._fates.clear()
        self._feedback_at = now

    def decoded_again(self, number: int, used: frozenset[int], now: float) -> None:
        """A frame of mend(), or one after it, has been decoded once more."""
        if 0 <= self._fated - number < len(self._fates):
            self._fates[self._fated - number] = bitmap(used)
            self._feedback_at = now

    def watch_load(self, now: float) -> None:
        """A decoder that is too slow gets no more until it has caught up."""
        behind = now - self._undecided[0] if self._undecided and self._config.realtime else 0.0
        if len(self._undecided) >= MAX_UNDECIDED or behind > MAX_BEHIND:
            self._overloaded = True
            self._buffer.reset()

    def finish(self, next_frame: int, now: float) -> None:
        """The sender has said its end."""
        self._buffer.finish(next_frame, now)

    @property
    def finished(self) -> bool:
        return self._buffer.finished and not self._undecided

    # reports

    def due(self) -> float:
        """When pop() or feedback() wants to be called."""
        due = self._buffer.due()
        report = max(self._feedback_at, self._feedback_last + FEEDBACK_LEAST)
        return report if due is None else min(due, report)

    def feedback(self, now: float) -> Feedback | None:
        """A report, if it is time for one."""
        if now < self._feedback_at or now < self._feedback_last + FEEDBACK_LEAST:
            return None
        self._feedback_last = now
        self._feedback_at = now + (FEEDBACK_WAITING if self._buffer.wants_intra else FEEDBACK_IDLE)
        return Feedback(
            self._config.stream,
            intra_wanted=self._buffer.wants_intra and not self._overloaded,
            newest=self._fated & 0xFFFF,
            used=tuple(self._fates),
            **self._arrivals.report(now),
        )

    def report_soon(self, now: float) -> None:
        self._feedback_at = now

    @property
    def stats(self) -> Stats:
        """Counts since the stream began."""
        late = self._counts["late"] - self._before["late"]
        dropped = sum((self._counts - self._before).values())
        return Stats(
            self._config.stream, self._shown, self._partial, self._lost, self._packets, late, dropped, self.recovered
        )
