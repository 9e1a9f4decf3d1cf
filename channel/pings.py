"""Recorded round trips: the delay of a path as it changes from second to second."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from statistics import median

from lrae.channel.trace import shown, trace_lines
from lrae.errors import TraceError

MAX_RTT_MS = 60_000.0
LONGEST = 1e10  # seconds


@dataclass(frozen=True)
class Pings:
    """A round trip holds until the next one; the trace starts over a second after its last.

    starts_ns: since the first, strictly increasing. rtts_ms: one for each.
    """

    starts_ns: tuple[int, ...] = field(repr=False)
    rtts_ms: tuple[float, ...] = field(repr=False)
    name: str = ""

    def one_way_ms(self, now: int) -> float:
        """Half of the round trip that holds so many ns after the link began."""
        at = now % (self.starts_ns[-1] + 1_000_000_000)
        return self.rtts_ms[bisect_right(self.starts_ns, at) - 1] / 2

    def __str__(self) -> str:
        return f"{self.name} (median {median(self.rtts_ms):.0f} ms)"


def read_pings(path: str) -> Pings:
    """CSV: seconds and ms of a round trip, in columns whose names begin with `timestamp` and `rtt`, or in the first two
    where there is no header. Raises TraceError with file and line."""
    lines = trace_lines(path)
    number, text = next(lines)
    names = [name.strip().lower() for name in text.split(",")]
    columns: list[int] = [0, 1]
    starts: list[int] = []
    rtts: list[float] = []
    begin = None
    if any(name.startswith(("timestamp", "rtt")) for name in names):
        found = [[i for i, name in enumerate(names) if name.startswith(word)] for word in ("timestamp", "rtt")]
        if not all(found):
            raise TraceError(f"{path}, line {number}: the header must name a timestamp and an rtt")
        columns = [first for first, *_ in found]
    else:
        begin = _row(path, number, text, columns, starts, rtts, begin)
    for number, text in lines:
        begin = _row(path, number, text, columns, starts, rtts, begin)
    if not starts:
        raise TraceError(f"{path}, line {number}: nothing below the header")
    return Pings(tuple(starts), tuple(rtts), path)


def _row(
    path: str, number: int, text: str, columns: list[int], starts: list[int], rtts: list[float], begin: float | None
) -> float:
    """Appends what a line says; returns the time of the first one, seconds."""
    cells = text.split(",")
    try:
        seconds, rtt = (float(cells[column]) for column in columns)
    except (ValueError, IndexError):
        raise TraceError(f"{path}, line {number}: {shown(text)} is not 'seconds,ms'") from None
    if not (abs(seconds) <= LONGEST and 0 <= rtt <= MAX_RTT_MS):
        raise TraceError(f"{path}, line {number}: {shown(text)} is out of range")
    begin = seconds if begin is None else begin
    start = round((seconds - begin) * 1e9)
    if starts and start <= starts[-1]:
        raise TraceError(f"{path}, line {number}: time {seconds:g} s is not after the line before")
    starts.append(start)
    rtts.append(rtt)
    return begin
