"""Losses that follow the clock: what a datagram meets depends on when it is sent, not on how many came before it.

A model is an immutable value; `model.lost_at(rng)` is one run of it: a function of the ns since the link began, asked
once per datagram and in order, True where the datagram is lost. Traces start over at their end.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lrae.channel.loss_trace import LossTrace, lost_cell
from lrae.channel.trace import alphartc_steps, shown, trace_lines
from lrae.errors import TraceError

TIME_COLUMNS = {"arrival_ms": 1e6, "time_ms": 1e6, "time_s": 1e9, "time": 1e9}  # and their ns
LONGEST = 1e10  # seconds
ASSUMED_INTERVAL = 10_000_000  # ns between datagrams, where a model of time is asked without a clock


class Rng(Protocol):
    """What a model draws from: random.Random and numpy.random.Generator both fit."""

    def random(self) -> float: ...


@dataclass(frozen=True)
class TimedLosses:
    """Recorded datagrams and when each was sent or arrived: a datagram meets the fate of the newest recorded one.

    times_ns: since the first, never decreasing, one for each of pattern (0 = arrived, 1 = lost). period_ns: after which
    the trace starts over, above the last time.
    """

    times_ns: tuple[int, ...] = field(repr=False)
    pattern: bytes = field(repr=False)
    period_ns: int = 0
    name: str = ""

    @property
    def mean(self) -> float:
        """Share of the time in which datagrams are lost."""
        spans = np.diff([*self.times_ns, self.period_ns])
        return float(spans @ np.frombuffer(self.pattern, np.uint8) / self.period_ns)

    @property
    def mean_burst(self) -> float:
        """Of the recorded datagrams."""
        return LossTrace(self.pattern).mean_burst

    def outcomes(self, rng: Rng) -> Iterator[bool]:
        """Where there is no clock: the recorded datagrams. rng is not drawn from."""
        return LossTrace(self.pattern).outcomes(rng)

    def lost_at(self, rng: Rng) -> Callable[[int], bool]:
        """rng is not drawn from."""
        return lambda now: bool(self.pattern[bisect_right(self.times_ns, now % self.period_ns) - 1])

    def __str__(self) -> str:
        return f"timed:{self.name}"


@dataclass(frozen=True)
class LossSteps:
    """A loss rate that changes in steps. ends_ns: when each step ends, strictly increasing. rates: of each, 0..1."""

    ends_ns: tuple[int, ...] = field(repr=False)
    rates: tuple[float, ...] = field(repr=False)
    name: str = ""

    @property
    def mean(self) -> float:
        """Over time."""
        return float(np.diff([0, *self.ends_ns]) @ np.array(self.rates) / self.ends_ns[-1])

    @property
    def mean_burst(self) -> float:
        """Of datagrams sent evenly and much more often than the steps change."""
        rates = np.array(self.rates)
        ends = float(np.diff([0, *self.ends_ns]) @ (rates * (1 - rates)) / self.ends_ns[-1])
        if self.mean == 0:
            return 0.0
        return self.mean / ends if ends else math.inf

    def outcomes(self, rng: Rng) -> Iterator[bool]:
        """Where there is no clock: as if a datagram were sent every 10 ms."""
        return map(self.lost_at(rng), itertools.count(0, ASSUMED_INTERVAL))

    def lost_at(self, rng: Rng) -> Callable[[int], bool]:
        return lambda now: rng.random() < self.rates[bisect_right(self.ends_ns, now % self.ends_ns[-1])]

    def __str__(self) -> str:
        return f"alphartc:{self.name}"


def read_timed_losses(path: str) -> TimedLosses:
    """A CSV whose header names columns `lost` (0/1) and one of TIME_COLUMNS, a row per datagram in the order sent.

    A time may be missing where the datagram was lost: then it lies evenly between its neighbours'. A clock that runs
    backwards (datagrams that overtook each other) stands still instead. Raises TraceError with file and line.
    """
    lines = trace_lines(path)
    number, text = next(lines)
    header = [name.strip().lower() for name in text.split(",")]
    clock = next((name for name in TIME_COLUMNS if name in header), None)
    if clock is None or "lost" not in header:
        known = ", ".join(TIME_COLUMNS)
        raise TraceError(f"{path}, line {number}: the header must name `lost` and a time ({known})")
    at, lost_at, scale = header.index(clock), header.index("lost"), TIME_COLUMNS[clock]
    pattern, times = bytearray(), []
    for number, text in lines:
        cells = text.split(",")
        pattern.append(lost_cell(path, number, cells, lost_at))
        times.append(_time_cell(path, number, cells[at].strip() if at < len(cells) else "", scale, pattern[-1]))
    clocked = np.array(times or [math.nan])
    known = np.flatnonzero(~np.isnan(clocked))
    if not known.size:
        raise TraceError(f"{path}, line {number}: no datagram with a time")
    filled = np.interp(np.arange(len(times)), known, np.maximum.accumulate(clocked[known]))
    since = np.round(filled - filled[0]).astype(np.int64)
    if since[-1] == 0:
        raise TraceError(f"{path}, line {number}: the trace lasts no time")
    period = since[-1] + since[-1] // (len(times) - 1)  # the last datagram lasts as long as they do on average
    return TimedLosses(tuple(since.tolist()), bytes(pattern), int(max(period, since[-1] + 1)), path)


def _time_cell(path: str, number: int, cell: str, scale: float, lost: int) -> float:
    """ns; nan where a lost datagram has no time."""
    if not cell and lost:
        return math.nan
    try:
        time = float(cell) * scale
    except ValueError:
        time = math.nan
    if not abs(time) <= LONGEST * 1e9:
        raise TraceError(f"{path}, line {number}: {shown(cell)} is not a time")
    return time


def read_alphartc_loss(path: str) -> LossSteps:
    """The loss rates of AlphaRTC's JSON (`loss`, 0 to 1, of each step). Raises TraceError with file and step."""
    ends: list[int] = []
    rates: list[float] = []
    for number, duration, step in alphartc_steps(path):
        rate = step.get("loss")
        if type(rate) not in (int, float) or not 0 <= rate <= 1:
            raise TraceError(f"{path}, step {number}: expected `loss`, a number from 0 to 1")
        ends.append((ends[-1] if ends else 0) + duration)
        rates.append(float(rate))
    return LossSteps(tuple(ends), tuple(rates), path)
