"""The table of results: its columns, and the file that it grows in, a line for each run."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from lrae.errors import ConfigError, SinkError
from lrae.experiments.viewing import Viewing

ACCURACY = "action_accuracy"
RESULTS, PARQUET = "results.csv", "results.parquet"
Row = dict[str, object]


@dataclass(frozen=True)
class Column:
    """name, type (str, int, float or bool) and unit of a column, and what it says. Any value may be missing (None)."""

    name: str
    kind: type
    unit: str
    meaning: str


CONDITION = (
    Column("run", str, "", "names the run: 16 hex digits, a hash of what it depends on (down to seed and clip)"),
    Column("sequence", str, "", "name of the clip"),
    Column("clip_sha", str, "", "16 hex digits: SHA-256 of the clip's file"),
    Column("width", int, "", "luma samples, as sent"),
    Column("height", int, "", "… likewise"),
    Column("fps", float, "1/s", "frames a second"),
    Column("codec", str, "", "lrae, h264, h264-ir, h265, vp8, vp9 or av1"),
    Column("bitrate_kbps", float, "kbit/s", "of all datagrams to the receiver, headers too; none: adaptive"),
    Column("loss", str, "", "loss process of both ways, as lrae-channel --loss"),
    Column("loss_rate", float, "", "its mean, 0 to 1"),
    Column("rate", str, "", "capacity of the way to the receiver, as lrae-channel --rate"),
    Column("rtt_ms", float, "ms", "round trip without queues"),
    Column("jitter_ms", float, "ms", "mean of the random delay that is added one way"),
    Column("pings", str, "", "file of recorded round trips on top of rtt_ms, or none"),
    Column("queue_bytes", int, "B", "length of the queue before a limited rate"),
    Column("deadline_ms", float, "ms", "the receiver's: how long it waits beyond the earliest possible arrival"),
    Column("fec", str, "", "as lrae-send --fec"),
    Column("retransmit", bool, "", "whether lost packets are sent again where they can be in time (NACK)"),
    Column("seed", int, "", "of everything random"),
    Column("model", str, "", "weights (hash) of lrae, library of a conventional codec"),
    Column("encode_ms", float, "ms", "computing time charged for encoding a frame"),
    Column("decode_ms", float, "ms", "… for decoding one"),
    Column("replay_ms", float, "ms", "… for a frame that the sender decodes again; none: the codec never does"),
)
_KINDS = {"str": str, "int": int, "float": float, "bool": bool}
FIGURES = tuple(
    Column(f.name, _KINDS[str(f.type).removesuffix(" | None")], f.metadata["unit"], f.metadata["meaning"])
    for f in fields(Viewing)
)
ACTIONS = (
    Column(ACCURACY, float, "", "share of instants at which the classifier names the clip's action; none if unknown"),
)
PROVENANCE = (
    Column("told_kbps", float, "kbit/s", "bitrate of the session: another than bitrate_kbps where equal_bits needs it"),
    Column("error", str, "", "why the run failed; the figures are missing then"),
    Column("version", str, "", "of lrae-vc"),
    Column("commit", str, "", "of the checkout that ran, + if it was changed; none elsewhere"),
    Column("machine", str, "", "processor"),
    Column("date", str, "", "UTC, when the run ended"),
    Column("took_s", float, "s", "how long it took"),
)
COLUMNS = (*CONDITION, *FIGURES, *ACTIONS, *PROVENANCE)
NAMES = tuple(column.name for column in COLUMNS)
VARYING = ("date", "took_s", "machine")  # columns in which two runs of the same matrix may differ


def to_line(row: Mapping[str, object]) -> str:
    """A row as a line of the file. Missing values are empty, floats are exact, truth is true or false."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([_cell(row.get(name)) for name in NAMES])
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(repr(value).split()) if isinstance(value, float) else " ".join(str(value).split())


def _value(text: str, kind: type) -> object:
    if text == "":
        return None
    if kind is bool:
        return {"true": True, "false": False}[text]
    return kind(text)


def parse(text: str, name: str) -> list[Row]:
    """The rows of a file's text, in order; a last line without its end is left out, for its run was interrupted.

    Columns that are not in COLUMNS are left out, those that are missing are None. name: of the file, for messages.
    ConfigError: no such table.
    """
    kept = text[: text.rfind("\n") + 1]
    try:
        header, *lines = list(csv.reader(io.StringIO(kept))) or [[]]
    except csv.Error as error:
        raise ConfigError(f"{name}: {error}") from None
    if "run" not in header or "codec" not in header:
        raise ConfigError(f"{name}: not results of lrae-replay")
    kinds = {column.name: column.kind for column in COLUMNS}
    rows = []
    for number, cells in enumerate(lines, 2):
        if len(cells) != len(header):
            raise ConfigError(f"{name}, line {number}: {len(cells)} values in {len(header)} columns")
        row: Row = dict.fromkeys(NAMES)
        try:
            row |= {key: _value(cell, kinds[key]) for key, cell in zip(header, cells, strict=True) if key in kinds}
        except (ValueError, KeyError):
            raise ConfigError(f"{name}, line {number}: a value is of the wrong type") from None
        rows.append(row)
    return rows


def read_rows(folder: Path) -> list[Row]:
    """The rows of a folder that lrae-replay run has written, failed runs included. ConfigError: there are none."""
    path = folder / RESULTS
    try:
        return parse(path.read_text("utf-8"), str(path))
    except FileNotFoundError:
        raise ConfigError(f"{folder}: no {RESULTS} here; lrae-replay run makes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None


class Table:
    """results.csv, open for more rows. Each is on disk before the next begins. SinkError where it cannot be written."""

    def __init__(self, folder: Path, rows: Iterable[Mapping[str, object]] = ()) -> None:
        """Starts the file with these rows; what it held before is replaced at once or not at all."""
        self._path = folder / RESULTS
        self._write(rows)

    def add(self, row: Mapping[str, object]) -> None:
        """One more row, at the end."""
        with writing(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(to_line(row))
            file.flush()
            os.fsync(file.fileno())

    def sort(self, order: Sequence[str]) -> None:
        """Puts the rows in the order of these runs, so that the file does not tell which process was faster."""
        place = {run: index for index, run in enumerate(order)}
        rows = parse(self._path.read_text("utf-8"), str(self._path))
        self._write(sorted(rows, key=lambda row: place[row["run"]]))

    def _write(self, rows: Iterable[Mapping[str, object]]) -> None:
        replace_file(self._path, ",".join(NAMES) + "\n" + "".join(map(to_line, rows)))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A context in which an OSError becomes a SinkError that names the file."""
    try:
        yield
    except OSError as error:
        raise SinkError(f"{path}: {error.strerror or error}") from None


def replace_file(path: Path, text: str) -> None:
    """Writes a whole file, or leaves it as it is. SinkError."""
    beside = path.with_name(path.name + ".part")
    with writing(path):
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)


def write_parquet(folder: Path) -> bool:
    """results.parquet beside results.csv; False where pyarrow is not installed. Units and meanings are in its schema.
    SinkError where it cannot be written."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return False
    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_()}
    schema = pyarrow.schema(
        [
            pyarrow.field(column.name, types[column.kind], metadata={"unit": column.unit, "meaning": column.meaning})
            for column in COLUMNS
        ]
    )
    path = folder / PARQUET
    beside = path.with_name(path.name + ".part")
    with writing(path):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(read_rows(folder), schema=schema), beside)
        beside.replace(path)
    return True
