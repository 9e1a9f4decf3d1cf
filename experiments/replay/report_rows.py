"""The rows that `lrae-replay run` left in a folder, read back as numbers and checked."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lrae.channel.loss import parse_loss
from lrae.errors import ConfigError, LraeError
from lrae.experiments.viewing import COLUMNS, QUALITY

LRAE = "lrae"
ACCURACY = "action_accuracy"  # share of instants at which the classifier names the right action
KEYS = ("sequence", "codec", "bitrate", "loss", "rtt_ms", "deadline_ms", "fec", "retransmit", "seed")
DEFAULTS = {"rate": "unlimited", "jitter_ms": "0", "queue_bytes": "0"}
NEEDED = (*KEYS, "psnr_yuv", "ssim_db", "kbps")
FIGURES = (*(name for name, _, _ in COLUMNS), ACCURACY)


@dataclass(frozen=True, order=True)
class Condition:
    """What a comparison holds fixed besides the loss process. bitrate: of all datagrams, bit/s."""

    bitrate: int
    rtt_ms: float
    deadline_ms: float
    rate: str = DEFAULTS["rate"]
    jitter_ms: float = 0.0
    queue_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.bitrate / 1000:g} kbit/s, {self.path}"

    @property
    def path(self) -> str:
        """All of it but the bitrate."""
        words = [f"RTT {self.rtt_ms:g} ms", f"deadline {self.deadline_ms:g} ms"]
        if self.jitter_ms:
            words.append(f"jitter {self.jitter_ms:g} ms")
        if self.rate != DEFAULTS["rate"]:
            words.append(f"capacity {self.rate}, queue {self.queue_bytes} B")
        return ", ".join(words)


@dataclass(frozen=True)
class Run:
    """One session. loss: text of the process. redundancy: code, with "+NACK" where lost packets are sent again.
    figures: what was measured, by column; empty where error says why the session failed. row: as it was read."""

    sequence: str
    codec: str
    condition: Condition
    loss: str
    redundancy: str
    seed: int
    figures: Mapping[str, float]
    error: str
    row: Mapping[str, str]


def loss_rate(text: str) -> float | None:
    """Of independent losses, their rate 0..1; None for any other process."""
    if text in ("none", "all") or re.match(r"[-+.\d]", text):
        return parse_loss(text).mean
    return None


def read_runs(folder: Path) -> list[Run]:
    """All runs of a folder's *.csv; of a run that is there twice, the last one without an error.

    ConfigError: no folder, no rows, a table of something else, values that make no sense.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    tables = sorted(folder.glob("*.csv"))
    if not tables:
        raise ConfigError(f"{folder}: no *.csv in it; `lrae-replay run FILE --out {folder}` writes them")
    found: dict[tuple, Run] = {}
    for path in tables:
        for run in _read(path):
            key = (run.sequence, run.codec, run.condition, run.loss, run.redundancy, run.seed)
            if not run.error or key not in found:
                found[key] = run
    if not found:
        raise ConfigError(f"{folder}: no rows in {', '.join(path.name for path in tables)}")
    return list(found.values())


def check_comparable(runs: list[Run], folder: Path) -> None:
    """ConfigError: nothing to compare."""
    codecs = {run.codec for run in runs if not run.error}
    if not codecs:
        raise ConfigError(f"{folder}: all {len(runs)} runs failed; the first: {runs[0].error}")
    if LRAE not in codecs:
        raise ConfigError(f"{folder}: no run of codec {LRAE}, only of {', '.join(sorted(codecs))}")
    if len(codecs) == 1:
        raise ConfigError(f"{folder}: runs of {LRAE} only, nothing to compare it with")


def _read(path: Path) -> list[Run]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames or ()
            if missing := [name for name in NEEDED if name not in columns]:
                kind = "a table of something else" if len(missing) > len(NEEDED) // 2 else "columns are missing"
                raise ConfigError(f"{path}: {kind}: no {', '.join(missing)}")
            return [_run(row, f"{path}:{reader.line_num}") for row in reader if None not in row.values()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _run(row: dict[str, str], place: str) -> Run:
    value = {**DEFAULTS, **{name: text for name, text in row.items() if text}}
    try:
        condition = Condition(
            bitrate=int(value["bitrate"]),
            rtt_ms=float(value["rtt_ms"]),
            deadline_ms=float(value["deadline_ms"]),
            rate=value["rate"],
            jitter_ms=float(value["jitter_ms"]),
            queue_bytes=int(value["queue_bytes"]),
        )
        loss_rate(value["loss"])
        error = value.get("error", "")
        figures = {} if error else {name: _number(value[name]) for name in FIGURES if name in value}
        if not error and not any(name in figures for name in QUALITY):
            raise ValueError("neither an error nor any figure of quality")
        resent = "+NACK" * (value["retransmit"].lower() in ("true", "1", "on", "yes"))
        redundancy, seed = value["fec"] + resent, int(value["seed"])
        return Run(value["sequence"], value["codec"], condition, value["loss"], redundancy, seed, figures, error, row)
    except KeyError as problem:
        raise ConfigError(f"{place}: no value for {problem.args[0]}") from problem
    except (ValueError, LraeError) as problem:
        raise ConfigError(f"{place}: {problem}") from problem


def _number(text: str) -> float:
    return {"true": 1.0, "false": 0.0}.get(text.lower()) if text.lower() in ("true", "false") else float(text)
