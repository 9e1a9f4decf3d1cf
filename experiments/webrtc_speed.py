"""lrae-bench webrtc: whether the browser demo's pipeline keeps up here, without HTTP and browsers."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, median

import numpy as np
from rich.console import Console
from rich.table import Table

from lrae.errors import ConfigError
from lrae.experiments.arguments import count, sizes
from lrae.experiments.clips import Clip, read_clip
from lrae.experiments.pool import progress
from lrae.webrtc.loop import Loop
from lrae.webrtc.situation import Situation, parse

SIZES = ((448, 256), (640, 360))
CLIP, FRAMES = "sample", 100  # shown forwards and backwards in turn
WARM_UP, PATIENCE = 3.0, 120.0  # seconds after the first picture that are not counted; until that
MINUTE = 60.0  # seconds
DROP, REST = 1.0, 3.0  # seconds in which everything is lost; from its end until the next time
LEGS = "lrae", "h264"


def add_command(commands: argparse._SubParsersAction) -> None:
    """`lrae-bench webrtc`."""
    sub = commands.add_parser("webrtc", help="the browser demo's pipeline in real time: frames, delay, computing")
    sub.add_argument("--seconds", type=count, default=20, help="of each size (default 20)")
    sub.add_argument("--size", type=sizes, default=SIZES, metavar="WxH", help="default 448x256,640x360")
    sub.add_argument("--fps", type=count, default=30, help="frames offered a second (default 30)")
    sub.add_argument("--drops", type=count, default=5, help="how often everything is lost for a second after that (5)")
    sub.add_argument("--situation", default="delay_ms=0", metavar="QUERY", help="as in the page's URL (delay_ms=0)")
    sub.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    sub.set_defaults(run=run, threads=None)


def run(args: argparse.Namespace, console: Console) -> dict:
    """Measure and print."""
    situation = parse(dict(pair.partition("=")[::2] for pair in args.situation.split("&") if pair))
    with progress(len(args.size)) as step:
        rows = measure(args.size, args.fps, args.seconds, args.drops, situation, step)
    title = f"{args.seconds} s of {CLIP} offered at {args.fps} frames a second; ?{situation.to_query()}"
    table = Table(title=title, title_justify="left")
    heads = "size", "fps", "delay P50", "P95", "growth", "queue P95", "dropped", "back", "cores", "LRAE", "H.264"
    for head in heads:
        table.add_column(head, justify="right")
    for row in rows:
        width, height = row["size"]
        table.add_row(
            f"{width}x{height}",
            f"{row['fps']:.1f}",
            f"{row['gateway_p50_ms']:.0f} ms",
            f"{row['gateway_p95_ms']:.0f} ms",
            f"{row['gateway_growth_ms']:+.0f} ms",
            f"{row['queue_p95_ms']:.0f} ms",
            f"{row['dropped_share']:.0%}",
            " / ".join(f"{row['recovery_ms'][leg]:.0f}" for leg in LEGS) + " ms",
            "" if row["cores"] is None else f"{row['cores']:.2f}",
            *(f"{row['psnr'][leg]:.1f} dB" for leg in LEGS),
        )
    console.print(table)
    return {"webrtc": rows}


def measure(
    wanted: Sequence[tuple[int, int]],
    fps: int,
    seconds: int,
    drops: int,
    situation: Situation,
    step: Callable[[str], None],
) -> list[dict]:
    """One row of figures (keys: docs/benchmarks.md) for each size. ConfigError: the loop does not work here."""
    rows = []
    for size in wanted:
        step(f"{size[0]}x{size[1]}")
        rows.append(_measure(read_clip(CLIP, FRAMES, scale=size), size, fps, seconds, drops, situation))
    return rows


def _measure(clip: Clip, size: tuple[int, int], fps: int, seconds: int, drops: int, situation: Situation) -> dict:
    stats: list[dict] = []
    times: list[float] = []  # of the same

    def on_stats(told: dict) -> None:
        times.append(time.monotonic())
        stats.append(told)

    loop = Loop(size, fps, situation, lambda pictures: None, on_stats)
    try:
        offered = _offer(loop, clip, fps, lambda: any(s["state"]["lrae"] == "whole" for s in stats[-5:]), PATIENCE)
        if loop.problem or not stats:
            raise ConfigError(f"the pipeline does not work: {loop.problem or 'no pictures'}")
        offered += _offer(loop, clip, fps, lambda: False, WARM_UP, offered)
        first, computed, start = len(stats), _computed(), time.monotonic()
        offered = _offer(loop, clip, fps, lambda: False, seconds, offered)
        took, computed, counted = time.monotonic() - start, _computed() - computed, stats[first:]
        begun, ends = len(stats), []
        for number in range(drops):
            ends.append(time.monotonic() + DROP)
            loop.drop(DROP)
            _offer(loop, clip, fps, lambda: False, DROP + REST, offered + round(number * (DROP + REST) * fps))
        after = list(zip(times[begun:], stats[begun:], strict=False))
    finally:
        loop.close()
    delays = np.array([s["delay_ms"]["gateway"] for s in counted])
    third = max(1, len(delays) // 3)
    minutes = [int((at - start) // MINUTE) for at in times[first : first + len(counted)]]
    return {
        "size": list(size),
        "fps": len(counted) / took,
        "gateway_p50_ms": float(np.percentile(delays, 50)),
        "gateway_p95_ms": float(np.percentile(delays, 95)),
        "gateway_growth_ms": float(np.median(delays[-third:]) - np.median(delays[:third])),
        "gateway_minutes_ms": [float(np.median(delays[np.equal(minutes, m)])) for m in sorted(set(minutes))],
        "queue_p95_ms": float(np.percentile([s["queue_ms"] for s in counted], 95)),
        "dropped_share": (counted[-1]["dropped_inputs"] - counted[0]["dropped_inputs"]) / max(1, offered),
        "recovery_ms": {leg: 1e3 * median(_back(after, end, leg) for end in ends) for leg in LEGS},
        "cores": computed / took if computed else None,
        "psnr": {leg: fmean(s["psnr"][leg] for s in counted) for leg in LEGS},
        "kbps": {
            leg: fmean(sum(v for k, v in s["kbps"][leg].items() if k != "feedback") for s in counted) for leg in LEGS
        },
        "seconds": took,
    }


def _back(after: Sequence[tuple[float, dict]], end: float, leg: str) -> float:
    """Seconds from `end` until a leg shows a picture again that is made of what arrived; REST: not by then."""
    good = (at - end for at, stats in after if end < at < end + REST and stats["state"][leg] in ("whole", "partial"))
    return next(good, REST)


def _offer(loop: Loop, clip: Clip, fps: int, until: Callable[[], bool], seconds: float, first: int = 0) -> int:
    """Offers frames at their pace until `until()`, for so long at most; returns how many."""
    frames = [*clip.frames, *reversed(clip.frames[1:-1])]
    start = time.monotonic()
    for number in range(round(seconds * fps)):
        if until() or loop.problem:
            return number
        loop.offer(frames[(first + number) % len(frames)], time.monotonic())
        time.sleep(max(0.0, start + (number + 1) / fps - time.monotonic()))
    return round(seconds * fps)


def _computed() -> float:
    """Processor seconds so far of this process and those that it has started; 0 where the system does not tell."""
    total, tick = time.process_time(), os.sysconf("SC_CLK_TCK")
    for child in multiprocessing.active_children():
        try:
            words = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        total += (int(words[11]) + int(words[12])) / tick
    return total
