"""What a reader must know before believing a report: unequal bits, runs that failed, runs that are not there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from lrae.experiments.replay.job import Job, known_before
from lrae.experiments.replay.report_compare import Cell
from lrae.experiments.replay.report_rows import Run, make_run

TOLERANCE = 0.03  # total bits count as equal within this share of the condition's bitrate


def unequal_bits(cells: Iterable[Cell]) -> list[dict]:
    """Of what is compared (every codec's best redundancy), what took more or less than TOLERANCE off the bitrate."""
    found: dict[tuple, dict] = {}
    for cell in cells:
        for entry in map(cell.oracle, cell.codecs):
            kbps = entry.mean("kbps")
            if kbps is None or not cell.condition.kbps:
                continue
            off = kbps / cell.condition.kbps - 1
            if abs(off) > TOLERANCE:
                key = (cell.condition, cell.loss, entry.codec, entry.redundancy)
                found[key] = {
                    "condition": str(cell.condition),
                    "loss": cell.loss,
                    "codec": entry.codec,
                    "redundancy": entry.redundancy,
                    "kbps": kbps,
                    "off": off,
                }
    return list(found.values())


def failures(runs: Iterable[Run]) -> list[dict]:
    """Runs that ended in an error."""
    return [
        {
            "sequence": run.sequence,
            "codec": run.codec,
            "condition": str(run.condition),
            "loss": run.loss,
            "redundancy": run.redundancy,
            "seed": run.seed,
            "error": run.error,
        }
        for run in runs
        if run.error
    ]


def gaps(runs: Iterable[Run], jobs: Mapping[str, Job]) -> list[dict]:
    """Where the matrix has holes: by codec, condition and loss, how many runs there are of how many. jobs: all of it,
    by name of the run."""
    done = {run.row["run"] for run in runs if not run.error}
    count: dict[tuple, Counter] = defaultdict(Counter)
    for name, job in jobs.items():
        planned = make_run(known_before(job))
        count[planned.condition, planned.loss, planned.codec][name in done] += 1
    return [
        {
            "codec": codec,
            "condition": str(condition),
            "loss": loss,
            "runs": found[True],
            "expected": found.total(),
        }
        for (condition, loss, codec), found in count.items()
        if found[False]
    ]
