"""lrae-channel: a UDP proxy that treats datagrams as a bad network would."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import sys
import time

from lrae.channel.options import add_channel_options, channel_config
from lrae.channel.proxy import Proxy
from lrae.cli import Parser, format_address, parse_address, run_main
from lrae.console import LIVE_EVERY, Display
from lrae.errors import ConfigError
from lrae.stats import StatsFile
from lrae.udp import on_signal, run_loop

_STATS_EVERY = 1.0  # seconds between JSON lines


def build_parser() -> argparse.ArgumentParser:
    """Every option of the program."""
    parser = Parser(
        prog="lrae-channel",
        description="Forwards UDP datagrams, and the answers to them, through a simulated bad network.",
    )
    parser.add_argument("--listen", required=True, metavar="ADDRESS", help="PORT, HOST:PORT or [IPV6]:PORT")
    parser.add_argument("--forward", required=True, metavar="ADDRESS", help="where the datagrams go")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice (default 0)")
    parser.add_argument("--duration", type=float, metavar="S", help="end after so many seconds")
    parser.add_argument("--stats", metavar="FILE", help="write counts as JSON lines, one a second")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    add_channel_options(parser)
    return parser


def status_line(counts: dict, before: dict, seconds: float) -> str:
    """Totals so far and the rate since `before`, `seconds` ago. counts, before: Proxy.counts()."""
    parts = [f"{counts['clients']} client{'' if counts['clients'] == 1 else 's'}"]
    for title, name in (("forward", "up"), ("back", "down")):
        now = counts[name]
        kbps = (now["delivered_bytes"] - before[name]["delivered_bytes"]) * 8e-3 / max(seconds, 1e-3)
        parts.append(f"{title} {_sent_and_lost(now)}, {kbps:.0f} kbit/s")
    return " | ".join(parts)


def summary(counts: dict, seconds: float) -> str:
    """What the program prints at its end: what became of every datagram, one line per direction."""
    lines = [f"{counts['served']} client{'' if counts['served'] == 1 else 's'} in {seconds:.1f} s"]
    kinds = ("queue_dropped", "duplicated", "corrupted", "reordered", "in_flight")
    for title, name in (("forward", "up"), ("back", "down")):
        now = counts[name]
        rest = [f"{now[kind]} {kind.replace('_', ' ')}" for kind in kinds if now[kind]]
        lines.append(", ".join([f"{title}: {_sent_and_lost(now)}", f"{now['delivered']} delivered", *rest]))
    if counts["send_errors"]:
        lines.append(f"{counts['send_errors']} datagrams could not be sent on")
    return "\n".join(lines)


def _sent_and_lost(counts: dict) -> str:
    share = f" ({100 * counts['lost'] / counts['sent']:.1f} %)" if counts["sent"] else ""
    return f"{counts['sent']} sent, {counts['lost']} lost{share}"


class _Reporter:
    """Says what the proxy did, at the pace of each output; tick() is called often, finish() once."""

    def __init__(self, proxy: Proxy, display: Display, stats: StatsFile, start: float):
        self._proxy, self._display, self._stats = proxy, display, stats
        self._start = self._shown_at = self._written_at = start
        self._shown = proxy.counts()

    def tick(self, now: float) -> None:
        if now - self._shown_at >= self._display.every:
            counts = self._proxy.counts()
            self._display.status(status_line(counts, self._shown, now - self._shown_at))
            self._shown_at, self._shown = now, counts
        if now - self._written_at >= _STATS_EVERY:
            self._written_at = now
            self._stats.write("channel", time=time.time(), **self._proxy.counts())

    def finish(self, now: float) -> str:
        """Writes the last JSON line and returns the summary."""
        counts = self._proxy.counts()
        self._stats.write("channel-summary", time=time.time(), **counts)
        return summary(counts, now - self._start)


async def _run(args: argparse.Namespace) -> int:
    """Runs the proxy until a signal or the end of --duration."""
    stop = asyncio.Event()
    on_signal(stop.set)
    config = channel_config(args)
    listen, target = parse_address(args.listen, allow_port_zero=True), parse_address(args.forward)
    proxy = Proxy(config, listen, target, args.seed)
    with contextlib.ExitStack() as stack:
        own = proxy.open()
        stack.callback(proxy.close)
        stats = stack.enter_context(contextlib.closing(StatsFile(args.stats)))
        display = stack.enter_context(Display(args.quiet))
        display.say(f"lrae-channel: {format_address(own)} -> {format_address(target)}, seed {args.seed}")
        display.say(f"forward: {config.up}\nback: {config.down}")
        start = time.monotonic()
        reporter = _Reporter(proxy, display, stats, start)
        end = math.inf if args.duration is None else start + args.duration
        while not stop.is_set() and time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), min(LIVE_EVERY, max(0.0, end - time.monotonic())))
            reporter.tick(time.monotonic())
        text = reporter.finish(time.monotonic())
    if not args.quiet:
        print(text, flush=True)
    return 0


def _main(argv: list[str] | None) -> int:
    args = build_parser().parse_args(argv)
    if args.duration is not None and not (math.isfinite(args.duration) and args.duration > 0):
        raise ConfigError(f"--duration {args.duration:g} is not a number of seconds above 0")
    return run_loop(_run(args))


def main(argv: list[str] | None = None) -> int:
    """Entry point of lrae-channel; returns the exit code."""
    return run_main(_main, argv)


if __name__ == "__main__":
    sys.exit(main())
