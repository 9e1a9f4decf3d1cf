"""lrae-bench replay: how many seconds of sessions lrae-replay gets through in a second, encodes kept from before."""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lrae.codec.conventional import NAMES
from lrae.errors import LraeError
from lrae.experiments.arguments import count
from lrae.experiments.pool import progress
from lrae.experiments.replay.charge import Charge
from lrae.experiments.replay.job import Job
from lrae.experiments.replay.matrix import Block, jobs_of, missing_codecs
from lrae.experiments.replay.run import RUN_LIMIT, Task, do
from lrae.experiments.replay.workers import Processes

FIT = (480, 272)
SECONDS = 5.0  # of a session
CHARGE = Charge(0.01, 0.003)
LOSSES, REDUNDANCY = ("none", "2%", "10%", "30%"), ("none", "block:50", "streaming:100")
GOAL = 1000.0  # seconds of sessions, of which the time is told


def add_command(commands: argparse._SubParsersAction) -> None:
    """`lrae-bench replay`."""
    sub = commands.add_parser("replay", help="session-seconds a second of lrae-replay, with encodes kept")
    sub.add_argument("--clips", default="sample:bikes", help="folder, file or input (default sample:bikes)")
    sub.add_argument("--jobs", type=count, default=2, metavar="N", help="processes (default 2)")
    sub.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    sub.set_defaults(run=run, threads=None)


def run(args: argparse.Namespace, console: Console) -> dict:
    """Measure and print."""
    result = measure(args.clips, args.jobs)
    table = Table(title=f"lrae-replay, conventional codecs, {args.jobs} processes", title_justify="left")
    for name in ("encodes", "runs", "session-seconds", "seconds", "session-seconds per second", f"{GOAL:g} take"):
        table.add_column(name, justify="right")
    for kind, figures in result.items():
        rate = figures["session_seconds_per_second"]
        figures = (figures["runs"], f"{figures['session_seconds']:.0f}", f"{figures['seconds']:.1f}", f"{rate:.1f}")
        table.add_row(kind, *map(str, figures), f"{GOAL / rate:.0f} s")
    console.print(table)
    return result


def measure(clips: str, processes: int) -> dict:
    """{"new" | "kept": {"runs", "session_seconds", "seconds", "session_seconds_per_second"}}: the same runs twice.

    Raises LraeError: no such clips, or a run has failed.
    """
    codecs = tuple(name for name in NAMES if name not in missing_codecs(NAMES))
    block = Block((clips,), FIT, SECONDS, codecs, losses=LOSSES, rtts_ms=(40.0,), redundancy=REDUNDANCY)
    jobs = jobs_of(block, Path())
    with tempfile.TemporaryDirectory() as cache, Processes(processes) as workers, progress(2 * len(jobs)) as step:
        return {kind: timed(jobs, cache, workers, step) for kind in ("new", "kept")}


def timed(jobs: list[Job], cache: str, workers: Processes, step) -> dict:
    """One pass over the jobs."""
    tasks = [Task(job, CHARGE, cache, False, RUN_LIMIT) for job in jobs]
    start, length = time.monotonic(), 0.0
    with closing(workers.map(do, tasks)) as results:
        for task, result in results:
            row = getattr(result, "row", {"error": str(result)})
            if row.get("error"):
                raise LraeError(f"{task.job.condition.codec}: {row['error']}")
            length += row["seconds"]
            step("")
    spent = time.monotonic() - start
    return {
        "runs": len(jobs),
        "session_seconds": length,
        "seconds": spent,
        "session_seconds_per_second": length / spent,
    }
