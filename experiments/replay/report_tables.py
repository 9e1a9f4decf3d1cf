"""The figures of a report as JSON and as rows of tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from lrae.experiments.replay.report_compare import Cell, Contest
from lrae.experiments.replay.report_plots import MEASURES, measure_name, percent, tell_crossover
from lrae.experiments.replay.report_rates import RateCurves
from lrae.experiments.replay.report_rows import LRAE, Condition
from lrae.experiments.replay.report_style import name_of

SHOWN = {  # further columns of the tables: heading and digits
    "kbps": ("kbit/s", 0),
    "undecodable": ("undecodable", 1),
    "frozen": ("frozen", 1),
    "stall_s": ("stall s", 2),
    "delay_p50_ms": ("P50 ms", 0),
    "delay_p95_ms": ("P95 ms", 0),
    "delay_p98_ms": ("P98 ms", 0),
}
Rows = list[list[str]]  # the first one is the head
LONGEST = 22  # letters of a name on an axis


def condition_json(condition: Condition) -> dict:
    """The columns of the matrix that a condition is."""
    return {
        "condition": str(condition),
        "bitrate_kbps": condition.kbps,
        "rtt_ms": condition.rtt_ms,
        "deadline_ms": condition.deadline_ms,
        "rate": condition.rate,
        "jitter_ms": condition.jitter_ms,
        "pings": condition.pings,
        "queue_bytes": condition.queue_bytes,
    }


def quality_json(cells: Iterable[Cell]) -> list[dict]:
    """Every codec in every cell with its best redundancy: value of the measure and means of what else was measured."""
    rows = []
    for cell in cells:
        for entry in map(cell.oracle, cell.codecs):
            rows.append(
                {
                    **condition_json(cell.condition),
                    "loss": cell.loss,
                    "loss_rate": cell.rate,
                    "measure": cell.measure,
                    "codec": entry.codec,
                    "redundancy": entry.redundancy,
                    "value": entry.value,
                    "sequences": len(cell.sequences),
                    "runs": len(entry.runs),
                    "means": {column: entry.mean(column) for column in SHOWN},
                }
            )
    return rows


def leads_json(contests: Iterable[Contest]) -> list[dict]:
    """LRAE against the best conventional codec at each loss rate."""
    rows = []
    for contest in contests:
        intervals = contest.lead_intervals()
        for index, cell in enumerate(contest.cells):
            best = cell.best_other()
            rows.append(
                {
                    **condition_json(contest.condition),
                    "loss_rate": cell.rate,
                    "measure": contest.measure,
                    "best": best.codec,
                    "redundancy": best.redundancy,
                    "lead": cell.lead,
                    "more_bits": more_bits(cell),
                    "interval": None if intervals is None else intervals[index],
                }
            )
    return rows


def rates_json(curves: Iterable[RateCurves]) -> list[dict]:
    """Points without loss and BD-rates."""
    return [
        {
            "path": one.path,
            "measure": one.measure,
            "sequences": len(one.sequences),
            "points": {codec: [list(point) for point in points] for codec, points in one.points.items()},
            "bd_rate": dict(one.bd_rates),
            "verdict": one.verdicts,
        }
        for one in curves
    ]


def crossover_table(contests: Iterable[Contest]) -> Rows:
    """One row for each condition and measure."""
    rows = [["condition", "measure", "LRAE is", "90 % interval", "sequences", "loss rates"]]
    for contest in contests:
        interval = contest.crossover_interval()
        ends = "too few sequences" if interval is None else " – ".join(map(_end, interval))
        rates = ", ".join(f"{rate * 100:g}" for rate in contest.rates) + " %"
        told = tell_crossover(contest.crossover)
        count = str(len(contest.sequences()))
        rows.append([str(contest.condition), MEASURES[contest.measure], told, ends, count, rates])
    return rows


def _end(rate: float | None) -> str:
    return "never" if rate is None else percent(rate)


def choice_table(contest: Contest) -> Rows:
    """Codecs by loss rates: quality, and the redundancy that gave it."""
    rows = [["codec", *(percent(rate) for rate in contest.rates)]]
    for codec in contest.codecs:
        row = [name_of(codec)]
        for cell in contest.cells:
            if codec in cell.codecs:
                entry = cell.oracle(codec)
                row.append(f"{entry.value:.2f} ({entry.redundancy})")
            else:
                row.append("–")
        rows.append(row)
    intervals = contest.lead_intervals()
    leads = [f"{cell.lead:+.2f}" for cell in contest.cells]
    if intervals:
        leads = [f"{lead} ({low:+.2f} … {high:+.2f})" for lead, (low, high) in zip(leads, intervals, strict=True)]
    rows.append(["LRAE's lead", *leads])
    more = [more_bits(cell) for cell in contest.cells]
    rows.append(["LRAE's bits, to the best's", *("–" if one is None else f"{one:+.1%}" for one in more)])
    return rows


def smooth_table(contest: Contest) -> Rows:
    """By loss rate, of LRAE and of the best conventional codec: frames that never were on screen, stalls, delay."""
    columns = ("undecodable", "stall_s", "delay_p98_ms")
    heads = [SHOWN[column][0] for column in columns]
    rows = [["loss", *(f"LRAE {head}" for head in heads), "best codec", *heads]]
    for cell in contest.cells:
        best = cell.best_other()
        ours, theirs = (
            [_fixed(entry.mean(column), SHOWN[column][1]) for column in columns] for entry in (cell.oracle(LRAE), best)
        )
        rows.append([percent(cell.rate), *ours, f"{name_of(best.codec)} {best.redundancy}", *theirs])
    return rows


def more_bits(cell: Cell) -> float | None:
    """How many more bits LRAE took than the best conventional codec, as a share of the latter's."""
    ours, theirs = cell.oracle(LRAE).mean("kbps"), cell.best_other().mean("kbps")
    return ours / theirs - 1 if ours and theirs else None


