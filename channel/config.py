"""What one direction of a channel does to datagrams, and named channels as TOML presets."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, fields, replace
from importlib.resources import files

from lrae.channel.loss import Bernoulli, LossModel, check_probability, parse_loss
from lrae.channel.pings import Pings, read_pings
from lrae.channel.rate import Capacity, Unlimited, parse_rate
from lrae.errors import ConfigError

NO_LOSS = Bernoulli(0.0)
UNLIMITED = Unlimited()
MAX_DELAY_MS = 60_000.0
MAX_QUEUE_BYTES = 1 << 28


@dataclass(frozen=True)
class LinkConfig:
    """One direction. A datagram passes, in this order: queue and rate, loss, corruption, duplication, delay.

    jitter_ms: mean of an exponential delay on top of delay_ms, cut off at 5 times the mean; delay_ms stays
        the least delay. Jitter alone never reorders: a datagram waits for the one before it.
    pings: recorded round trips, half of which is added to delay_ms as it was when the datagram left the queue.
    reorder: share of datagrams that take a detour of up to reorder_ms more (uniform), so later ones overtake.
    duplicate: share delivered twice, each copy with a delay of its own.
    corrupt: share in which one to three bytes are changed.
    queue_bytes: drop-tail limit where the rate is limited; a datagram counts until its last byte has left.
    overhead_bytes: added to each datagram in queue and rate (28: IPv4 and UDP headers).
    """

    loss: LossModel = NO_LOSS
    rate: Capacity = UNLIMITED
    queue_bytes: int = 64 * 1024
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    reorder: float = 0.0
    reorder_ms: float = 20.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    overhead_bytes: int = 28
    pings: Pings | None = None

    def __post_init__(self):
        for name in ("delay_ms", "jitter_ms", "reorder_ms"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= MAX_DELAY_MS):
                raise ConfigError(f"{name} {value:g} is not between 0 and {MAX_DELAY_MS:g} milliseconds")
        for name in ("reorder", "duplicate", "corrupt"):
            check_probability(getattr(self, name), name)
        if not 0 < self.queue_bytes <= MAX_QUEUE_BYTES:
            raise ConfigError(f"queue {self.queue_bytes} is not between 1 and {MAX_QUEUE_BYTES} bytes")
        if not 0 <= self.overhead_bytes <= 1000:
            raise ConfigError(f"overhead_bytes {self.overhead_bytes} is not between 0 and 1000")

    def __str__(self) -> str:
        parts = [f"loss {self.loss}", f"delay {self.delay_ms:g} ms"]
        if self.pings:
            parts.append(f"half of round trips {self.pings}")
        if self.jitter_ms:
            parts.append(f"jitter {self.jitter_ms:g} ms")
        parts += [f"{name} {getattr(self, name):g}" for name in _SHARES if getattr(self, name)]
        if self.rate != UNLIMITED:
            parts.append(f"rate {self.rate} ({self.rate.mean_kbps:.0f} kbit/s), queue {self.queue_bytes} B")
        return ", ".join(parts)


_SHARES = ("reorder", "duplicate", "corrupt")


@dataclass(frozen=True)
class ChannelConfig:
    """Both directions: up is client to target, down is target to client."""

    up: LinkConfig = LinkConfig()
    down: LinkConfig = LinkConfig()


def link_from_table(table: dict, base: LinkConfig, where: str) -> LinkConfig:
    """base with the keys of a TOML table put in; loss and rate as parse_loss and parse_rate read them, pings a file.

    Raises ConfigError on a key that LinkConfig has not or a value of the wrong type; `where` names the table.
    """
    known = {field.name: field.type for field in fields(LinkConfig)}
    changes = {}
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}; known: {', '.join(known)}")
        if key in ("loss", "rate") and isinstance(value, str | int | float) and not isinstance(value, bool):
            changes[key] = (parse_loss if key == "loss" else parse_rate)(str(value))
        elif key == "pings" and isinstance(value, str):
            changes[key] = read_pings(value)
        elif key != "pings" and (type(value) is int or (known[key] == "float" and type(value) is float)):
            changes[key] = value
        else:
            raise ConfigError(f"{where}: {key} = {value!r} has the wrong type")
    return replace(base, **changes)


def preset_names() -> list[str]:
    """The presets that come with the package."""
    folder = files("lrae.channel") / "presets"
    names = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def load_preset(name: str) -> ChannelConfig:
    """A preset by name, or a TOML file of the same form by path (ending in .toml).

    Tables [up] and [down] hold LinkConfig's fields; down starts from up, so it names only what differs.
    Raises ConfigError (unknown name, unreadable, wrong keys or values) or TraceError.
    """
    try:
        if name.endswith(".toml"):
            with open(name, "rb") as file:
                text = file.read(1 << 20).decode()
        elif name in preset_names():
            text = (files("lrae.channel") / "presets" / f"{name}.toml").read_text("utf-8")
        else:
            known = ", ".join(preset_names())
            raise ConfigError(f"no channel preset {name!r}; there are {known}, or FILE.toml")
        table = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read preset {name}: {error.strerror}") from None
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        raise ConfigError(f"preset {name}: {error}") from None
    unknown = table.keys() - {"up", "down"}
    if unknown or not all(isinstance(part, dict) for part in table.values()):
        raise ConfigError(f"preset {name}: expected only the tables [up] and [down]")
    up = link_from_table(table.get("up", {}), LinkConfig(), f"preset {name}, [up]")
    return ChannelConfig(up, link_from_table(table.get("down", {}), up, f"preset {name}, [down]"))
