"""Who does the work: this process, processes of this machine, or a Dask cluster; one that dies costs one run."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager
from itertools import islice
from typing import Protocol, TypeVar

from lrae.errors import ConfigError
from lrae.experiments.pool import one_thread

Task, Result = TypeVar("Task"), TypeVar("Result")
AHEAD = 2  # tasks handed out for each process, so that none waits for the next
CONNECT = 10  # seconds to find a scheduler


class Died(Exception):
    """The process that worked on a task is gone."""


class Workers(AbstractContextManager, Protocol):
    """map() in any order: (task, result), where the result of a task whose process died is a Died."""

    def map(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[Task, Result | Died]]:
        """function: at the top of a module, and raises nothing."""
        ...


class Here:
    """One task after the other, in this process."""

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def map(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[Task, Result | Died]]:
        """In their order."""
        for task in tasks:
            yield task, function(task)


class Processes:
    """So many processes, a thread of torch each."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def map(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[Task, Result | Died]]:
        """When a process dies, the pool does not say on which task: all that were out are done again, one at a time."""
        coming, suspects, out = deque(tasks), deque(), {}
        while coming or suspects or out:
            alone = bool(suspects)
            source = suspects if alone else coming
            while source and len(out) < (1 if alone else self._count * AHEAD):
                task = source.popleft()
                out[self._submit(function, task)] = task
            done, _ = wait(out, return_when=FIRST_COMPLETED)
            broken = [out.pop(future) for future in done if isinstance(future.exception(), BrokenExecutor)]
            for future in done:
                if future in out:
                    yield out.pop(future), future.result()
            if not broken:
                continue
            self._close()
            if alone:
                yield broken[0], Died("the process that ran it died")
            else:
                suspects.extend([*broken, *out.values()])
                out.clear()

    def _submit(self, function: Callable[[Task], Result], task: Task) -> Future:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
            self._pool = ProcessPoolExecutor(self._count, mp_context=context, initializer=_begin)
        try:
            return self._pool.submit(function, task)
        except BrokenExecutor:  # one died between two tasks
            self._close()
            return self._submit(function, task)

    def _close(self) -> None:
        """Ends all processes, whatever they are doing (of Python 3.14 this is terminate_workers())."""
        pool, self._pool = self._pool, None
        if pool is not None:
            processes = list((pool._processes or {}).values())
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()


def _begin() -> None:
    one_thread()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that keeps the results


class Cluster:
    """The workers of a Dask scheduler; they have to find the clips and traces under the same paths."""

    def __init__(self, address: str) -> None:
        """address: tcp://HOST:PORT. ConfigError: distributed is not installed, or nobody answers there."""
        try:
            from distributed import Client
        except ImportError:
            raise ConfigError("--scheduler needs Dask: pip install 'lrae-vc[cluster]'") from None
        try:
            self._client = Client(address, timeout=CONNECT, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise ConfigError(f"--scheduler {address}: {error or 'nobody answers'}") from None

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def map(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[Task, Result | Died]]:
        """A task whose worker died is tried on others, as often as the scheduler allows."""
        from distributed import KilledWorker, as_completed

        self._client.run(one_thread)
        coming = iter(tasks)
        out = {}

        def submit(count: int) -> list:
            fresh = {self._client.submit(function, task, pure=False): task for task in islice(coming, count)}
            out.update(fresh)
            return list(fresh)

        threads = sum(self._client.nthreads().values())
        waiting = as_completed(submit(max(1, threads) * AHEAD), loop=self._client.loop)
        for future in waiting:
            task = out.pop(future)
            try:
                result = future.result()
            except KilledWorker:
                result = Died("the worker that ran it died")
            for fresh in submit(1):
                waiting.add(fresh)
            yield task, result