def value_table(cells: Sequence[Cell]) -> Rows:
    """Every codec in every cell with its best redundancy."""
    rows = [["condition", "loss", "measure", "codec", "redundancy", "value", *(head for head, _ in SHOWN.values())]]
    for cell in cells:
        for entry in map(cell.oracle, cell.codecs):
            means = [_fixed(entry.mean(column), digits) for column, (_, digits) in SHOWN.items()]
            first = [str(cell.condition), loss_name(cell), MEASURES[cell.measure], name_of(entry.codec)]
            rows.append([*first, entry.redundancy, f"{entry.value:.3f}", *means])
    return rows


def _fixed(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def loss_name(cell: Cell) -> str:
    """A loss process for people."""
    if cell.rate is not None:
        return percent(cell.rate)
    kind, _, rest = cell.loss.partition(":")
    return f"GE {rest}" if kind == "ge" else Path(rest).stem


def burst_names(cells: Sequence[Cell]) -> list[str]:
    """Names of processes for the axis of a plot: short, and with their share of lost packets."""
    names = [loss_name(cell) for cell in cells]
    short = [name if len(name) <= LONGEST else f"…{name[-LONGEST:]}" for name in names]
    lost = [cell.oracle(LRAE).mean("loss_rate") for cell in cells]
    return [name if rate is None else f"{name}\n{percent(rate)} lost" for name, rate in zip(short, lost, strict=True)]


def verdicts(contests: Iterable[Contest]) -> list[str]:
    """Half a sentence for each, about who is ahead where."""
    found = []
    for contest in contests:
        rate, measure = contest.crossover, measure_name(contest.measure)
        lowest, highest = percent(contest.rates[0]), percent(contest.rates[-1])
        if rate is None:
            text = f"by {measure} the best conventional codec is ahead of LRAE at {highest} loss, the highest measured"
        elif rate <= contest.rates[0]:
            text = f"by {measure} LRAE is ahead at every loss rate measured ({lowest} to {highest})"
        else:
            text = f"by {measure} LRAE is ahead from {percent(rate)} loss on (measured up to {highest})"
        found.append(text)
    return found


def dict_table(rows: Sequence[dict]) -> Rows:
    """Dicts with the same keys."""
    if not rows:
        return []
    return [list(rows[0]), *([_text(key, value) for key, value in row.items()] for row in rows)]


def _text(key: str, value: object) -> str:
    if key == "off":
        return f"{value:+.1%}"
    return name_of(value) if key == "codec" else f"{value:.1f}" if isinstance(value, float) else str(value)
