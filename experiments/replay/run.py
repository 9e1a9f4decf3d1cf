"""`lrae-replay run`: does every run of a matrix and keeps its row."""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low

from rich.console import Console

from lrae.errors import ConfigError, LraeError
from lrae.experiments.arguments import count
from lrae.experiments.environment import environment
from lrae.experiments.pool import progress
from lrae.experiments.replay.charge import Calibration, Charge, measure
from lrae.experiments.replay.folder import CACHE, Folder
from lrae.experiments.replay.footage import Footage, size_of
from lrae.experiments.replay.job import Finished, Job, failed, run_job
from lrae.experiments.replay.matrix import Matrix, load_matrix, plan
from lrae.experiments.replay.table import write_parquet
from lrae.experiments.replay.workers import Cluster, Died, Processes, Workers

TELL_EVERY = 60.0  # seconds
RUN_LIMIT = 600.0  # seconds that a run may take
DEFAULT_BITRATE = 400_000  # bit/s at which a codec is measured where none is given


@dataclass(frozen=True)
class Task:
    """What a worker needs to know of a run. limit: seconds after which it is ended."""

    job: Job
    charge: Charge
    cache: str
    frames_log: bool
    limit: float = RUN_LIMIT


@dataclass(frozen=True)
class Measurement:
    """What is to be calibrated. key: of the result."""

    key: str
    codec: str
    model: str
    bitrate: int
    clip: Footage
    cache: str


def add_command(commands) -> None:
    """commands: what add_subparsers() gave."""
    sub = commands.add_parser("run", help="do every run of a matrix")
    sub.set_defaults(run=run)
    add = sub.add_argument
    add("file", metavar="FILE", help="TOML file, or smoke or headline, which come with the program")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    add("--jobs", type=count, default=1, metavar="N", help="processes (default 1)")
    add("--scheduler", metavar="ADDRESS", help="Dask scheduler, tcp://HOST:PORT, whose workers do the runs")
    add("--resume", action="store_true", help="go on with a folder that has results; failed runs are done again")
    add("--limit", type=float, metavar="SECONDS", help="stop after so long; --resume goes on")
    add("--run-limit", type=float, default=RUN_LIMIT, metavar="SECONDS", help="end runs that take longer (default 600)")
    add("--clips", nargs="+", metavar="DIR", help="folders, files or inputs instead of the matrix's sequences")
    add("--codecs", nargs="+", metavar="CODEC", help="only these of the matrix; --resume adds the others")
    add("--traces", type=Path, metavar="DIR", help="where the matrix's traces are (default: beside its file)")
    add("--frames-log", action="store_true", help="write a JSON line for every instant of every run")


def run(args: argparse.Namespace) -> int:
    """Returns the exit code: 1 if a run has failed. Raises LraeError."""
    console = Console(stderr=True)
    matrix = load_matrix(args.file, args.traces)
    jobs, notes = plan(matrix, args.clips)
    wanted = only(jobs, args.codecs) if args.codecs else None
    for note in notes:
        say(console, note)
    with Cluster(args.scheduler) if args.scheduler else Processes(args.jobs) as workers:
        arguments = {key: value for key, value in vars(args).items() if key != "run"}
        folder = Folder(args.out, jobs, {"arguments": arguments, "environment": environment()}, args.resume)
        with Processes(1) as measuring:
            limits = args.limit, args.run_limit
            return complete(folder, jobs, matrix, workers, measuring, console, *limits, args.frames_log, wanted)


def only(jobs: Sequence[Job], codecs: Sequence[str]) -> list[Job]:
    """Those of some codecs. ConfigError: the matrix has no such codec."""
    known = list(dict.fromkeys(job.condition.codec for job in jobs))
    if unknown := [codec for codec in codecs if codec not in known]:
        raise ConfigError(f"no codec {unknown[0]!r} in this matrix; there are {', '.join(known)}")
    return [job for job in jobs if job.condition.codec in codecs]


