"""lrae-channel: a UDP proxy that treats datagrams as a bad network would."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import signal
import sys
import time

from rich.console import Console
from rich.live import Live
from rich.text import Text

from lrae.channel.options import add_channel_options, channel_config
from lrae.channel.proxy import Proxy
from lrae.cli import Parser, format_address, parse_address, run_main
from lrae.errors import ConfigError, SinkError

_TICK = 0.25  # seconds between updates of the live line
_PLAIN_EVERY = 5.0  # seconds between plain lines
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


class _StatsFile:
    """JSON lines: {"event": "stats" or "summary", "time": seconds since the start, …Proxy.counts()}."""

    def __init__(self, path: str):
        self._path = path
        try:
            self._file = open(path, "w", encoding="utf-8", buffering=1)  # noqa: SIM115 (close() closes it)
        except OSError as error:
            raise SinkError(f"cannot write {path}: {error.strerror}") from None

    def write(self, event: str, seconds: float, counts: dict) -> None:
        try:
            self._file.write(json.dumps({"event": event, "time": round(seconds, 3)} | counts) + "\n")
        except OSError as error:
            raise SinkError(f"cannot write {self._path}: {error.strerror}") from None

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what a full disk refused, write() has reported
            self._file.close()


class _Display:
    """On stderr: one live line on a terminal, a plain line now and then elsewhere."""

    def __init__(self, stack: contextlib.ExitStack):
        console = Console(stderr=True)
        self._live = Live(console=console, refresh_per_second=8) if console.is_terminal else None
        if self._live:
            stack.enter_context(self._live)
        self.every = _TICK if self._live else _PLAIN_EVERY

    def show(self, line: str) -> None:
        if self._live:
            self._live.update(Text(line, overflow="ellipsis", no_wrap=True))
        else:
            print(line, file=sys.stderr, flush=True)


class _Reporter:
    """Says what the proxy did, at the pace of each output; tick() is called often, finish() once."""

    def __init__(self, proxy: Proxy, display: _Display | None, stats: _StatsFile | None, start: float):
        self._proxy, self._display, self._stats = proxy, display, stats
        self._start = start
        self._shown_at, self._shown = start, proxy.counts()
        self._written_at = start

    def tick(self, now: float) -> None:
        if self._display and now - self._shown_at >= self._display.every:
            counts = self._proxy.counts()
            self._display.show(status_line(counts, self._shown, now - self._shown_at))
            self._shown_at, self._shown = now, counts
        if self._stats and now - self._written_at >= _STATS_EVERY:
            self._written_at = now
            self._stats.write("stats", now - self._start, self._proxy.counts())

    def finish(self, now: float) -> str:
        """Writes the last JSON line and returns the summary."""
        counts = self._proxy.counts()
        if self._stats:
            self._stats.write("summary", now - self._start, counts)
        return summary(counts, now - self._start)


async def _run(args: argparse.Namespace) -> str:
    """Runs the proxy until a signal or the end of --duration; returns the summary."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    config = channel_config(args)
    listen, target = parse_address(args.listen, allow_port_zero=True), parse_address(args.forward)
    proxy = Proxy(config, listen, target, args.seed)
    with contextlib.ExitStack() as stack:
        own = proxy.open()
        stack.callback(proxy.close)
        stats = stack.enter_context(contextlib.closing(_StatsFile(args.stats))) if args.stats else None
        if not args.quiet:
            print(
                f"lrae-channel: {format_address(own)} -> {format_address(target)}, seed {args.seed}\n"
                f"forward: {config.up}\nback: {config.down}",
                file=sys.stderr,
                flush=True,
            )
        start = time.monotonic()
        reporter = _Reporter(proxy, None if args.quiet else _Display(stack), stats, start)
        end = math.inf if args.duration is None else start + args.duration
        while not stop.is_set() and time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), min(_TICK, max(0.0, end - time.monotonic())))
            reporter.tick(time.monotonic())
        return reporter.finish(time.monotonic())


def _main(argv: list[str] | None) -> None:
    args = build_parser().parse_args(argv)
    if args.duration is not None and not (math.isfinite(args.duration) and args.duration > 0):
        raise ConfigError(f"--duration {args.duration:g} is not a number of seconds above 0")
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        text = runner.run(_run(args))
    if not args.quiet:
        print(text, flush=True)


def _loop_factory():
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return None
    return uvloop.new_event_loop


def main(argv: list[str] | None = None) -> int:
    """Entry point of lrae-channel; returns the exit code."""
    return run_main(_main, argv)


if __name__ == "__main__":
    sys.exit(main())
