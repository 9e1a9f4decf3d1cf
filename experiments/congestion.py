"""`lrae-bench congestion`: how well a rate controller uses a link, how long the queue gets, who gets how much."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from lrae.channel.config import LinkConfig
from lrae.channel.rate import NS, Capacity, FixedRate
from lrae.errors import ConfigError
from lrae.experiments.congestion_links import DELAY_MS, Trial, made_up, recorded
from lrae.experiments.congestion_oracle import frontier, oracle_table
from lrae.experiments.congestion_sim import FPS, Flow, simulate
from lrae.experiments.gcc import Gcc
from lrae.experiments.pool import progress
from lrae.sender import congestion
from lrae.sender.congestion import AdaptiveRate, RateController

QUEUE_BYTES = 256 * 1024  # drop-tail
DEADLINE = 0.150  # seconds from capture until a frame has to be whole
MOST = 50e6  # bit/s that the adaptive controller may reach here
KNOWN_SHARE = 0.8  # of the mean capacity: the fixed rate of one who knows it
QUANTUM = 1504  # bytes, to pour a link full
RECOVERED, WINDOW, STEP = 0.8, 0.5, 0.05  # share of capacity, for WINDOW seconds, looked at every STEP
SHARED = ((6000, (0.0, 0.0)), (6000, (0.0, 20.0)), (1500, (0.0, 0.0)), (1500, (0.0, 20.0)), (6000, (0.0, 10.0, 20.0)))
SHARED_SECONDS = 120.0

ORACLE_AGES = (0.04, -0.06)  # seconds: a report that is made and sent at once; 100 ms more than that

CONTROLLERS: dict[str, Callable[[Trial], RateController]] = {
    "adaptive": lambda trial: AdaptiveRate(most=MOST),
    "gcc": lambda trial: Gcc(most=MOST),
    "fixed": lambda trial: congestion.FixedRate(KNOWN_SHARE * 1000 * trial.rate.mean_kbps),
}


@dataclass(frozen=True)
class Score:
    """utilisation: of the capacity, by what arrived. p50_ms, p95_ms: queueing of datagrams that arrived; own_p95_ms:
    less what a lone datagram would have waited at that moment. missed: share of frames skipped or not whole
    DEADLINE after capture. dropped: share of datagrams that the queue or the link lost. recovery_s: from the end
    of the outage, None if there is none."""

    utilisation: float
    p50_ms: float
    p95_ms: float
    own_p95_ms: float
    missed: float
    dropped: float
    recovery_s: float | None
    us_per_ack: float


def add_command(commands) -> None:
    """commands: what add_subparsers() gave."""
    sub = commands.add_parser("congestion", help="rate control over made-up and recorded links, in virtual time")
    sub.set_defaults(run=run, threads=None)
    sub.add_argument("--traces", type=Path, metavar="DIR", help="also recorded links: mahimahi/, fcc/, … below it")
    sub.add_argument("--oracle", action="store_true", help="what is possible at all on the LTE recordings, instead")
    sub.add_argument("--json", type=Path, metavar="FILE", help="write the result here")


def run(args: argparse.Namespace, console: Console) -> dict:
    """Measure, print."""
    if args.oracle:
        return foretell(args, console)
    trials, refused = made_up(), []
    if args.traces:
        more, refused = recorded(args.traces)
        trials += more
    with progress(len(trials) * len(CONTROLLERS) + len(SHARED)) as step:
        links = {}
        for trial in trials:
            links[trial.name] = {}
            for name, make in CONTROLLERS.items():
                step(f"{trial.name}: {name}")
                links[trial.name][name] = asdict(score(trial, make(trial)))
        shared = []
        for kbps, starts in SHARED:
            step(f"{len(starts)} flows")
            shared.append(share(kbps, starts))
    result = {"links": links, "shared": shared, "refused": refused}
    for table in tables(result):
        console.print(table)
    for line in refused:
        console.print(f"left out: {line}", highlight=False)
    return result


def foretell(args: argparse.Namespace, console: Console) -> dict:
    """What controllers reach that know the link. Raises ConfigError without recordings."""
    trials = [trial for trial in recorded(args.traces)[0] if "LTE" in trial.name] if args.traces else []
    if not trials:
        raise ConfigError("--oracle needs recordings of LTE links: --traces DIR")
    found = frontier(trials, ORACLE_AGES, score)
    console.print(oracle_table(found))
    return {"oracle": found}


def score(trial: Trial, controller: RateController, seed: int = 0) -> Score:
    """One flow alone on a link."""
    flow = Flow(controller)
    there = LinkConfig(rate=trial.rate, queue_bytes=QUEUE_BYTES, delay_ms=trial.delay_ms, loss=trial.loss)
    simulate([flow], there, LinkConfig(delay_ms=trial.delay_ms, loss=trial.loss), trial.seconds, seed)
    settled = [packet for packet in flow.packets if packet.sent < trial.seconds - 1]
    arrived = [packet for packet in flow.packets if packet.arrived is not None]
    queueing = np.array([p.arrived - p.sent for p in arrived]) * 1e3 - trial.delay_ms
    own = queueing - lone_waits(trial.rate, [p.sent for p in arrived])
    frames = np.array(flow.frames[: -round(FPS * DEADLINE) - 1])
    return Score(
        utilisation=sum(p.size for p in arrived) / carried(trial.rate, trial.seconds),
        p50_ms=float(np.percentile(queueing, 50)),
        p95_ms=float(np.percentile(queueing, 95)),
        own_p95_ms=float(np.percentile(own, 95)),
        missed=float(np.mean(frames > DEADLINE)),
        dropped=sum(p.arrived is None for p in settled) / max(1, len(settled)),
        recovery_s=recovery(trial, flow) if trial.outage else None,
        us_per_ack=1e6 * flow.controller_seconds / max(1, flow.acks),
    )


def carried(rate: Capacity, seconds: float) -> int:
    """Bytes that a link with never an empty queue delivers by then."""
    server, total = rate.server(), 0
    while server.depart(0, QUANTUM) <= seconds * NS:
        total += QUANTUM
    return total


def lone_waits(rate: Capacity, times: list[float]) -> np.ndarray:
    """Milliseconds that a single byte at each time (rising) waits for a link that nobody else uses."""
    server = rate.server()
    stamps = [round(time * NS) for time in times]
    return np.array([server.depart(stamp, 1) - stamp for stamp in stamps]) * 1e3 / NS


def recovery(trial: Trial, flow: Flow) -> float:
    """Seconds from the end of the outage until for WINDOW seconds the link is used and no frame is late; or inf."""
    _, end = trial.outage
    arrived = [packet for packet in flow.packets if packet.arrived is not None]
    times = np.array([packet.arrived for packet in arrived]) - trial.delay_ms / 1e3
    bits = np.concatenate([[0.0], np.cumsum([8.0 * packet.size for packet in arrived])])
    late = np.array([number / FPS for number, delay in enumerate(flow.frames) if delay > DEADLINE])
    begins = np.arange(end, trial.seconds - 2 * WINDOW, STEP)
    got = bits[np.searchsorted(times, begins + WINDOW)] - bits[np.searchsorted(times, begins)]
    missed = np.searchsorted(late, begins + WINDOW) - np.searchsorted(late, begins)
    capacity = 8 * (carried(trial.rate, trial.seconds) - carried(trial.rate, end)) / (trial.seconds - end)
    good = np.flatnonzero((got >= RECOVERED * WINDOW * capacity) & (missed == 0))
    return float(begins[good[0]] - end) if len(good) else float("inf")


def share(kbps: float, starts: tuple[float, ...], seconds: float = SHARED_SECONDS) -> dict:
    """Several flows on one link; Jain's index of what each got in the last two thirds."""
    flows = [Flow(AdaptiveRate(most=MOST), begin) for begin in starts]
    there = LinkConfig(rate=FixedRate(kbps), queue_bytes=QUEUE_BYTES, delay_ms=DELAY_MS)
    simulate(flows, there, LinkConfig(delay_ms=DELAY_MS), seconds)
    span = (seconds / 3, seconds)
    arrived = [[p for p in flow.packets if p.arrived is not None and p.arrived > span[0]] for flow in flows]
    got = [8e-3 * sum(p.size for p in packets) / (span[1] - span[0]) for packets in arrived]
    queueing = [1e3 * (p.arrived - p.sent) - DELAY_MS for packets in arrived for p in packets]
    return {
        "kbps": kbps,
        "starts_s": list(starts),
        "got_kbps": got,
        "jain": sum(got) ** 2 / len(got) / sum(rate * rate for rate in got),
        "utilisation": sum(got) / kbps,
        "p95_ms": float(np.percentile(queueing, 95)),
    }


