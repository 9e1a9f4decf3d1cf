"""What a reader must know before believing a report: unequal bits, runs that failed, runs that are not there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from lrae.experiments.replay.report_compare import Cell
from lrae.experiments.replay.report_rows import Run

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


def gaps(runs: Iterable[Run]) -> list[dict]:
    """Where the matrix has holes: by codec, condition and loss, how many runs there are of how many.

    The whole is what the rows span: every codec with each of its redundancies, on every sequence with every seed, in
    every condition at every loss.
    """
    pairs, redundancies, places = set(), defaultdict(set), set()
    done: dict[tuple, int] = defaultdict(int)
    for run in runs:
        pairs.add(run.pair)
        redundancies[run.codec].add(run.redundancy)
        places.add((run.condition, run.loss))
        done[run.codec, run.condition, run.loss] += not run.error
    found = []
    for condition, loss in sorted(places, key=lambda place: (place[0].order, place[1])):
        for codec, levels in sorted(redundancies.items()):
            there, whole = done[codec, condition, loss], len(pairs) * len(levels)
            if there < whole:
                found.append(
                    {"codec": codec, "condition": str(condition), "loss": loss, "runs": there, "expected": whole}
                )
    return found
