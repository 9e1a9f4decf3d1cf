"""`lrae-replay report DIR`: one page of what the runs of a folder say, its pictures as PNG, its figures as JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lrae.errors import SinkError
from lrae.experiments.replay import report_tables as tables
from lrae.experiments.replay.report_findings import Findings
from lrae.experiments.replay.report_page import render
from lrae.experiments.replay.report_plots import MEASURES, tell_crossover
from lrae.experiments.replay.report_rows import check_comparable, read_runs
from lrae.experiments.replay.report_sections import sections

PAGE = "report.html"
TITLE = "At which loss rate to switch to LRAE"


def add_command(commands) -> None:
    """commands: what add_subparsers() gave."""
    sub = commands.add_parser("report", help="one HTML page and PNG plots of the runs in a folder")
    sub.set_defaults(run=run_report)
    sub.add_argument("folder", type=Path, metavar="DIR", help="as given to lrae-replay run --out")
    sub.add_argument("--out", type=Path, metavar="DIR", help="where the page goes (default: DIR/report)")
    sub.add_argument("--json", type=Path, metavar="FILE", help="write crossover loss rates and all figures here")
    rerun = "do not run two sessions again for stills and a timeline (that takes as long as their frames do to code)"
    sub.add_argument("--no-rerun", action="store_true", help=rerun)


def run_report(args: argparse.Namespace) -> int:
    """Read, compare, draw, print; returns the exit code. ConfigError: nothing to compare; SinkError: not writable."""
    runs, doubled = read_runs(args.folder)
    check_comparable(runs, args.folder)
    findings = Findings.of(args.folder, runs, doubled)
    out = args.out or args.folder / "report"
    try:
        out.mkdir(parents=True, exist_ok=True)
        for old in out.glob("*.png") if args.out is None else ():  # of an earlier report
            old.unlink()
    except OSError as error:
        raise SinkError(f"{out}: {error.strerror}") from error
    lead = [f"At {findings.head}: {'; '.join(tables.verdicts(findings.main))}."] if findings.main else []
    parts = sections(findings, args.folder, out, rerun=not args.no_rerun)
    write(out / PAGE, render(TITLE, lead, parts, findings.command))
    if args.json:
        write(args.json, json.dumps(findings.to_json(), indent=1) + "\n")
    console = Console()
    console.print(summary(findings))
    for line in (*lead, *findings.notes(), f"page: {out / PAGE}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return 0


def write(path: Path, text: str) -> None:
    """SinkError where that cannot be."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SinkError(f"{path}: {error.strerror}") from error


def summary(findings: Findings) -> Table:
    """The crossovers for the terminal."""
    table = Table(title="Against the best conventional codec, LRAE is", title_justify="left")
    measures = list(dict.fromkeys(one.measure for one in findings.contests))
    table.add_column("condition")
    for measure in measures:
        table.add_column(MEASURES[measure])
    found = {(one.condition, one.measure): tell_crossover(one.crossover) for one in findings.contests}
    for condition in dict.fromkeys(one.condition for one in findings.contests):
        table.add_row(str(condition), *(found.get((condition, measure), "–") for measure in measures))
    return table
