"""What a viewer does to the network and to the codec: the situation, as a value, as a query, and presets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlencode

from lrae.codec.types import LAYOUTS
from lrae.errors import ConfigError

FEC = ("policy", "off", "on")
TRACES = ("", "call")  # webrtc/traces/NAME.csv
LIMITS = {"loss": (0.0, 1.0), "burst": (1.0, 100.0), "delay_ms": (0.0, 500.0), "bitrate_kbps": (50, 5000)}
CHOICES = {"fec": FEC, "layout": LAYOUTS, "trace": TRACES}
WORDS = {"1": True, "true": True, "on": True, "yes": True, "0": False, "false": False, "off": False, "no": False}


@dataclass(frozen=True)
class Situation:
    """loss: share of datagrams lost, 0 to 1, each way. burst: datagrams lost in a row, on average; 1: independently.
    delay_ms: one way. bitrate_kbps: of everything that a sender sends, headers of UDP and IP included.

    fec: "policy" (each sender chooses), "off", or "on" (half as many parity packets as others). imputer, resync: LRAE's
    (without the imputer, what is lost stays as in the last picture; without resync, the sender reckons as if all had
    arrived). layout: LRAE's. paused: no new frames. trace: name of losses over time (webrtc/traces) that
    come on top, or "".
    """

    loss: float = 0.0
    burst: float = 1.0
    delay_ms: float = 40.0  # from one city to another
    bitrate_kbps: int = 600
    fec: str = "policy"
    imputer: bool = True
    resync: bool = True
    layout: str = LAYOUTS[0]
    paused: bool = False
    trace: str = ""

    def __post_init__(self):
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ConfigError(f"{name} {value:g} is not between {low:g} and {high:g}")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} {str(getattr(self, name))[:40]!r}: choose from {', '.join(known)}")

    def to_query(self) -> str:
        """A URL's query that parse() reads: what differs from the defaults."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return urlencode({name: int(v) if isinstance(v, bool) else v for name, v in values.items()})


def parse(mapping: Mapping[str, Any]) -> Situation:
    """From a query's or a JSON object's fields; those that are missing have their defaults. Raises ConfigError."""
    known = {f.name: f.default for f in fields(Situation)}
    if unknown := set(mapping) - set(known):
        raise ConfigError(f"unknown: {', '.join(sorted(map(repr, unknown)))[:100]}; known: {', '.join(known)}")
    return Situation(**{name: _value(name, known[name], value) for name, value in mapping.items()})


def _value(name: str, default: Any, value: Any) -> Any:
    """A value of the type that the default has."""
    if isinstance(default, bool):
        value = WORDS.get(value.lower(), value) if isinstance(value, str) else value
        if not isinstance(value, bool):
            raise ConfigError(f"{name} {str(value)[:40]!r}: 1 or 0")
        return value
    if isinstance(default, str):
        if not isinstance(value, str):
            raise ConfigError(f"{name} is a word")
        return value
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        return round(number) if isinstance(default, int) else number
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{name} {str(value)[:40]!r} is not a number") from None


PRESETS = {
    "clean": Situation(),
    "cafe-wifi": Situation(loss=0.05, burst=3, delay_ms=20),
    "lte": Situation(loss=0.01, burst=2, delay_ms=45, bitrate_kbps=800),
    "tunnel": Situation(loss=0.3, burst=25, delay_ms=60, bitrate_kbps=500),
    "call-trace": Situation(delay_ms=40, trace="call"),
}
