"""Who is ahead, from which loss rate on: best redundancy in hindsight, crossover, intervals, equal bits."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from lrae.experiments.replay.report_rows import LRAE, RESENT, Condition, Run, loss_rate

MIN_SEQUENCES = 5  # fewer say nothing about other sequences: no intervals
RESAMPLES = 1000
INTERVAL = (5, 95)  # percentiles


@dataclass(frozen=True)
class Entry:
    """One codec with one redundancy at one loss of one condition. values: the measure by sequence, means over seeds,
    in the order of Cell.sequences."""

    codec: str
    redundancy: str
    values: np.ndarray
    runs: tuple[Run, ...]

    @property
    def value(self) -> float:
        return float(self.values.mean())

    def mean(self, column: str) -> float | None:
        """Of a column over the runs that have it."""
        found = [run.figures[column] for run in self.runs if column in run.figures]
        return fmean(found) if found else None


@dataclass(frozen=True)
class Cell:
    """One loss process in one condition, by one measure. entries: complete ones only, over the same runs of sequences
    and seeds (those that every codec there has)."""

    condition: Condition
    loss: str
    measure: str
    sequences: tuple[str, ...]
    entries: tuple[Entry, ...]

    @property
    def rate(self) -> float | None:
        return loss_rate(self.loss)

    @property
    def codecs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(entry.codec for entry in self.entries))

    def oracle(self, codec: str) -> Entry:
        """The codec with the redundancy whose mean is best."""
        return max((entry for entry in self.entries if entry.codec == codec), key=lambda entry: entry.value)

    def best_other(self) -> Entry:
        """The best of the conventional codecs with its best redundancy."""
        return max((entry for entry in self.entries if entry.codec != LRAE), key=lambda entry: entry.value)

    def unprotected(self) -> Entry | None:
        """The best of the conventional codecs without parity, if one ran so."""
        plain = [e for e in self.entries if e.codec != LRAE and e.redundancy.removesuffix(RESENT) == "none"]
        return max(plain, key=lambda entry: entry.value, default=None)

    @property
    def decided(self) -> bool:
        """Whether LRAE and a conventional codec are there."""
        return LRAE in self.codecs and len(self.codecs) > 1

    @property
    def lead(self) -> float:
        """By how much LRAE is ahead of the best conventional codec."""
        return self.oracle(LRAE).value - self.best_other().value


def make_cells(runs: Iterable[Run], measure: str) -> list[Cell]:
    """By condition and loss, independent losses first and in order."""
    grouped: dict[tuple[Condition, str], list[Run]] = defaultdict(list)
    for run in runs:
        if measure in run.figures:
            grouped[run.condition, run.loss].append(run)
    cells = [_cell(*key, measure, group) for key, group in grouped.items()]
    order = {cell.loss: (cell.rate is None, cell.rate or 0.0, cell.loss) for cell in cells}
    return sorted(cells, key=lambda cell: (cell.condition.order, order[cell.loss]))


def _cell(condition: Condition, loss: str, measure: str, runs: list[Run]) -> Cell:
    by: dict[tuple[str, str], dict[tuple[str, int], Run]] = defaultdict(dict)
    for run in runs:
        by[run.codec, run.redundancy][run.pair] = run
    pairs: dict[str, set] = defaultdict(set)
    for (codec, _), found in by.items():
        pairs[codec] |= found.keys()
    common = sorted(set.intersection(*pairs.values()))
    sequences = tuple(dict.fromkeys(sequence for sequence, _ in common))
    entries = []
    for (codec, redundancy), found in sorted(by.items(), key=lambda item: (item[0][0] != LRAE, item[0])):
        if not common or not found.keys() >= set(common):
            continue
        chosen = tuple(found[pair] for pair in common)
        means = [fmean(run.figures[measure] for run in chosen if run.sequence == name) for name in sequences]
        entries.append(Entry(codec, redundancy, np.array(means), chosen))
    return Cell(condition, loss, measure, sequences, tuple(entries))


def crossover(rates: Sequence[float], leads: Sequence[float]) -> float | None:
    """The least loss rate from which on LRAE is ahead at every rate measured.

    rates: measured, rising; leads: LRAE minus the best conventional codec, interpolated linearly between them.
    None: behind at the highest rate. Ahead at all of them: the lowest one, 0 if that was measured.
    """
    behind = [index for index, lead in enumerate(leads) if not lead > 0]
    if not behind:
        return float(rates[0])
    last = behind[-1]
    if last == len(rates) - 1:
        return None
    share = leads[last] / (leads[last] - leads[last + 1])
    return float(rates[last] + (rates[last + 1] - rates[last]) * share)


@dataclass(frozen=True)
class Contest:
    """Independent losses in one condition, by one measure: cells by rising loss rate, all decided."""

    cells: tuple[Cell, ...]

    @property
    def condition(self) -> Condition:
        return self.cells[0].condition

    @property
    def measure(self) -> str:
        return self.cells[0].measure

    @property
    def name(self) -> str:
        """Key of the crossover in the JSON."""
        return f"{self.condition}, {self.measure}"

    @property
    def rates(self) -> list[float]:
        return [cell.rate for cell in self.cells]

    @property
    def crossover(self) -> float | None:
        return crossover(self.rates, [cell.lead for cell in self.cells])

    @property
    def codecs(self) -> list[str]:
        """LRAE first."""
        names = {codec for cell in self.cells for codec in cell.codecs}
        return [LRAE, *sorted(names - {LRAE})]

    def curve(self, codec: str) -> tuple[list[float], list[Entry]]:
        """Rates at which the codec was measured, and its best redundancy at each."""
        there = [cell for cell in self.cells if codec in cell.codecs]
        return [cell.rate for cell in there], [cell.oracle(codec) for cell in there]

    def sequences(self) -> list[str]:
        """Those measured at every rate."""
        return sorted(set.intersection(*(set(cell.sequences) for cell in self.cells)))

    def resampled_leads(self) -> np.ndarray | None:
        """Leads [RESAMPLES, rates] over sequences drawn with replacement (Efron 1979), every codec's redundancy chosen
        anew for each draw. None: fewer than MIN_SEQUENCES sequences."""
        names = self.sequences()
        if len(names) < MIN_SEQUENCES:
            return None
        drawn = np.random.default_rng(0).multinomial(len(names), [1 / len(names)] * len(names), RESAMPLES)
        leads = []
        for cell in self.cells:
            where = [cell.sequences.index(name) for name in names]
            means = np.array([entry.values[where] for entry in cell.entries]) @ drawn.T / len(names)
            ours = np.array([entry.codec == LRAE for entry in cell.entries])
            leads.append(means[ours].max(axis=0) - means[~ours].max(axis=0))
        return np.array(leads).T

    def lead_intervals(self) -> list[tuple[float, float]] | None:
        """90 % interval of the lead at each rate, over sequences."""
        leads = self.resampled_leads()
        return None if leads is None else [tuple(pair) for pair in np.percentile(leads, INTERVAL, axis=0).T.tolist()]

    def crossover_interval(self) -> tuple[float | None, float | None] | None:
        """90 % interval of the crossover; an end is None where LRAE never gets ahead."""
        leads = self.resampled_leads()
        if leads is None:
            return None
        found = [crossover(self.rates, draw) for draw in leads]
        ends = np.percentile([np.inf if rate is None else rate for rate in found], INTERVAL, method="nearest")
        return tuple(None if np.isinf(end) else float(end) for end in ends)


def make_contests(cells: Iterable[Cell]) -> list[Contest]:
    """Those with two loss rates or more."""
    grouped: dict[tuple[Condition, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.rate is not None and cell.decided:
            grouped[cell.condition, cell.measure].append(cell)
    return [Contest(tuple(group)) for group in grouped.values() if len(group) > 1]


def headline(contests: Iterable[Contest], kbps: float = 400.0, rtt_ms: float = 150.0) -> Condition | None:
    """The condition of the project's target, or the nearest there is."""

    def far(one: Condition) -> tuple:
        return abs(math.log((one.kbps or 1.0) / kbps)), abs(one.rtt_ms - rtt_ms), one.order

    return min({contest.condition for contest in contests}, key=far, default=None)
