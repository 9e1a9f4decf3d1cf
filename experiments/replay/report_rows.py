"""The runs of a folder that `lrae-replay run` wrote, as a report compares them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lrae.channel.loss import parse_loss
from lrae.errors import ConfigError
from lrae.experiments.replay.table import RESULTS, Row, read_rows
from lrae.experiments.viewing import QUALITY

LRAE = "lrae"
RESENT = "+NACK"  # after a code: lost packets are sent again too
NEEDED = ("sequence", "codec", "loss", "rtt_ms", "deadline_ms", "fec", "retransmit", "seed")
UNLIMITED = "unlimited"
PROVENANCE = ("version", "commit", "machine", "model")


@dataclass(frozen=True)
class Condition:
    """What a comparison holds fixed besides the loss process. kbps: of all datagrams; 0: congestion control decides."""

    kbps: float
    rtt_ms: float
    deadline_ms: float
    rate: str = UNLIMITED
    jitter_ms: float = 0.0
    queue_bytes: int = 0
    pings: str = "none"

    def __str__(self) -> str:
        return f"{self.kbps:g} kbit/s, {self.path}" if self.kbps else f"adaptive rate, {self.path}"

    @property
    def path(self) -> str:
        """All of it but the bitrate."""
        words = [f"RTT {self.rtt_ms:g} ms", f"deadline {self.deadline_ms:g} ms"]
        if self.jitter_ms:
            words.append(f"jitter {self.jitter_ms:g} ms")
        if self.pings != "none":
            words.append(f"round trips of {Path(self.pings).name}")
        if self.rate != UNLIMITED:
            words.append(f"capacity {Path(self.rate).name}, queue {self.queue_bytes / 1024:g} KiB")
        return ", ".join(words)

    @property
    def slug(self) -> str:
        """For names of files."""
        words = [f"{self.kbps:g}k" if self.kbps else "auto", f"rtt{self.rtt_ms:g}", f"deadline{self.deadline_ms:g}"]
        if self.jitter_ms:
            words.append(f"jitter{self.jitter_ms:g}")
        if self.pings != "none":
            words.append(Path(self.pings).name)
        if self.rate != UNLIMITED:
            words += [Path(self.rate).name, f"queue{self.queue_bytes}"]
        return re.sub(r"[^a-z0-9.]+", "-", "-".join(words).lower())

    @property
    def order(self) -> tuple:
        """For sorting."""
        return self.rate, self.kbps, self.rtt_ms, self.deadline_ms, self.jitter_ms, self.queue_bytes, self.pings


@dataclass(frozen=True)
class Run:
    """One session. loss: text of the process. redundancy: code, with RESENT where lost packets are sent again.
    figures: what was measured, by column. error: why the session failed, if it did. row: as it was read."""

    sequence: str
    codec: str
    condition: Condition
    loss: str
    redundancy: str
    seed: int
    figures: Mapping[str, float]
    error: str
    row: Row

    @property
    def pair(self) -> tuple[str, int]:
        """What is averaged over."""
        return self.sequence, self.seed


def loss_rate(text: str) -> float | None:
    """Of independent losses, their rate 0..1; None for any other process. ConfigError: no such process."""
    if text in ("none", "all") or re.match(r"[-+.\d]", text):
        return parse_loss(text).mean
    return None


def read_runs(folder: Path) -> tuple[list[Run], int]:
    """The runs of a folder, and how many rows gave way to another one of the same sequence, seed, codec, condition,
    loss and redundancy: the last without an error counts.

    ConfigError: no folder, no table, no rows, a table of something else or with columns missing.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    rows = read_rows(folder)
    if not rows:
        raise ConfigError(f"{folder / RESULTS}: no rows yet")
    for name in NEEDED:
        if all(row.get(name) is None for row in rows):
            raise ConfigError(f"{folder / RESULTS}: column {name} is missing")
    found: dict[tuple, Run] = {}
    for number, row in enumerate(rows, 2):
        if empty := [name for name in NEEDED if row.get(name) is None]:
            raise ConfigError(f"{folder / RESULTS}, row {number}: no {', '.join(empty)}")
        run = make_run(row)
        key = (run.pair, run.codec, run.condition, run.loss, run.redundancy)
        if not run.error or key not in found:
            found[key] = run
    return list(found.values()), len(rows) - len(found)


def check_comparable(runs: Iterable[Run], folder: Path) -> None:
    """ConfigError: nothing to compare."""
    runs = list(runs)
    done = [run for run in runs if not run.error]
    if not done:
        raise ConfigError(f"{folder}: all {len(runs)} runs failed; the first: {runs[0].error}")
    if not any(name in run.figures for run in done for name in QUALITY):
        raise ConfigError(f"{folder / RESULTS}: none of the columns {', '.join(QUALITY)} has a value")
    codecs = sorted({run.codec for run in done})
    if LRAE not in codecs:
        raise ConfigError(f"{folder}: no run of codec {LRAE}, only of {', '.join(codecs)}")
    if len(codecs) == 1:
        raise ConfigError(f"{folder}: runs of codec {LRAE} only, nothing to compare it with")


def provenance(runs: Iterable[Run]) -> dict[str, list[str]]:
    """What the runs say of where they come from: the different values of each of PROVENANCE."""
    return {name: sorted({str(run.row[name]) for run in runs if run.row.get(name)}) for name in PROVENANCE}


def make_run(row: Row) -> Run:
    """A row of the table; figures may be missing."""
    limited = row.get("rate") not in (None, UNLIMITED)
    condition = Condition(
        kbps=row.get("bitrate_kbps") or 0.0,
        rtt_ms=row["rtt_ms"],
        deadline_ms=row["deadline_ms"],
        rate=row["rate"] if limited else UNLIMITED,
        jitter_ms=row.get("jitter_ms") or 0.0,
        pings=row.get("pings") or "none",
        queue_bytes=(row.get("queue_bytes") or 0) if limited else 0,  # without a limit nothing ever waits
    )
    error = row.get("error") or ""
    numbers = {name: float(value) for name, value in row.items() if isinstance(value, int | float)}
    return Run(
        row["sequence"],
        row["codec"],
        condition,
        row["loss"],
        row["fec"] + RESENT * row["retransmit"],
        row["seed"],
        {} if error else numbers,
        error,
        row,
    )
