"""The links that rate controllers are tried on: made up here, or recorded."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from pathlib import Path

from lrae.channel.config import NO_LOSS
from lrae.channel.loss import Bernoulli, LossModel
from lrae.channel.rate import NS, Capacity, FixedRate, RateTrace, parse_rate
from lrae.errors import ConfigError, TraceError

DELAY_MS = 20.0  # each way
SECONDS = 120.0  # of a recorded link, at most
# folder, pattern, how parse_rate calls the form, how many at most
RECORDED = (
    ("mahimahi", "*LTE*", "mahimahi", 100),
    ("mahimahi", "*UMTS*", "mahimahi", 100),
    ("mahimahi", "*EVDO*", "mahimahi", 100),
    ("pensieve_norway3g", "*.log", "trace", 3),
    ("fcc", "*.log", "trace", 3),
    ("oboe", "*.txt", "trace", 3),
    ("puffer", "*.txt", "trace", 3),
    ("alphartc", "*.json", "alphartc", 100),
)


@dataclass(frozen=True)
class Trial:
    """delay_ms: each way. loss: both ways. outage: (begin, end) in seconds."""

    name: str
    rate: Capacity
    seconds: float
    delay_ms: float = DELAY_MS
    loss: LossModel = NO_LOSS
    outage: tuple[float, float] | None = None


def steps(*pieces: tuple[float, float]) -> RateTrace:
    """pieces: (seconds, kbit/s) one after the other."""
    ends = itertools.accumulate(round(seconds * NS) for seconds, _ in pieces)
    return RateTrace(tuple(ends), tuple(round(kbps * 1000) for _, kbps in pieces), "steps")


def walk(seconds: float, seed: int = 0) -> RateTrace:
    """0.4 to 8 Mbit/s, every 100 ms another (log-normal, 12 %), reflected at the ends."""
    rng = random.Random(seed)
    low, high = math.log(400), math.log(8000)
    at, pieces = math.log(2000), []
    for _ in range(round(10 * seconds)):
        at += rng.gauss(0, 0.12)
        at = 2 * low - at if at < low else 2 * high - at if at > high else at
        pieces.append((0.1, math.exp(at)))
    return steps(*pieces)


def made_up() -> list[Trial]:
    """Links that need no file."""
    down_up = steps((10, 3000), (10, 1000), (10, 4000), (10, 500), (10, 2000), (10, 8000))
    return [
        Trial("steady 2 Mbit/s", FixedRate(2000), 30),
        Trial("steady 300 kbit/s", FixedRate(300), 30),
        Trial("steady 2 Mbit/s, RTT 200 ms", FixedRate(2000), 30, delay_ms=100),
        Trial("steps of 0.5 to 8 Mbit/s", down_up, 60),
        Trial("outage of 2 s in 3 Mbit/s", steps((15, 3000), (2, 0), (15, 3000)), 32, outage=(15, 17)),
        Trial("random walk, 0.4 to 8 Mbit/s", walk(60), 60),
        Trial("20 % random loss, 3 Mbit/s", FixedRate(3000), 60, loss=Bernoulli(0.2)),
        Trial("50 % random loss, 3 Mbit/s", FixedRate(3000), 60, loss=Bernoulli(0.5)),
    ]


def recorded(folder: Path) -> tuple[list[Trial], list[str]]:
    """A choice of the recordings below `folder`, laid out as their authors' sets (mahimahi/, fcc/, oboe/, …), and
    why others are refused. ConfigError: there are none."""
    trials, refused = [], []
    root = folder / "bandwidth" if (folder / "bandwidth").is_dir() else folder
    for name, pattern, form, most in RECORDED:
        files = sorted(root.glob(f"{name}/{pattern}"))
        for file in files[:: -(-len(files) // most) or 1]:
            try:
                rate = parse_rate(f"{form}:{file}")
            except TraceError as error:
                refused.append(str(error))
                continue
            trials.append(Trial(f"{name}/{file.name}", rate, min(SECONDS, duration(rate))))
    if not trials:
        raise ConfigError(f"{folder}: no trace of {', '.join(dict.fromkeys(row[0] for row in RECORDED))} below it")
    return trials, refused


def duration(rate: Capacity) -> float:
    """Seconds until a recording starts over."""
    return rate.ms[-1] / 1000 if hasattr(rate, "ms") else rate.ends_ns[-1] / NS
