"""Media without a codec, a rate controller and a link, in virtual time: what came through, and how late.

    frames ─► Pacer ─► Link (shared by all flows) ─► arrivals ─► report, once a frame ─► Link ─► RateController
"""

from __future__ import annotations

import math
import random
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lrae.channel.config import LinkConfig
from lrae.channel.link import Link
from lrae.sender.congestion import Ack, RateController
from lrae.sender.pacer import Pacer

FPS = 30
HEADERS = 28  # IPv4 and UDP
LARGEST = 1200 + HEADERS  # bytes of a packet on the link
SPREAD = 0.25  # standard deviation of the logarithm of a frame's size
FINER = (1.6, *(6.4 / 7,) * 7)  # every 8th frame takes more, as the codec's do; mean 1
HORIZON = 1.0  # seconds in which all that is queued must leave, and
SKIP = 0.25  # seconds of unsent packets beyond which a new frame is skipped: as in lrae-send
SILENCE = 0.05  # seconds
REPORTED = 0.25  # seconds of arrivals in a report, so that a lost one costs little
REPORT_BYTES = 120
UNIT = 4000  # arrival times are told in 1/UNIT seconds
SKEW = 1e-4  # the receiver's clock runs so much fast
_INF = math.inf


@dataclass
class Packet:
    """sent, arrived: seconds of virtual time, arrived None if it did not. size: bytes on the link."""

    sent: float
    size: int
    frame: int
    arrived: float | None = None


@dataclass
class Flow:
    """One sender and receiver; the result of simulate() is in it.

    starts: seconds. frames: by number, seconds from capture until it was whole, inf if it was skipped or never
    was. rates: (time, bit/s) at each news. controller_seconds: real time spent in the controller.
    """

    controller: RateController
    starts: float = 0.0
    packets: list[Packet] = field(default_factory=list)
    frames: list[float] = field(default_factory=list)
    rates: list[tuple[float, float]] = field(default_factory=list)
    acks: int = 0
    controller_seconds: float = 0.0


class _Ends:
    """Source, pacer and receiver of one flow."""

    def __init__(self, flow: Flow, number: int, seed: int) -> None:
        self.flow, self.number = flow, number
        self._rng = random.Random(f"{seed}:{number}")
        self._pacer = Pacer(flow.controller.rate, HORIZON)
        self._next_frame = flow.starts
        self._next_report = flow.starts + 0.01
        self._next_silence = flow.starts + SILENCE
        self._captured: list[float] = []  # by frame
        self._missing: list[int] = []  # packets, by frame
        self._arrivals: list[tuple[float, int]] = []  # (time, counter)
        self._settled = 0  # packets below this are acked or lost

    def due(self) -> float:
        pacer = self._pacer.due()
        times = (self._next_frame, self._next_report, self._next_silence)
        return min(times) if pacer is None else min(pacer, *times)

    def step(self, now: float, link: Link) -> list[tuple[float, int]] | None:
        """Does what is due. A report, if there is one."""
        if self._next_frame <= now:
            self._capture(now)
        while item := self._pacer.pop(now):
            self._send(*item, now, link)
        if self._next_silence <= now:
            self._next_silence = now + SILENCE
            if self._settled < len(self.flow.packets):
                self._tell(self.flow.controller.on_silence, now)
        if self._next_report > now:
            return None
        self._next_report += 1 / FPS
        return self._arrivals[bisect_right(self._arrivals, (now - REPORTED, -1)) :] or None

    def _capture(self, now: float) -> None:
        number = len(self._captured)
        self._captured.append(now)
        self._next_frame = self.flow.starts + (number + 1) / FPS
        self.flow.frames.append(_INF)
        count = 0
        if self._pacer.seconds < SKIP:
            spread = math.exp(self._rng.gauss(-SPREAD * SPREAD / 2, SPREAD))
            size = round(self.flow.controller.rate / FPS / 8 * FINER[number % len(FINER)] * spread)
            count = -(-size // LARGEST)
            for k in range(count):
                piece = max(HEADERS + 16, size * (k + 1) // count - size * k // count)
                self._pacer.push((number, piece), piece)
        self._missing.append(count)

    def _send(self, frame: int, size: int, now: float, link: Link) -> None:
        counter = len(self.flow.packets)
        self.flow.packets.append(Packet(now, size, frame))
        self.flow.controller.on_sent(counter, size, now)
        link.send(self.number.to_bytes() + counter.to_bytes(4) + bytes(size - HEADERS - 5), now)

    def arrive(self, counter: int, now: float) -> None:
        packet = self.flow.packets[counter]
        packet.arrived = now
        self._arrivals.append((now, counter))
        self._missing[packet.frame] -= 1
        if self._missing[packet.frame] == 0:
            self.flow.frames[packet.frame] = now - self._captured[packet.frame]

    def hear(self, report: Sequence[tuple[float, int]], made: float, now: float) -> None:
        """News at the sender. The link keeps the order: what was overtaken is lost."""
        times = {counter: arrived for arrived, counter in report if counter >= self._settled}
        if not times:
            return
        last = max(times)
        acks = []
        for counter in range(self._settled, last + 1):
            packet, arrived = self.flow.packets[counter], times.get(counter)
            at = None if arrived is None else round((arrived * (1 + SKEW) + 1000) * UNIT) / UNIT
            acks.append(Ack(counter, packet.sent, packet.size, at))
        self._settled = last + 1
        self._next_silence = now + SILENCE
        self.flow.acks += len(acks)
        self._tell(self.flow.controller.on_acks, acks, now - self.flow.packets[last].sent - (made - times[last]), now)

    def _tell(self, call: Callable, *args) -> None:
        """args: the last one is now."""
        begin = time.perf_counter()
        call(*args)
        self.flow.controller_seconds += time.perf_counter() - begin
        self._pacer.rate = self.flow.controller.rate
        self.flow.rates.append((args[-1], self.flow.controller.rate))


def simulate(flows: Sequence[Flow], there: LinkConfig, back: LinkConfig, seconds: float, seed: int = 0) -> None:
    """Runs the flows over one link until `seconds` of virtual time."""
    link, reverse = Link(there, seed), Link(back, f"{seed}:back")
    ends = [_Ends(flow, number, seed) for number, flow in enumerate(flows)]
    reports: list[tuple[int, float, list[tuple[float, int]]]] = []  # (flow, made, arrivals)
    while True:
        arrivals = [time for time in (link.next_time(), reverse.next_time()) if time is not None]
        now = min(*(end.due() for end in ends), _INF, *arrivals)
        if now > seconds:
            return
        for at, data in link.receive(now):
            ends[data[0]].arrive(int.from_bytes(data[1:5]), at)
        for at, data in reverse.receive(now):
            number, made, report = reports[int.from_bytes(data[:4])]
            ends[number].hear(report, made, at)
        for end in ends:
            if report := end.step(now, link):
                reverse.send(len(reports).to_bytes(4) + bytes(REPORT_BYTES), now)
                reports.append((end.number, now, report))
