"""The page's sections in order, their pictures drawn."""

from __future__ import annotations

from pathlib import Path

from lrae.errors import LraeError
from lrae.experiments.replay import report_plots as plots
from lrae.experiments.replay import report_session_plots as session_plots
from lrae.experiments.replay import report_sessions as sessions
from lrae.experiments.replay import report_tables as tables
from lrae.experiments.replay.report_compare import Cell, Contest
from lrae.experiments.replay.report_findings import Findings
from lrae.experiments.replay.report_page import Section
from lrae.experiments.replay.report_rows import LRAE, Condition, provenance
from lrae.experiments.replay.report_style import Picture
from lrae.experiments.viewing import QUALITY

MOST_LINES = 200  # of a table on the page that lists exceptions; the JSON has all


def sections(findings: Findings, folder: Path, out: Path, rerun: bool = True) -> list[Section]:
    """folder: of the results; out: for the PNGs; rerun: whether two sessions may be run again for stills.

    ConfigError: no matplotlib; SinkError: a PNG cannot be written.
    """
    first = findings.main
    others = [one for one in findings.contests if one not in first]
    by_psnr = first[:1]
    details, closely = close_look(by_psnr[0], folder, out, rerun) if by_psnr else ([], [])
    freezes = [picture for one in by_psnr for picture in freeze_plots(one, out)]
    delays = [plots.tail_delay_plot(one, out, name_for("delay", one)) for one in by_psnr]
    actions = [plots.accuracy_plot(one, out, name_for("actions", one)) for one in by_psnr]
    rates = [plots.rate_plot(one, out, f"rate-{one.slug}-{one.measure}") for one in findings.rates]
    return [
        Section(
            "Quality against loss",
            [plots.main_plot(one, out, name_for("quality", one)) for one in first],
            findings.notes(),
            choices(first),
        ),
        Section(
            "Freezes and stalls", freezes, tables=[(f"{one.condition}", tables.smooth_table(one)) for one in by_psnr]
        ),
        Section("Delay", [*delays, *(picture for picture in details if picture.name == "delays")]),
        Section("One session", [picture for picture in details if picture.name != "delays"], closely),
        Section("Without loss", rates),
        Section("Bursts and captured traces", process_plots(findings.cells, out)),
        Section("Actions", [picture for picture in actions if picture]),
        Section(
            "The other conditions",
            [plots.quality_plot(one, out, name_for("quality", one)) for one in others],
            tables=choices(others),
        ),
        Section(
            "Tables",
            tables=[
                ("Crossover by condition", tables.crossover_table(findings.contests)),
                ("All values, each codec with its best redundancy", tables.value_table(findings.cells)),
            ],
        ),
        checks(findings),
    ]


def choices(contests: list[Contest]) -> list[tuple[str, tables.Rows]]:
    """A table for each: quality and redundancy by codec and loss rate."""
    return [(f"{one.condition}, {plots.MEASURES[one.measure]}", tables.choice_table(one)) for one in contests]


def freeze_plots(contest: Contest, out: Path) -> list[Picture]:
    """Shares of frozen instants and seconds of stalls."""

    def share(entry, value):
        return 100 * value / entry.mean("frames")

    def each_minute(entry, value):
        return 60 * value / entry.mean("seconds")

    frozen = plots.bar_plot(contest, out, name_for("frozen", contest), "frozen", "frozen instants, %", share)
    stalls = plots.bar_plot(contest, out, name_for("stalls", contest), "stall_s", "stalls, s a minute", each_minute)
    return [frozen, stalls]


def process_plots(cells: list[Cell], out: Path) -> list[Picture]:
    """Losses that are not independent, a plot for each condition, by the two first measures."""
    groups: dict[tuple[Condition, str], list[Cell]] = {}
    for cell in cells:
        if cell.rate is None and cell.decided and cell.measure in QUALITY[:2]:
            groups.setdefault((cell.condition, cell.measure), []).append(cell)
    for group in groups.values():
        group.sort(key=lambda cell: cell.oracle(LRAE).mean("loss_rate") or 0.0)
    return [
        plots.process_plot(group, tables.burst_names(group), out, f"bursts-{condition.slug}-{measure}")
        for (condition, measure), group in groups.items()
    ]


def close_look(contest: Contest, folder: Path, out: Path, rerun: bool) -> tuple[list[Picture], list[str]]:
    """A timeline, stills and the delays of frames; what there is none of, and why."""
    pair = sessions.choose_pair(contest)
    instants = {run.codec: sessions.read_log(folder, run) for run in (pair.ours, pair.theirs)}
    pictures, notes = [], []
    if rerun:
        try:
            ours, theirs = (sessions.replay(folder, run) for run in (pair.ours, pair.theirs))
            instants = {pair.ours.codec: ours.instants, pair.theirs.codec: theirs.instants}
            pictures = session_plots.still_pictures(pair, ours, theirs, out)
        except LraeError as error:
            notes.append(f"No stills: {error}")
    else:
        notes.append("No stills: they need two sessions to be run again (--no-rerun was given).")
    if all(instants.values()):
        pictures.insert(0, session_plots.timeline_plot(pair, instants, out, "timeline"))
    else:
        notes.append("No timeline: `lrae-replay run --frames-log` writes what it needs.")
    delays, what = sessions.logged_delays(folder, contest), f"all runs at the loss rate of {pair.text}"
    if len(delays) < 2 and all(instants.values()):
        delays = {codec: [row["delay"] for row in rows] for codec, rows in instants.items()}
        what = f"one session ({pair.text})"
    if len(delays) > 1:
        pictures.append(session_plots.delay_plot(delays, what, out, "delays"))
    return pictures, notes


def checks(findings: Findings) -> Section:
    """Exceptions and where the figures come from."""
    origin = "; ".join(f"{name}: {', '.join(known)}" for name, known in provenance(findings.runs).items() if known)
    found = []
    for title, rows in (
        ("Unequal bits", findings.unequal),
        ("Failed runs", findings.failed),
        ("Missing runs", findings.missing or []),
    ):
        cut = f": the first {MOST_LINES} of {len(rows)}" if len(rows) > MOST_LINES else f" ({len(rows)})"
        found.append((title + cut, tables.dict_table(rows[:MOST_LINES])))
    return Section("What to know before believing this", notes=[f"{len(findings.runs)} runs; {origin}."], tables=found)


def name_for(kind: str, contest: Contest) -> str:
    """Of a PNG, without suffix."""
    return f"{kind}-{contest.condition.slug}-{contest.measure}"