def tables(result: dict) -> list[Table]:
    """For people."""
    links = Table(title="One flow. Queueing of datagrams; frames not whole 150 ms after capture", title_justify="left")
    links.add_column("link", overflow="fold")
    for column in ("rate", "used", "P50 ms", "P95 ms", "own P95", "missed", "dropped", "back after", "µs/ack"):
        links.add_column(column, justify="left" if column == "rate" else "right", no_wrap=True)
    for link, scores in result["links"].items():
        for index, (name, row) in enumerate(scores.items()):
            links.add_row(
                "" if index else link,
                name,
                f"{row['utilisation']:.0%}",
                *(f"{row[key]:.0f}" for key in ("p50_ms", "p95_ms", "own_p95_ms")),
                f"{row['missed']:.1%}",
                f"{row['dropped']:.1%}",
                "" if row["recovery_s"] is None else f"{row['recovery_s']:.2f} s",
                f"{row['us_per_ack']:.1f}",
            )
    shared = Table(title="Flows that share a link, adaptive, last 80 of 120 s", title_justify="left")
    for column in ("kbit/s", "start at, s", "got, kbit/s", "Jain", "used", "P95 ms"):
        shared.add_column(column, justify="right")
    for row in result["shared"]:
        shared.add_row(
            f"{row['kbps']:g}",
            ", ".join(f"{start:g}" for start in row["starts_s"]),
            ", ".join(f"{got:.0f}" for got in row["got_kbps"]),
            f"{row['jain']:.3f}",
            f"{row['utilisation']:.0%}",
            f"{row['p95_ms']:.0f}",
        )
    return [links, shared]
