"""What a rate controller could reach on a link if it knew its capacity: up to some moments ago, or ahead of time."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table

from lrae.channel.rate import NS
from lrae.experiments.congestion_links import Trial
from lrae.experiments.pool import progress, run_jobs
from lrae.sender.congestion import Ack

P95_MS, USED = 100.0, 0.8  # the goal: so much of the capacity at so long a queue
QUANTUM = 1504  # bytes: how finely the capacity is known
LEAST, MOST, START = 50e3, 50e6, 300e3  # bit/s
STEER = 0.06  # seconds in which what is missing in the queue is sent, what is too much is not
AVERAGE = (0.1, 0.2)  # seconds of capacity that foretell the next ones
STANDING = (0.0, 0.02, 0.05)  # seconds of capacity that wait at the link
CAUTION = (0.8, 1.0)  # times what is foretold


@dataclass(frozen=True)
class Knowledge:
    """age: seconds that the knowledge of the link is old; negative: it is foreseen. average, standing, caution: the
    oracle's parameters, as above."""

    age: float
    average: float
    standing: float
    caution: float


class Oracle:
    """A controller that knows exactly what the link could carry, used or not, and what left its queue, up to `age`
    before now. It cannot be had: a sender learns what was delivered at the earliest a round trip later, and nothing of
    capacity that it did not use."""

    def __init__(self, trial: Trial, knowledge: Knowledge) -> None:
        self._known = knowledge
        self._capacity = departures(trial)
        self._server = trial.rate.server()
        self._left: list[float] = []  # when each datagram leaves the link's queue
        self._sent = [0]  # bytes before each
        self.rate = START

    def on_sent(self, counter: int, size: int, now: float) -> None:
        """Follows the link's queue."""
        self._left.append(self._server.depart(round(now * NS), size) / NS)
        self._sent.append(self._sent[-1] + size)

    def on_acks(self, acks: Sequence[Ack], rtt: float | None, now: float) -> None:
        """Nothing new in them."""
        self._steer(now)

    def on_silence(self, now: float) -> None:
        self._steer(now)

    def _steer(self, now: float) -> None:
        known = self._known
        until = now - known.age
        served = self._sent[bisect_right(self._left, until)]
        passed = bisect_right(self._capacity, until) - bisect_right(self._capacity, until - known.average)
        capacity = known.caution * passed * QUANTUM / known.average  # bytes a second
        wanted = capacity * (max(0.0, known.age) + known.standing)
        rate = 8 * (capacity + (wanted - (self._sent[-1] - served)) / STEER)
        self.rate = min(MOST, max(LEAST, rate))


def departures(trial: Trial) -> list[float]:
    """Seconds at which a link that always has something to do is through with each QUANTUM."""
    server, times = trial.rate.server(), []
    while not times or times[-1] <= trial.seconds + 1:
        times.append(server.depart(0, QUANTUM) / NS)
    return times


def frontier(
    trials: Sequence[Trial], ages: Sequence[float], score: Callable, jobs: int = 2
) -> dict[str, dict[str, dict]]:
    """Per link and age: the most used with a P95 of P95_MS at most, and the least P95 with USED used; None where
    no parameters give that. score: of a trial and a controller (lrae.experiments.congestion.score)."""
    grid = list(itertools.product(AVERAGE, STANDING, CAUTION))
    work = [(score, trial, Knowledge(age, *row)) for trial in trials for age in ages for row in grid]
    with progress(len(work)) as step:
        scores = run_jobs(_job, work, jobs, step)
    found: dict[str, dict[str, dict]] = {}
    for (_, trial, knowledge), got in zip(work, scores, strict=True):
        cell = found.setdefault(trial.name, {}).setdefault(f"{1e3 * knowledge.age:g}", {"used": None, "p95_ms": None})
        if got.p95_ms <= P95_MS:
            cell["used"] = max(cell["used"] or 0.0, got.utilisation)
        if got.utilisation >= USED:
            cell["p95_ms"] = min(cell["p95_ms"] or float("inf"), got.p95_ms)
    return found


def _job(work: tuple[Callable, Trial, Knowledge]):
    score, trial, knowledge = work
    return score(trial, Oracle(trial, knowledge))


def oracle_table(found: dict[str, dict[str, dict]]) -> Table:
    """For people."""
    title = f"One who knows the link: used with a P95 of {P95_MS:g} ms / least P95 with {USED:.0%} used"
    table = Table(title=title, title_justify="left")
    table.add_column("link", overflow="fold")
    for age in next(iter(found.values())):
        table.add_column(f"{float(age):g} ms ago" if float(age) > 0 else f"{-float(age):g} ms ahead", justify="right")
    for link, cells in found.items():
        table.add_row(link, *(f"{_share(cell['used'])} / {_ms(cell['p95_ms'])}" for cell in cells.values()))
    return table


def _share(value: float | None) -> str:
    return "never" if value is None else f"{value:.0%}"


def _ms(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f} ms"
