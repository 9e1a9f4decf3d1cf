"""How fast a link carries bytes: unlimited, a fixed rate, a recorded rate, or Mahimahi opportunities.

A capacity is an immutable value; `capacity.server()` is one run of it, a FIFO that starts idle at time 0.
Time is in whole nanoseconds and work in integers, so departures are exact and never drift.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from lrae.channel.trace import alphartc_steps, shown, trace_lines
from lrae.errors import ConfigError, TraceError

NS = 1_000_000_000
_NS_PER_MS = 1_000_000
MAX_MBPS = 1e6
OPPORTUNITY_BYTES = 1504  # Mahimahi's PACKET_SIZE: an MTU of 1500 and the 4 bytes of its TUN header


class Server(Protocol):
    def depart(self, arrival: int, size: int) -> int:
        """When the last byte of a datagram leaves that joins the queue at `arrival` (ns; never decreasing).

        size: bytes. Returns ns, >= arrival and >= the departure of the one before.
        """


class Capacity(Protocol):
    @property
    def mean_kbps(self) -> float:
        """Long-run kbit/s; inf if unlimited."""

    def server(self) -> Server | None:
        """A fresh FIFO, or None if bytes take no time and there is no queue."""


@dataclass(frozen=True)
class Unlimited:
    """Bytes take no time, nothing queues."""

    mean_kbps = math.inf

    def server(self) -> None:
        return None

    def __str__(self) -> str:
        return "unlimited"


@dataclass(frozen=True)
class FixedRate:
    """kbps: kbit/s (1 kbit = 1000 bits)."""

    kbps: float

    def __post_init__(self):
        if not 0.001 <= self.kbps <= MAX_MBPS * 1000:
            raise ConfigError(f"rate {self.kbps:g} kbit/s is not between 0.001 and {MAX_MBPS * 1000:g}")

    @property
    def mean_kbps(self) -> float:
        return self.kbps

    def server(self) -> Server:
        return _FluidServer((NS,), (round(self.kbps * 1000),))

    def __str__(self) -> str:
        return f"{self.kbps:g}"


@dataclass(frozen=True)
class RateTrace:
    """A rate that changes in steps and starts over at its end.

    ends_ns: when each step ends, from the trace's beginning, strictly increasing. bits_per_s: of each step. kind, name:
    what parse_rate reads.
    """

    ends_ns: tuple[int, ...] = field(repr=False)
    bits_per_s: tuple[int, ...] = field(repr=False)
    name: str = ""
    kind: str = "trace"

    @property
    def mean_kbps(self) -> float:
        starts = (0, *self.ends_ns)
        bits = sum(r * (b - a) for r, (a, b) in zip(self.bits_per_s, itertools.pairwise(starts), strict=True))
        return bits / self.ends_ns[-1] / 1000

    def server(self) -> Server:
        return _FluidServer(self.ends_ns, self.bits_per_s)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True)
class MahimahiTrace:
    """Moments at which the link carries up to 1504 bytes; the list starts over after its last moment.

    As in Mahimahi's LinkQueue (src/frontend/link_queue.cc): small datagrams share an opportunity, a large one
    goes on in the next, an opportunity that finds the queue empty is gone, and so is one at the very moment
    of arrival. ms: never decreasing, the last one > 0.
    """

    ms: tuple[int, ...] = field(repr=False)
    name: str = ""

    @property
    def mean_kbps(self) -> float:
        return len(self.ms) * OPPORTUNITY_BYTES * 8 / self.ms[-1]

    def server(self) -> Server:
        return _OpportunityServer(self.ms)

    def __str__(self) -> str:
        return f"mahimahi:{self.name}"


class _FluidServer:
    """Serves bits at a stepwise constant rate. Work is counted in bit·ns/s = 1e-9 bits, exactly."""

    def __init__(self, ends_ns: tuple[int, ...], bits_per_s: tuple[int, ...]):
        self._times = (0, *ends_ns)
        self._rates = bits_per_s
        spans = itertools.pairwise(self._times)
        steps = (rate * (b - a) for rate, (a, b) in zip(bits_per_s, spans, strict=True))
        self._work = tuple(itertools.accumulate(steps, initial=0))  # that the link could do until each time
        self._done = 0  # work after which everything accepted so far has left

    def depart(self, arrival: int, size: int) -> int:
        self._done = max(self._done, self._work_until(arrival)) + size * 8 * NS
        return max(arrival, self._time_of(self._done))

    def _work_until(self, time: int) -> int:
        rounds, rest = divmod(time, self._times[-1])
        step = bisect_right(self._times, rest) - 1
        return rounds * self._work[-1] + self._work[step] + self._rates[step] * (rest - self._times[step])

    def _time_of(self, work: int) -> int:
        """The earliest time (rounded up to whole ns) by which the link could have done this much work."""
        rounds, rest = divmod(work - 1, self._work[-1])
        step = bisect_left(self._work, rest + 1) - 1
        inside = -((self._work[step] - rest - 1) // self._rates[step])
        return rounds * self._times[-1] + self._times[step] + inside


class _OpportunityServer:
    def __init__(self, ms: tuple[int, ...]):
        self._ms = ms
        self._next = -1  # opportunity in which the datagram accepted last ends, counted through all rounds
        self._left = 0  # bytes still free in it

    def _time(self, index: int) -> int:
        rounds, i = divmod(index, len(self._ms))
        return (rounds * self._ms[-1] + self._ms[i]) * _NS_PER_MS

    def depart(self, arrival: int, size: int) -> int:
        if self._next < 0 or self._time(self._next) <= arrival:
            rounds, rest = divmod(arrival, self._ms[-1] * _NS_PER_MS)
            self._next = rounds * len(self._ms) + bisect_right(self._ms, rest // _NS_PER_MS)
            self._left = OPPORTUNITY_BYTES
        more = max(0, -((self._left - size) // OPPORTUNITY_BYTES))
        self._next += more
        self._left += more * OPPORTUNITY_BYTES - size
        return self._time(self._next)


def read_mahimahi_trace(path: str) -> MahimahiTrace:
    """One integer per line: ms of a delivery opportunity. Raises TraceError with file and line."""
    ms: list[int] = []
    for number, text in trace_lines(path):
        if not (text.isascii() and text.isdigit() and len(text) <= 12):
            raise TraceError(f"{path}, line {number}: {shown(text)} is not a whole number of milliseconds")
        if ms and int(text) < ms[-1]:
            raise TraceError(f"{path}, line {number}: {text} ms is earlier than the line before")
        ms.append(int(text))
    if ms[-1] == 0:
        raise TraceError(f"{path}, line {number}: the trace lasts 0 ms")
    return MahimahiTrace(tuple(ms), path)


def read_rate_trace(path: str) -> RateTrace:
    """Two columns, seconds and Mbit/s, split by spaces, tabs or a comma: FCC, Norway 3G, Oboe, Puffer traces.

    As Pensieve's simulator reads them (sim/fixed_env.py): a line's rate holds from the line before until the
    line's own time, so the first line only says when the trace begins. Raises TraceError with file and line.
    """
    ends: list[int] = []
    rates: list[int] = []
    begin = None
    for number, text in trace_lines(path):
        try:
            seconds, mbps = map(float, text.replace(",", " ").split())
        except ValueError:
            raise TraceError(f"{path}, line {number}: {shown(text)} is not 'seconds Mbit/s'") from None
        if not (abs(seconds) <= 1e10 and 0 <= mbps <= MAX_MBPS):
            raise TraceError(f"{path}, line {number}: {shown(text)} is out of range")
        if begin is None:
            begin = seconds
            continue
        end = round((seconds - begin) * NS)
        if end <= (ends[-1] if ends else 0):
            raise TraceError(f"{path}, line {number}: time {seconds:g} s is not after the line before")
        ends.append(end)
        rates.append(round(mbps * 1e6))
    if not any(rates):
        raise TraceError(f"{path}: no capacity at all (two lines or more, and a rate above 0, are needed)")
    return RateTrace(tuple(ends), tuple(rates), path)


def read_alphartc_trace(path: str) -> RateTrace:
    """OpenNetLab's AlphaRTC JSON: uplink.trace_pattern is a list of {duration: ms, capacity: kbit/s}.

    Other keys of a step (loss, rtt, jitter) say nothing about capacity and are not used. Some files found in the
    wild have bit/s instead; those are refused as out of range. Raises TraceError with file and step.
    """
    ends: list[int] = []
    rates: list[int] = []
    for number, duration, step in alphartc_steps(path):
        capacity = step.get("capacity")
        if type(capacity) not in (int, float) or not 0 <= capacity <= MAX_MBPS:
            raise TraceError(
                f"{path}, step {number}: expected `capacity`, 0 to {MAX_MBPS:g} kbit/s (more: is it in bit/s?)"
            )
        ends.append((ends[-1] if ends else 0) + duration)
        rates.append(round(capacity * 1000))
    if not any(rates):
        raise TraceError(f"{path}: no capacity at all")
    return RateTrace(tuple(ends), tuple(rates), path, "alphartc")


def read_raca_trace(path: str) -> RateTrace:
    """A phone's log of Raca et al., "Beyond throughput, the next generation: a 5G dataset with channel and context
    metrics" (MMSys 2020): CSV with the columns Timestamp (2019.12.14_10.16.30) and DL_bitrate (kbit/s received).

    A row's rate holds until the next row's time, rows of one second are averaged, a clock that steps back stands still,
    the last second lasts one. Such a log is a capacity where the phone downloaded all the time (folder Download);
    while it watched films, it is what they needed. Raises TraceError with file and line.
    """
    lines = trace_lines(path)
    number, text = next(lines)
    header = [name.strip() for name in text.split(",")]
    if not {"Timestamp", "DL_bitrate"} <= set(header):
        raise TraceError(f"{path}, line {number}: the header must name Timestamp and DL_bitrate")
    columns = header.index("Timestamp"), header.index("DL_bitrate")
    seconds: list[tuple[int, list[float]]] = []  # (since the first row, kbit/s of its rows)
    begin = None
    for number, text in lines:
        cells = text.split(",")
        stamp, kbps = (cells[column].strip() if column < len(cells) else "" for column in columns)
        try:
            time, rate = datetime.strptime(stamp, "%Y.%m.%d_%H.%M.%S"), float(kbps)
        except ValueError:
            what = f"{shown(stamp)}, {shown(kbps)} are not a time and kbit/s"
            raise TraceError(f"{path}, line {number}: {what}") from None
        if not 0 <= rate <= MAX_MBPS * 1000:
            raise TraceError(f"{path}, line {number}: {shown(kbps)} kbit/s is out of range")
        begin = begin or time
        since = round((time - begin).total_seconds())
        if not seconds or since > seconds[-1][0]:
            seconds.append((since, []))
        seconds[-1][1].append(rate)
    rates = tuple(round(1000 * sum(kbps) / len(kbps)) for _, kbps in seconds)
    if not any(rates):
        raise TraceError(f"{path}: no capacity at all")
    starts = [since for since, _ in seconds]
    return RateTrace(tuple(NS * end for end in (*starts[1:], starts[-1] + 1)), rates, path, "raca")


_READERS = {
    "mahimahi": read_mahimahi_trace,
    "trace": read_rate_trace,
    "alphartc": read_alphartc_trace,
    "raca": read_raca_trace,
}


def parse_rate(text: str) -> Capacity:
    """`unlimited`, kbit/s, or `mahimahi:`, `trace:`, `alphartc:` or `raca:FILE`. Raises ConfigError or TraceError."""
    text = text.strip()
    kind, colon, rest = text.partition(":")
    if text == "unlimited":
        return Unlimited()
    if colon and kind in _READERS:
        return _READERS[kind](rest)
    try:
        return FixedRate(float(text))
    except ValueError:
        files = ", ".join(f"{kind}:FILE" for kind in _READERS)
        raise ConfigError(f"rate {shown(text)}: expected unlimited, a number of kbit/s, {files}") from None
