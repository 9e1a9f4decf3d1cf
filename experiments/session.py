"""`lrae-bench session`: whole sessions with the real codec over losses and capacities, by redundancy."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from statistics import fmean

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lrae.channel.loss import parse_loss
from lrae.channel.rate import parse_rate
from lrae.codec.types import LAYOUTS
from lrae.errors import ConfigError
from lrae.experiments.arguments import count
from lrae.experiments.clips import Clip, find_clips
from lrae.experiments.loss_rates import read
from lrae.experiments.pool import progress, run_jobs
from lrae.experiments.stream import Network, Setup, run_stream
from lrae.sender.main import parse_bitrate, parse_fec

LOSSES = ("none", "0.05", "0.1", "0.2", "0.3", "ge:tambur", "ge:0.03,0.25,0,0.7")
CODES = ("none", "block:25", "block:50", "auto")
BESIDE = ("parity_kbps", "retransmit_kbps")
RESENT = "+resend"  # after a code: lost packets are sent again too


@dataclass(frozen=True)
class Job:
    """A clip, its first `frames` pictures, forth and back until they last `seconds` if that is more than 0."""

    clip: str
    frames: int
    seconds: float
    setup: Setup
    network: Network
    seed: int


def add_command(commands, common: argparse.ArgumentParser) -> None:
    """commands: what add_subparsers() gave; common: the options of every subcommand."""
    sub = commands.add_parser("session", parents=[common], help="whole sessions over lossy links, by redundancy")
    sub.set_defaults(run=run_session)
    sub.add_argument("--bitrate", default="400k", help="bit/s of all datagrams, or auto (default 400k)")
    losses = f"loss process, as lrae-channel takes it; may be repeated (default {' '.join(LOSSES)})"
    sub.add_argument("--loss", action="append", metavar="LOSS", help=losses)
    codes = f"as lrae-send --fec, with {RESENT} for retransmission; may be repeated (default {' '.join(CODES)})"
    sub.add_argument("--fec", action="append", metavar="CODE", help=codes)
    sub.add_argument("--rate", default="unlimited", help="capacity, as lrae-channel --rate (default unlimited)")
    sub.add_argument("--rtt", type=float, default=100.0, metavar="MS", help="round trip (default 100)")
    sub.add_argument("--layout", default=LAYOUTS[0], choices=LAYOUTS)
    sub.add_argument("--seconds", type=float, default=0.0, help="forth and back through each clip for so long")
    sub.add_argument("--seeds", type=count, default=1, help="runs of each (default 1)")
    sub.add_argument("--jobs", type=count, default=2, help="processes, a thread each (default 2)")


def run_session(args: argparse.Namespace, console: Console) -> dict:
    """`lrae-bench session`: measure and print."""
    losses, codes = tuple(args.loss or LOSSES), tuple(args.fec or CODES)
    bitrate = None if args.bitrate == "auto" else parse_bitrate(args.bitrate)
    parse_rate(args.rate)
    for loss in losses:
        parse_loss(loss)
    for code in codes:
        parse_fec(code.removesuffix(RESENT))
    if not 0 <= args.rtt <= 10_000:
        raise ConfigError(f"round trip {args.rtt:g} ms is not between 0 and 10000")
    clips = find_clips(args.clips or "sample")
    jobs = [
        Job(
            clip,
            args.frames,
            args.seconds,
            Setup(bitrate, code.removesuffix(RESENT), code.endswith(RESENT), args.layout, model=args.model),
            Network(loss, args.rtt * 1e-3, args.rate),
            seed,
        )
        for loss in losses
        for code in codes
        for clip in clips
        for seed in range(args.seeds)
    ]
    with progress(len(jobs)) as step:
        results = run_jobs(run_job, jobs, args.jobs, step)
    each = len(clips) * args.seeds
    rows = [mean(results[start : start + each]) for start in range(0, len(results), each)]
    found = {loss: dict(zip(codes, rows[i * len(codes) :], strict=False)) for i, loss in enumerate(losses)}
    console.print(session_table(found, args.rtt, args.bitrate))
    return {"sessions": found}


def run_job(job: Job) -> dict:
    """The figures of one run."""
    clip = read(job.clip, job.frames)
    wanted = round(job.seconds * float(clip.format.fps))
    if wanted > len(clip.frames):
        there_and_back = clip.frames + clip.frames[-2:0:-1]
        turns = -(-wanted // len(there_and_back))
        clip = Clip(clip.name, clip.format, (there_and_back * turns)[:wanted], clip.first)
    return asdict(run_stream(clip, job.setup, job.network, job.seed)[0])


def mean(results: list[dict]) -> dict:
    """The mean of every figure that was measured; of the longest gap, the longest."""
    row = {name: fmean(r[name] for r in results) for name, value in results[0].items() if value is not None}
    return row | {"longest_gap_s": max(r["longest_gap_s"] for r in results)}


def session_table(found: dict, rtt: float, bitrate: str) -> Table:
    """One row for each loss process and code."""
    title = f"Sessions at {bitrate}, round trip {rtt:g} ms, means; parity, resent, reports: % of kbit/s"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    figures = ("PSNR\nYUV", "\nwhole", "fro-\nzen", "ms\nP50", "\nP95", "kbit\n/s")
    for column in ("\nloss", "\ncode", *figures, "par-\nity", "re-\nsent", "re-\nports"):
        table.add_column(column, justify="left" if column in ("\nloss", "\ncode") else "right", no_wrap=True)
    for loss, rows in found.items():
        best = max(row["psnr_yuv"] for row in rows.values())
        for index, (code, row) in enumerate(rows.items()):
            quality = f"{row['psnr_yuv']:.2f}"
            table.add_row(
                loss if index == 0 else "",
                code,
                f"[bold]{quality}[/]" if row["psnr_yuv"] == best else quality,
                f"{row['whole'] / row['frames']:.0%}",
                f"{row['frozen'] / row['frames']:.0%}",
                f"{row['delay_p50_ms']:.0f}",
                f"{row['delay_p95_ms']:.0f}",
                f"{row['kbps']:.0f}",
                *(f"{100 * row[kind] / row['kbps']:.0f}" for kind in BESIDE),
                f"{100 * row['feedback_kbps'] / row['kbps']:.1f}",
                end_section=index == len(rows) - 1,
            )
    return table
