"""Independent runs on several processes, the bar that shows how far they are, and what all of them run with."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import cv2
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Job, Result = TypeVar("Job"), TypeVar("Result")
Step = Callable[[str], None]


@contextmanager
def progress(total: int) -> Iterator[Step]:
    """A bar on standard error, if that is a terminal.

    What it yields is called with a line of text before each of `total` steps.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total, completed=-1)

        def step(text: str) -> None:
            bar.update(task, advance=1, description=text)

        yield step


def run_jobs(
    function: Callable[[Job], Result], jobs: Sequence[Job], processes: int, step: Step = lambda text: None
) -> list[Result]:
    """[function(job) for job in jobs] on so many processes (1: this one), a torch thread each.

    function: at the top of a module. step: called once before the first result and after each, with "".
    """
    step("")
    if processes == 1:
        results = []
        for job in jobs:
            results.append(function(job))
            step("")
        return results
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(processes, mp_context=context, initializer=one_thread) as pool:
        futures = [pool.submit(function, job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
                step("")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]


@dataclass(frozen=True)
class Setup:
    """What the runs of a benchmark have in common. model, device: as make_encoder() takes them; processes: how many."""

    model: str = "m"
    device: str = "cpu"
    processes: int = 1

    def run(self, *work: tuple[Callable[[Job], Result], Sequence[Job]]) -> list[list[Result]]:
        """The results of each (function, jobs), as run_jobs() gives them, all under one bar."""
        pairs = [(function, job) for function, jobs in work for job in jobs]
        with progress(len(pairs)) as step:
            results = iter(run_jobs(_call, pairs, self.processes, step))
        return [[next(results) for _ in jobs] for _, jobs in work]


def _call(pair: tuple[Callable[[Job], Result], Job]) -> Result:
    function, job = pair
    return function(job)


def one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
