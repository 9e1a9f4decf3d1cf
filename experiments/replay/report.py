"""`lrae-replay report DIR`: one page of what the runs of a folder say, its pictures as PNG, its figures as JSON."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lrae.errors import SinkError
from lrae.experiments.replay import report_plots as plots
from lrae.experiments.replay import report_tables as tables
from lrae.experiments.replay.report_checks import TOLERANCE, failures, gaps, unequal_bits
from lrae.experiments.replay.report_compare import Cell, Contest, headline, make_cells, make_contests
from lrae.experiments.replay.report_page import Section, render
from lrae.experiments.replay.report_rates import RateCurves, rate_curves
from lrae.experiments.replay.report_rows import Condition, Run, check_comparable, provenance, read_runs
from lrae.experiments.replay.report_style import Picture
from lrae.experiments.viewing import QUALITY

PAGE = "report.html"
MOST_LINES = 200  # of a table on the page that lists exceptions; the JSON has all


def add_command(commands) -> None:
    """commands: what add_subparsers() gave."""
    sub = commands.add_parser("report", help="one HTML page and PNG plots of the runs in a folder")
    sub.set_defaults(run=run_report)
    sub.add_argument("folder", type=Path, metavar="DIR", help="as given to lrae-replay run --out")
    sub.add_argument("--out", type=Path, metavar="DIR", help="where the page goes (default: DIR/report)")
    sub.add_argument("--json", type=Path, metavar="FILE", help="write crossover rates and all figures here")


def run_report(args: argparse.Namespace, console: Console) -> dict:
    """Read, compare, draw, print. ConfigError: nothing to compare; SinkError: not writable."""
    runs = read_runs(args.folder)
    check_comparable(runs, args.folder)
    out = args.out or args.folder / "report"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{out}: {error.strerror}") from error
    report = Report(runs)
    page = report.page(out, f"lrae-replay report {args.folder}")
    result = report.to_json()
    write(out / PAGE, page)
    if args.json:
        write(args.json, json.dumps(result, indent=1) + "\n")
    console.print(summary(report))
    for note in report.notes():
        console.print(note, markup=False, highlight=False)
    console.print(f"page: {out / PAGE}", markup=False, highlight=False, soft_wrap=True)
    return result


def write(path: Path, text: str) -> None:
    """SinkError where that cannot be."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SinkError(f"{path}: {error.strerror}") from error


