"""Prometheus metrics: the fixed table of names, their values, and the small HTTP server that shows them."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from lrae.cli import Address, format_address, parse_address
from lrae.errors import ConfigError
from lrae.stats import percentile
from lrae.version import VERSION

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_CONNECTIONS = 8
MAX_REQUEST = 8192  # bytes
PATIENCE = 5.0  # seconds for a whole request and its answer
MAX_SERIES = 64  # label sets of one name
_QUANTILES = ("0.5", "0.95")


@dataclass(frozen=True)
class Metric:
    """type: "counter" or "gauge". label: its name, None without one. values: those of the label; empty: any."""

    type: str
    help: str
    label: str | None = None
    values: tuple[str, ...] = ()


METRICS = {
    "lrae_info": Metric("gauge", "1; the label says which version runs.", "version", (VERSION,)),
    # lrae-send
    "lrae_sender_connected": Metric("gauge", "1 while a receiver takes frames."),
    "lrae_sender_packets_total": Metric(
        "counter", "Datagrams sent.", "kind", ("data", "parity", "retransmit", "control")
    ),
    "lrae_sender_bytes_total": Metric(
        "counter", "UDP payload sent.", "kind", ("data", "parity", "retransmit", "control")
    ),
    "lrae_sender_frames_total": Metric(
        "counter",
        "Frames sent; skipped to keep the rate; dropped because encoder or network were too slow.",
        "fate",
        ("sent", "skipped", "dropped"),
    ),
    "lrae_sender_replayed_frames_total": Metric("counter", "Frames decoded again because of a loss."),
    "lrae_sender_drops_total": Metric("counter", "Datagrams received and refused.", "reason"),
    "lrae_sender_rtt_seconds": Metric("gauge", "Round trip, smoothed."),
    "lrae_sender_loss_ratio": Metric("gauge", "Share of datagrams lost lately."),
    "lrae_sender_rate_bits_per_second": Metric("gauge", "What may leave, as the rate control has it; 0: no limit."),
    "lrae_sender_target_bits_per_second": Metric("gauge", "Of the rate, what the encoder may fill; 0: no limit."),
    "lrae_sender_q": Metric("gauge", "Quality of the last frame, 0 to 63."),
    "lrae_sender_queue_packets": Metric("gauge", "Datagrams in the pacer."),
    "lrae_sender_queue_seconds": Metric("gauge", "How long the pacer takes for them."),
    "lrae_sender_fec_overhead_ratio": Metric("gauge", "Bytes of parity over bytes of data, of the stream so far."),
    "lrae_sender_encode_seconds": Metric("gauge", "Computing time of a frame, last minute.", "quantile", _QUANTILES),
    # lrae-recv
    "lrae_receiver_streaming": Metric("gauge", "1 while a stream runs."),
    "lrae_receiver_streams_total": Metric("counter", "Streams begun."),
    "lrae_receiver_packets_total": Metric(
        "counter",
        "Datagrams received of streams, and packets that parity brought back.",
        "kind",
        ("received", "recovered"),
    ),
    "lrae_receiver_bytes_total": Metric("counter", "UDP payload received of streams."),
    "lrae_receiver_sent_packets_total": Metric("counter", "Datagrams sent.", "kind", ("feedback", "control")),
    "lrae_receiver_sent_bytes_total": Metric("counter", "UDP payload sent.", "kind", ("feedback", "control")),
    "lrae_receiver_frames_total": Metric(
        "counter",
        "Frames shown: whole; partial: some packets missing; lost: all missing, extrapolated.",
        "fate",
        ("whole", "partial", "lost"),
    ),
    "lrae_receiver_late_packets_total": Metric("counter", "Data packets that came after their frame was decoded."),
    "lrae_receiver_drops_total": Metric("counter", "Datagrams received and refused.", "reason"),
    "lrae_receiver_q": Metric("gauge", "Quality of the last frame, 0 to 63."),
    "lrae_receiver_delay_seconds": Metric(
        "gauge",
        "On screen, after when a frame could have been here at the earliest; last minute.",
        "quantile",
        _QUANTILES,
    ),
    "lrae_receiver_decode_seconds": Metric("gauge", "Computing time of a frame, last minute.", "quantile", _QUANTILES),
}


class Metrics:
    """The values of one program, "sender" or "receiver".

    The program hands over `collect`, which is called before each look at the values and brings them up to date from the
    counts that sessions keep anyway; what nobody counts is add()ed as it happens:

        metrics = Metrics("sender", collect)            # def collect(metrics): metrics.set("lrae_sender_q", q)
        async with serve(metrics, host, port): ...

    Names and labels are those of METRICS; anything else is a ValueError. Gauges appear once they are set.
    """

    def __init__(self, program: str, collect: Callable[[Metrics], None] = lambda _: None) -> None:
        self._collect = collect
        self._series: dict[str, dict[str | None, float]] = {}
        for name, metric in METRICS.items():
            if name.startswith((f"lrae_{program}_", "lrae_info")):
                zeros = metric.type == "counter" or name == "lrae_info"
                first = metric.values if metric.label else (None,)
                self._series[name] = dict.fromkeys(first, 0) if zeros else {}
        self.set("lrae_info", 1, version=VERSION)

    def add(self, name: str, value: float = 1, **label: str) -> None:
        """A counter rises."""
        key = self._key(name, label)
        self._series[name][key] = self._series[name].get(key, 0) + value

    def set(self, name: str, value: float | None, **label: str) -> None:
        """The value is this; None: unknown, not shown."""
        key = self._key(name, label)
        if value is None:
            self._series[name].pop(key, None)
        else:
            self._series[name][key] = value

    def set_quantiles(self, name: str, recent: LastMinute, now: float) -> None:
        """The quantiles of what was measured in the last minute; not shown if that is nothing."""
        values = recent.values(now)
        for quantile in _QUANTILES:
            self.set(name, percentile(values, 100 * float(quantile)), quantile=quantile)

    def render(self) -> str:
        """The values now, in Prometheus' text format 0.0.4."""
        self._collect(self)
        lines = []
        for name, series in self._series.items():
            metric = METRICS[name]
            lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.type}"]
            for key, value in series.items():
                label = "" if key is None else f'{{{metric.label}="{_escape(key)}"}}'
                lines.append(f"{name}{label} {_number(value)}")
        return "\n".join(lines) + "\n"

    def _key(self, name: str, label: dict[str, str]) -> str | None:
        series, metric = self._series.get(name), METRICS.get(name)
        if series is None or metric is None:
            raise ValueError(f"no metric {name}")
        if tuple(label) != ((metric.label,) if metric.label else ()):
            raise ValueError(f"{name} has the label {metric.label}, not {tuple(label)}")
        key = label[metric.label] if metric.label else None
        if metric.values and key not in metric.values:
            raise ValueError(f"{metric.label} of {name} is one of {metric.values}, not {key!r}")
        if key not in series and len(series) >= MAX_SERIES:
            raise ValueError(f"{name} has {MAX_SERIES} values of {metric.label} already")
        return key


