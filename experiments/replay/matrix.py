"""The TOML file that says what to run: lists of values, of which every combination is a run."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from lrae.channel.loss import parse_loss
from lrae.channel.rate import parse_rate
from lrae.codec.conventional import NAMES as CONVENTIONAL
from lrae.codec.conventional.settings import find as find_codec
from lrae.errors import ConfigError, LraeError
from lrae.experiments.replay.footage import find
from lrae.experiments.replay.job import TRACES, Condition, Job, located, located_pings
from lrae.experiments.replay.table import ACCURACY
from lrae.experiments.stream import LRAE, Network
from lrae.experiments.viewing import QUALITY
from lrae.sender.main import parse_bitrate, parse_fec
from lrae.sender.source import parse_size

CODECS = (LRAE, *CONVENTIONAL)
MAX_BYTES = 1 << 20
RUNS = "runs"  # tables that change some keys; without any, the keys themselves are one


@dataclass(frozen=True)
class Block:
    """Keys of the file: every combination of the lists is a run. Their meaning: docs/replay.md."""

    sequences: tuple[str, ...] = ("sample",)
    fit: tuple[int, int] | None = None
    seconds: float = 0.0
    codecs: tuple[str, ...] = CODECS
    bitrates: tuple[int | None, ...] = (400_000,)
    losses: tuple[str, ...] = ("none",)
    rates: tuple[str, ...] = ("unlimited",)
    rtts_ms: tuple[float, ...] = (100.0,)
    jitters_ms: tuple[float, ...] = (0.0,)
    pings: tuple[str, ...] = ("none",)
    queues_bytes: tuple[int, ...] = (64 * 1024,)
    deadlines_ms: tuple[float, ...] = (150.0,)
    redundancy: tuple[str, ...] = ("none",)
    retransmit: tuple[bool, ...] = (False, True)
    seeds: tuple[int, ...] = (0,)
    measures: tuple[str, ...] = ("psnr_yuv", "ssim_db")
    equal_bits: float = 0.0
    model: str = "m"
    optional: bool = False


@dataclass(frozen=True)
class Matrix:
    """blocks: in the order of the file. charges: seconds of (encode, decode, replay) by codec that are not measured.
    traces: folder in which the traces of losses and rates lie."""

    blocks: tuple[Block, ...]
    charges: dict[str, tuple[float, float, float]]
    traces: Path


def shipped() -> list[str]:
    """Names of the matrices that come with the package."""
    names = (entry.name for entry in files("lrae.experiments").iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def load_matrix(name: str, traces: Path | None = None) -> Matrix:
    """A file, or a matrix that comes with the package. traces: where its traces are, else beside the file.

    ConfigError: not there, not TOML, or a key that is unknown or has a wrong value; it names the key.
    """
    path = Path(name)
    try:
        if not path.exists() and name in shipped():
            path = Path(str(files("lrae.experiments"))) / f"{name}.toml"
        with path.open("rb") as file:
            table = tomllib.loads(file.read(MAX_BYTES).decode())
    except OSError as error:
        known = ", ".join(shipped())
        raise ConfigError(f"cannot read {name}: {error.strerror}; matrices that come with it: {known}") from None
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
    runs, charges = table.pop(RUNS, [{}]), table.pop("codec_ms", {})
    if not isinstance(runs, list) or not runs or not all(isinstance(run, dict) for run in runs):
        raise ConfigError(f"{name}: runs: expected tables, each headed [[{RUNS}]]")
    base = read_keys(table, name)
    blocks = tuple(Block(**base | read_keys(run, f"{name}, runs {n}")) for n, run in enumerate(runs, 1))
    return Matrix(blocks, read_charges(charges, name), traces or path.absolute().parent)


def read_keys(table: dict[str, Any], where: str) -> dict[str, Any]:
    """Fields of Block from a TOML table. Lists may be single values. ConfigError names the key."""
    known = {field.name: field for field in fields(Block)}
    found = {}
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}; known: {', '.join(known)}")
        try:
            if key in LISTS:
                values = value if isinstance(value, list) else [value]
                if not values:
                    raise ConfigError("an empty list: nothing to run")
                found[key] = tuple(dict.fromkeys(map(LISTS[key], values)))
            else:
                found[key] = SINGLE[key](value)
        except LraeError as error:
            raise ConfigError(f"{where}: {key}: {error}") from None
    return found


def read_charges(table: object, name: str) -> dict[str, tuple[float, float, float]]:
    """The table codec_ms: encode, decode and, for lrae, replay in milliseconds by codec. Seconds."""
    found = {}
    for codec, times in table.items() if isinstance(table, dict) else ((table, None),):
        count = 3 if codec == LRAE else 2
        if codec not in CODECS:
            raise ConfigError(f"{name}: codec_ms: unknown codec {codec!r}; known: {', '.join(CODECS)}")
        if not (isinstance(times, list) and len(times) == count and all(_is_number(t) and t >= 0 for t in times)):
            raise ConfigError(f"{name}: codec_ms: {codec}: expected {count} numbers of milliseconds")
        found[codec] = tuple(t / 1e3 for t in (*times, 0.0)[:3])
    return found


def plan(matrix: Matrix, clips: Sequence[str] | None = None) -> tuple[list[Job], list[str]]:
    """Every run once, in order, and a line for whatever is left out: a codec that this libav lacks, an optional block
    whose clips or traces are missing. clips: replace the sequences.

    ConfigError, SourceError, TraceError: a clip or trace of a block that is not optional is missing or malformed.
    """
    jobs: dict[str, Job] = {}
    missing = missing_codecs({codec for block in matrix.blocks for codec in block.codecs})
    notes = [f"left out: {reason}" for reason in missing.values()]
    for block in matrix.blocks:
        try:
            codecs = tuple(codec for codec in block.codecs if codec not in missing)
            found = jobs_of(replace(block, codecs=codecs), matrix.traces, clips)
        except LraeError as error:
            if not block.optional:
                raise
            notes.append(f"left out, for it is optional: {error}")
            continue
        jobs |= {job.run: job for job in found if job.run not in jobs}
    if not jobs:
        raise ConfigError("; ".join(("nothing to run", *notes)))
    return list(jobs.values()), notes


def missing_codecs(names: Iterable[str]) -> dict[str, str]:
    """Why a codec cannot be run here, by name."""
    found = {}
    for name in sorted(set(names) - {LRAE}):
        try:
            find_codec(name)
        except ConfigError as error:
            found[name] = str(error)
    return found


def jobs_of(block: Block, traces: Path, clips: Sequence[str] | None = None) -> list[Job]:
    """The combinations of a block; neighbours share a clip. LRAE has one: its default redundancy."""
    for loss in block.losses:
        parse_loss(located(loss, traces))
    for rate in block.rates:
        parse_rate(located(rate, traces))
    for pings in block.pings:
        Network(pings=located_pings(pings, traces)).recorded()
    footage = find(clips or block.sequences, block.fit, block.seconds)
    choices = list(itertools.product(block.redundancy, block.retransmit))
    coded = [(codec, *each) for codec in block.codecs for each in ([("auto", True)] if codec == LRAE else choices)]
    paths = itertools.product(block.rates, block.rtts_ms, block.jitters_ms, block.pings, block.queues_bytes)
    networks = itertools.product(block.losses, paths)
    conditions = [
        Condition(codec, bitrate, fec, again, loss, *path, deadline, seed)
        for bitrate, (loss, path), deadline, (codec, fec, again), seed in itertools.product(
            block.bitrates, networks, block.deadlines_ms, coded, block.seeds
        )
    ]
    model = {LRAE: block.model}
    return [
        Job(clip, condition, model.get(condition.codec, ""), block.measures, str(traces), block.equal_bits)
        for clip in footage
        for condition in conditions
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{value!r} is not a text")
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{value!r} is neither true nor false")
    return value


def _number(low: float, high: float, whole: bool = False) -> Callable[[object], float]:
    def read(value: object) -> float:
        if not _is_number(value) or (whole and not isinstance(value, int)) or not low <= value <= high:
            raise ConfigError(f"{value!r} is not a {'whole ' * whole}number from {low:g} to {high:g}")
        return value if whole else float(value)

    return read


def _of(known: tuple[str, ...], what: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in known:
            raise ConfigError(f"unknown {what} {value!r}; known: {', '.join(known)}")
        return value

    return read


def _bitrate(value: object) -> int | None:
    return None if value == "auto" else parse_bitrate(str(value) if _is_number(value) else _text(value))


def _loss(value: object) -> str:
    text = f"{value:g}" if _is_number(value) else _text(value).strip()
    if text.partition(":")[0] not in TRACES:
        parse_loss(text)
    return text


def _rate(value: object) -> str:
    text = f"{value:g}" if _is_number(value) else _text(value).strip()
    if text.partition(":")[0] not in TRACES:
        parse_rate(text)
    return text


def _fec(value: object) -> str:
    parse_fec(_text(value))
    return value


LISTS: dict[str, Callable[[object], Any]] = {
    "sequences": _text,
    "codecs": _of(CODECS, "codec"),
    "bitrates": _bitrate,
    "losses": _loss,
    "rates": _rate,
    "rtts_ms": _number(0, 10_000),
    "jitters_ms": _number(0, 10_000),
    "pings": _text,
    "queues_bytes": _number(1, 1 << 28, whole=True),
    "deadlines_ms": _number(1, 10_000),
    "redundancy": _fec,
    "retransmit": _truth,
    "seeds": _number(0, 1 << 31, whole=True),
    "measures": _of((*QUALITY, ACCURACY), "measure"),
}
SINGLE: dict[str, Callable[[object], Any]] = {
    "fit": lambda value: parse_size(_text(value)),
    "seconds": _number(0, 3600),
    "equal_bits": _number(0, 1),
    "model": _text,
    "optional": _truth,
}