def complete(
    folder: Folder,
    jobs: Sequence[Job],
    matrix: Matrix,
    workers: Workers,
    measuring: Workers,
    console: Console,
    limit: float | None = None,
    run_limit: float = RUN_LIMIT,
    frames_log: bool = False,
    wanted: Sequence[Job] | None = None,
) -> int:
    """Does what a folder lacks; returns the exit code. measuring: where codecs are measured. limit, run_limit: seconds
    of all and of one. wanted: of the jobs, those to be done now; None: all."""
    done = {row["run"] for row in folder.rows}
    todo = [job for job in (jobs if wanted is None else wanted) if job.run not in done]
    end = float("inf") if limit is None else time.monotonic() + limit
    failures = 0
    try:
        charges = calibrate(folder, todo, matrix, measuring)
        with progress(len(todo)) as step, closing(
            results(folder, todo, charges, workers, run_limit, frames_log)
        ) as finished:
            step("")
            clock, before = Clock(console, len(todo)), len(done)
            for each in finished:
                folder.add(each.row, each.frames)
                done.add(each.row["run"])
                failures += bool(each.row.get("error"))
                step(f"{failures} failed" if failures else "")
                clock.tell(len(done) - before)
                if time.monotonic() > end:
                    break
    except KeyboardInterrupt:
        say(console, f"interrupted after {len(done)} of {len(jobs)} runs; --resume goes on")
        return 130
    folder.sort()
    if not write_parquet(folder.path):
        say(console, "no results.parquet: pyarrow is not installed (pip install 'lrae-vc[parquet]')")
    if len(done) < len(jobs):
        say(console, f"stopped after {len(done)} of {len(jobs)} runs; --resume goes on")
    if failures:
        say(console, f"{failures} of {len(jobs)} runs failed: column error in {folder.path}; --resume tries them again")
    return 1 if failures else 0


def calibrate(folder: Folder, jobs: Sequence[Job], matrix: Matrix, workers: Workers) -> dict[str, Charge | str]:
    """By key(), the computing time that jobs are charged, or why it is not known. What is not in the matrix nor in the
    folder is measured, once for each codec and size, at the median bitrate. SinkError."""
    known = Calibration(folder.path)
    found: dict[str, Charge | str] = {}
    wanted: dict[str, list[Job]] = {}
    for job in jobs:
        codec = job.condition.codec
        try:
            name = key(job)
        except LraeError as error:
            found[job.footage.source] = str(error)
            continue
        if codec in matrix.charges:
            found[name] = Charge(*matrix.charges[codec])
        elif name in known:
            found[name] = known[name]
        else:
            wanted.setdefault(name, []).append(job)
    tasks = [measurement(name, group, folder) for name, group in wanted.items()]
    with closing(workers.map(measured, tasks)) as results:
        for task, result in results:
            found[task.key] = result if isinstance(result, Charge) else str(result)
            if isinstance(result, Charge):
                known.add(task.key, result)
    return found


def key(job: Job) -> str:
    """Names codec, weights and picture size. SourceError."""
    width, height = size_of(job.footage)
    return f"{':'.join(filter(None, (job.condition.codec, job.model)))} {width}x{height}"


def measurement(name: str, jobs: Sequence[Job], folder: Folder) -> Measurement:
    """Of jobs that are alike."""
    first = jobs[0]
    bitrate = median_low(job.condition.bitrate or DEFAULT_BITRATE for job in jobs)
    return Measurement(name, first.condition.codec, first.model, bitrate, first.footage, str(folder.path / CACHE))


def measured(task: Measurement) -> Charge | str:
    """For a worker: the charge, or why it could not be measured."""
    try:
        return measure(task.codec, task.model, task.bitrate, task.clip, task.cache)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def results(
    folder: Folder,
    jobs: Sequence[Job],
    charges: Mapping[str, Charge | str],
    workers: Workers,
    limit: float,
    frames_log: bool,
) -> Iterator[Finished]:
    """Of all jobs, in any order."""
    tasks = []
    for job in jobs:
        charge = charges.get(job.footage.source) or charges[key(job)]
        if isinstance(charge, Charge):
            tasks.append(Task(job, charge, str(folder.path / CACHE), frames_log, limit))
        else:
            yield failed(job, charge)
    for task, result in workers.map(do, tasks):
        yield failed(task.job, f"{result}, or it took {limit:g} s") if isinstance(result, Died) else result


def do(task: Task) -> Finished:
    """For a worker. A run beyond its limit ends the process, wherever it hangs: in libav no exception reaches it."""
    faulthandler.dump_traceback_later(task.limit, exit=True, file=sys.__stderr__)
    try:
        return run_job(task.job, task.charge, task.cache, task.frames_log)
    finally:
        faulthandler.cancel_dump_traceback_later()


class Clock:
    """A line now and then of how far `total` runs are, where there is no terminal for a bar."""

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total = console, total
        self._start = self._told = time.monotonic()

    def tell(self, done: int) -> None:
        """After so many of them, 1 or more."""
        now = time.monotonic()
        if not self._console.is_terminal and now - self._told >= TELL_EVERY:
            self._told = now
            left = (now - self._start) / done * (self._total - done) / 60
            say(self._console, f"{done} of {self._total} runs, about {left:.0f} min left")


def say(console: Console, line: str) -> None:
    """A line for people."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