class LastMinute:
    """What was measured in the last minute, and at most 8192 values of it."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, float]] = deque(maxlen=8192)

    def add(self, value: float, now: float) -> None:
        self._kept.append((now, value))

    def values(self, now: float) -> list[float]:
        """In the order in which they came."""
        while self._kept and self._kept[0][0] < now - 60:
            self._kept.popleft()
        return [value for _, value in self._kept]


def served(address: str | None, metrics: Metrics) -> contextlib.AbstractAsyncContextManager:
    """serve() at `address`, which a user has given; nothing without one. Raises ConfigError."""
    return serve(metrics, *parse_address(address)) if address else contextlib.nullcontext()


@contextlib.asynccontextmanager
async def serve(metrics: Metrics, host: str, port: int) -> AsyncIterator[Address]:
    """Answers GET /metrics while the context lasts; gives the address it listens on. Raises ConfigError.

    Whoever connects can slow nothing down but himself: connections, requests and their time are bounded.
    """
    open_now: set[asyncio.StreamWriter] = set()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(open_now) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        open_now.add(writer)
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write(_answer(await reader.readuntil(b"\r\n\r\n"), metrics))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # gone, slow (TimeoutError is an OSError) or talkative
        finally:
            open_now.discard(writer)
            writer.transport.abort()

    try:
        server = await asyncio.start_server(serve_one, host, port, limit=MAX_REQUEST, backlog=MAX_CONNECTIONS)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host name"
        raise ConfigError(f"cannot serve metrics on {format_address((host, port))}: {reason}") from None
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()
        for writer in list(open_now):
            writer.transport.abort()


def _answer(request: bytes, metrics: Metrics) -> bytes:
    """The whole HTTP response; the connection ends with it."""
    method, _, rest = request.partition(b"\r\n")[0].partition(b" ")
    target, _, version = rest.partition(b" ")
    more = []
    if not version.startswith(b"HTTP/1."):
        status, text = "400 Bad Request", "not HTTP/1\n"
    elif target.partition(b"?")[0] != b"/metrics":
        status, text = "404 Not Found", "see /metrics\n"
    elif method != b"GET":
        status, text, more = "405 Method Not Allowed", "only GET\n", ["Allow: GET"]
    else:
        status, text = "200 OK", metrics.render()
    body = text.encode()
    kind = CONTENT_TYPE if status == "200 OK" else "text/plain; charset=utf-8"
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more, "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(int(value)) if value == int(value) else repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