class Report:
    """What the runs say, compared once and told as a page and as JSON."""

    def __init__(self, runs: list[Run]) -> None:
        self.runs = runs
        self.cells: list[Cell] = [cell for measure in QUALITY for cell in make_cells(runs, measure)]
        self.contests: list[Contest] = make_contests(self.cells)
        self.rates: list[RateCurves] = rate_curves(self.cells)
        self.head: Condition | None = headline(self.contests)
        self.unequal = unequal_bits(cell for cell in self.cells if cell.decided)
        self.failed, self.gaps = failures(runs), gaps(runs)

    def to_json(self) -> dict:
        """crossover_loss, and all figures of the tables."""
        return {
            "crossover_loss": {one.name: one.crossover for one in self.contests},
            "crossover_interval": {one.name: one.crossover_interval() for one in self.contests},
            "leads": tables.leads_json(self.contests),
            "quality": tables.quality_json(self.cells),
            "rates": tables.rates_json(self.rates),
            "unequal_bits": self.unequal,
            "failed": self.failed,
            "missing": self.gaps,
            "runs": len(self.runs),
            "provenance": provenance(self.runs),
        }

    def notes(self) -> list[str]:
        """What a reader must know, a sentence each."""
        found = []
        if not self.contests:
            found.append("No condition has LRAE and another codec at two rates of independent loss: no crossover.")
        if self.unequal:
            share = f"{TOLERANCE:.0%}"
            found.append(f"Total bits are not within {share} of the bitrate in {len(self.unequal)} comparisons (listed).")
        else:
            found.append(f"Total bits are equal within {TOLERANCE:.0%}.")
        if self.failed:
            found.append(f"{len(self.failed)} of {len(self.runs)} runs failed (listed).")
        if self.gaps:
            lacking = sum(gap["expected"] - gap["runs"] for gap in self.gaps)
            found.append(f"The matrix is not whole: {lacking} runs are missing (listed). What is compared is compared over "
                         "the sequences and seeds that all codecs have.")  # fmt: skip
        return found

    def page(self, out: Path, command: str) -> str:
        """Draws all pictures into a folder; the HTML. ConfigError: no matplotlib; SinkError."""
        lead = []
        if self.head:
            told = tables.verdicts(self.contests, self.head)
            lead = [f"At {self.head}: {'; '.join(told)}."]
        sections = [*self._pictures(out), self._figures(), self._checks()]
        return render("When to switch to LRAE: replayed sessions", lead, sections, command)

    def _pictures(self, out: Path) -> Iterable[Section]:
        first = [one for one in self.contests if one.condition == self.head]
        others = [one for one in self.contests if one.condition != self.head]
        choices = [(f"Values and best redundancy: {plots.MEASURES[one.measure]}", tables.choice_table(one)) for one in first]
        wide = [plots.quality_plot(one, out, name_for("quality", one), wide=True) for one in first]
        yield Section("At which loss rate to switch", wide, self.notes(), choices)
        more = [plots.quality_plot(one, out, name_for("quality", one)) for one in others]
        lists = [(f"{one.condition}: {plots.MEASURES[one.measure]}", tables.choice_table(one)) for one in others]
        yield Section("The other conditions", more, tables=lists)
        yield Section("Without loss", [plots.rate_plot(one, out, f"rate-{slug(one.path)}-{one.measure}") for one in self.rates])
        by_psnr = first[:1]
        yield Section("Freezes and stalls", [p for one in by_psnr for p in freeze_plots(one, out)])
        yield Section("Delay", [plots.tail_delay_plot(one, out, name_for("delay", one)) for one in by_psnr])
        yield Section("Bursts and captured traces", self._processes(out))
        actions = [plots.accuracy_plot(one, out, name_for("actions", one)) for one in by_psnr]
        yield Section("Actions", [picture for picture in actions if picture])

    def _processes(self, out: Path) -> list[Picture]:
        groups: dict[tuple[Condition, str], list[Cell]] = {}
        for cell in self.cells:
            if cell.rate is None and cell.decided and cell.measure in QUALITY[:2]:
                groups.setdefault((cell.condition, cell.measure), []).append(cell)
        return [
            plots.process_plot(cells, [tables.loss_name(c) for c in cells], out, f"bursts-{slug(condition)}-{measure}")
            for (condition, measure), cells in groups.items()
        ]

    def _figures(self) -> Section:
        return Section(
            "Tables",
            tables=[
                ("Crossover by condition", tables.crossover_table(self.contests)),
                ("All values, each codec with its best redundancy", tables.value_table(self.cells)),
            ],
        )

    def _checks(self) -> Section:
        origin = "; ".join(f"{name}: {', '.join(values)}" for name, values in provenance(self.runs).items() if values)
        listed = {"Unequal bits": self.unequal, "Failed runs": self.failed, "Missing runs": self.gaps}
        found = []
        for title, rows in listed.items():
            cut = f", the first {MOST_LINES} of {len(rows)}" if len(rows) > MOST_LINES else f" ({len(rows)})"
            found.append((title + cut, tables.dict_table(rows[:MOST_LINES])))
        return Section("What to know before believing this", notes=[f"{len(self.runs)} runs; {origin}."], tables=found)


def freeze_plots(contest: Contest, out: Path) -> list[Picture]:
    """Shares of frozen instants and seconds of stalls."""

    def share(entry, value):
        return 100 * value / entry.mean("frames")

    def each_minute(entry, value):
        return 60 * value / entry.mean("seconds")

    frozen = plots.bar_plot(contest, out, name_for("frozen", contest), "frozen", "frozen instants, %", share)
    stalls = plots.bar_plot(contest, out, name_for("stalls", contest), "stall_s", "stalls, s a minute", each_minute)
    return [frozen, stalls]


def summary(report: Report) -> Table:
    """The crossovers for the terminal."""
    rows = tables.crossover_table(report.contests)
    table = Table(title="Loss rate from which on LRAE is ahead of the best conventional codec", title_justify="left")
    for head in rows[0]:
        table.add_column(head)
    for row in rows[1:]:
        table.add_row(*row)
    return table


def name_for(kind: str, contest: Contest) -> str:
    """Of a PNG, without suffix."""
    return f"{kind}-{slug(contest.condition)}-{contest.measure}"


def slug(what: object) -> str:
    """Text as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", str(what).lower()).strip("-")
