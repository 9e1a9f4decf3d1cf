"""Rate and quality without loss, and how many bits LRAE takes more or less at equal quality."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lrae.experiments.bdrate import MIN_POINTS, bd_rate, rising
from lrae.experiments.replay.report_compare import Cell
from lrae.experiments.replay.report_rows import LRAE
from lrae.experiments.tables import percent


@dataclass(frozen=True)
class RateCurves:
    """Codecs on one network without loss. path: the network, for people; slug: for files. points: (kbit/s, quality)
    by codec, rising, LRAE first. bd_rates: percent of bits that LRAE takes more (+) or less (-) by anchor, None: see
    verdicts."""

    path: str
    slug: str
    measure: str
    sequences: tuple[str, ...]
    bitrates: tuple[float, ...]
    points: Mapping[str, list[tuple[float, float]]]
    bd_rates: Mapping[str, float | None]

    @property
    def verdicts(self) -> dict[str, str]:
        """BD-rates for people, with the reason where there is none."""
        few = {codec for codec, points in self.points.items() if len(rising(points)) < MIN_POINTS}
        short = f"fewer than {MIN_POINTS} rate points"
        return {c: short if few & {c, LRAE} else percent(rate) for c, rate in self.bd_rates.items()}


def rate_curves(cells: Iterable[Cell]) -> list[RateCurves]:
    """From the cells without loss, a set of curves for each network that has two bitrates or more."""
    grouped: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.rate == 0 and cell.decided and cell.condition.kbps:
            grouped[cell.condition.path, cell.measure].append(cell)
    return [_curves(group) for group in grouped.values() if len(group) > 1]


def _curves(cells: list[Cell]) -> RateCurves:
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for cell in cells:
        for entry in map(cell.oracle, cell.codecs):
            points[entry.codec].append((entry.mean("kbps"), entry.value))
    ordered = {codec: sorted(points[codec]) for codec in sorted(points, key=lambda codec: (codec != LRAE, codec))}
    bd_rates = {codec: bd_rate(found, ordered[LRAE]) for codec, found in ordered.items() if codec != LRAE}
    sequences = tuple(sorted(set.intersection(*(set(cell.sequences) for cell in cells))))
    bitrates = tuple(cell.condition.kbps for cell in cells)
    first = cells[0].condition
    slug = first.slug.split("-", 1)[1]  # without the bitrate
    return RateCurves(first.path, slug, cells[0].measure, sequences, bitrates, ordered, bd_rates)
