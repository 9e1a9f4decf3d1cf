"""The command-line options that describe a channel, for every program that has one."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

from lrae.channel.config import ChannelConfig, load_preset, preset_names
from lrae.channel.loss import parse_loss, parse_probability
from lrae.channel.pings import read_pings
from lrae.channel.rate import parse_rate
from lrae.errors import ConfigError


@dataclass(frozen=True)
class _Option:
    name: str
    field: str  # of LinkConfig
    read: Callable[[str, str], object]  # (text, name of the option) -> value
    metavar: str
    help: str


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r} is not a number") from None


def _whole(text: str, option: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r} is not a whole number") from None


_OPTIONS = (
    _Option(
        "loss",
        "loss",
        lambda text, _: parse_loss(text),
        "MODEL",
        "none, all, 0.2, 20%%, ge:tambur, ge:P_GOOD_TO_BAD,P_BAD_TO_GOOD,LOSS_GOOD,LOSS_BAD, trace:FILE "
        "(0/1 per datagram, or CSV with a column 'lost'), timed:FILE (CSV with a time too; follows the clock), or "
        "alphartc:FILE (JSON, steps of loss)",
    ),
    _Option("delay", "delay_ms", _number, "MS", "one-way delay"),
    _Option("pings", "pings", lambda path, _: read_pings(path), "FILE", "half of recorded round trips (s,ms) on top"),
    _Option("jitter", "jitter_ms", _number, "MS", "mean of an exponential delay on top; does not reorder"),
    _Option("reorder", "reorder", parse_probability, "P", "share of datagrams that later ones overtake"),
    _Option("duplicate", "duplicate", parse_probability, "P", "share of datagrams delivered twice"),
    _Option("corrupt", "corrupt", parse_probability, "P", "share of datagrams with 1 to 3 bytes changed"),
    _Option(
        "rate",
        "rate",
        lambda text, _: parse_rate(text),
        "RATE",
        "kbit/s, unlimited, mahimahi:FILE, trace:FILE (lines of: end of step in s, Mbit/s), "
        "alphartc:FILE (JSON), or raca:FILE (5G logs, CSV)",
    ),
    _Option("queue", "queue_bytes", _whole, "BYTES", "drop-tail queue in front of a limited rate"),
)


def add_channel_options(parser: argparse.ArgumentParser) -> None:
    """Adds --preset, --loss, --delay, … and --down-loss, --down-delay, … to a parser."""
    names = ", ".join(preset_names())
    group = parser.add_argument_group(
        "channel", "Each option holds for both directions; --down-OPTION sets the way back alone."
    )
    group.add_argument("--preset", metavar="NAME", help=f"start from {names}, or FILE.toml")
    for option in _OPTIONS:
        group.add_argument(f"--{option.name}", metavar=option.metavar, help=option.help)
    for option in _OPTIONS:
        group.add_argument(f"--down-{option.name}", metavar=option.metavar, help=argparse.SUPPRESS)


def channel_config(args: argparse.Namespace) -> ChannelConfig:
    """The preset (or a perfect channel) with the options put in. Raises ConfigError or TraceError."""
    preset = load_preset(args.preset) if args.preset else ChannelConfig()
    both = _read_options(args, "")
    back = _read_options(args, "down-")
    return ChannelConfig(replace(preset.up, **both), replace(preset.down, **(both | back)))


def _read_options(args: argparse.Namespace, prefix: str) -> dict:
    texts = {option: getattr(args, f"{prefix}{option.name}".replace("-", "_")) for option in _OPTIONS}
    return {
        option.field: option.read(text, f"--{prefix}{option.name}")
        for option, text in texts.items()
        if text is not None
    }
