"""All that a report says, before it is drawn."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from lrae.experiments.replay import report_tables as tables
from lrae.experiments.replay.folder import ABOUT, JOBS, read_jobs
from lrae.experiments.replay.report_checks import TOLERANCE, failures, gaps, unequal_bits
from lrae.experiments.replay.report_compare import Cell, Contest, headline, make_cells, make_contests
from lrae.experiments.replay.report_plots import plural
from lrae.experiments.replay.report_rates import RateCurves, rate_curves
from lrae.experiments.replay.report_rows import Condition, Run, provenance
from lrae.experiments.viewing import QUALITY


@dataclass(frozen=True)
class Findings:
    """runs, doubled: as read_runs() gives them. unequal, failed, missing: exceptions, as report_checks lists them;
    missing is None where the list of all runs is not there. command: what made the figures."""

    runs: list[Run]
    doubled: int
    cells: list[Cell]
    contests: list[Contest]
    rates: list[RateCurves]
    unequal: list[dict]
    failed: list[dict]
    missing: list[dict] | None
    command: str

    @classmethod
    def of(cls, folder: Path, runs: list[Run], doubled: int = 0) -> Findings:
        """Compares the runs of a folder. ConfigError: its list of runs is damaged."""
        cells = [cell for measure in QUALITY for cell in make_cells(runs, measure)]
        return cls(
            runs,
            doubled,
            cells,
            make_contests(cells),
            rate_curves(cells),
            unequal_bits(cell for cell in cells if cell.decided),
            failures(runs),
            gaps(runs, read_jobs(folder)) if (folder / JOBS).exists() else None,
            command_of(folder),
        )

    @property
    def head(self) -> Condition | None:
        """The condition that the page begins with."""
        return headline(self.contests)

    @property
    def main(self) -> list[Contest]:
        """Its contests, one for each measure."""
        return [one for one in self.contests if one.condition == self.head]

    def notes(self) -> list[str]:
        """What a reader must know, a sentence each."""
        found = []
        if not self.contests:
            found.append("No condition has LRAE and another codec at two rates of independent loss: no crossover.")
        if self.unequal:
            low, high = (end(row["off"] for row in self.unequal) for end in (min, max))
            found.append(
                f"Total bits are not equal within {TOLERANCE:.0%}: {len(self.unequal)} of the points compared are "
                f"further off the bitrate, {low:+.1%} to {high:+.1%} (listed)."
            )
        else:
            found.append(f"Total bits are equal within {TOLERANCE:.0%}.")
        if self.failed:
            found.append(f"{plural(len(self.failed), 'run')} failed (listed).")
        if self.doubled:
            found.append(f"{self.doubled} rows are the same as others in all that is compared: the last ones count.")
        if self.missing is None:
            found.append(f"No {JOBS} in the folder: whether runs are missing cannot be said.")
        elif self.missing:
            there = sum(gap["expected"] - gap["runs"] for gap in self.missing)
            found.append(
                f"Of the matrix {plural(there, 'run')} did not succeed (listed); each comparison is over the sequences "
                "and seeds that all its codecs have."
            )
        return found

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
            "missing": self.missing,
            "notes": self.notes(),
            "runs": len(self.runs),
            "command": self.command,
            "provenance": provenance(self.runs),
        }


def command_of(folder: Path) -> str:
    """What a reader would type for the same figures, as far as the folder says it."""
    out = shlex.quote(folder.name or str(folder))
    words = ["lrae-replay", "run", "FILE"]
    try:
        arguments = json.loads((folder / ABOUT).read_text("utf-8"))["arguments"]
        words[2] = shlex.quote(Path(arguments["file"]).name)
        words += ["--clips", "DIR"] if arguments.get("clips") else []
        words += ["--traces", "DIR"] if arguments.get("traces") else []
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return f"{' '.join(words)} --out {out} && lrae-replay report {out}"
