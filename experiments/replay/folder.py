"""A folder of results: what it holds, and how a matrix that was interrupted goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from lrae.errors import ConfigError
from lrae.experiments.replay.job import Job
from lrae.experiments.replay.table import RESULTS, Row, Table, read_rows, replace_file, writing

JOBS, ABOUT, FRAMES, CACHE = "jobs.jsonl", "about.json", "frames", "cache"


class Folder:
    """Takes results in. rows: those that are there already and stay."""

    def __init__(self, path: Path, jobs: Sequence[Job], about: Mapping[str, object], resume: bool) -> None:
        """about: what is to be known of the matrix and the machine. resume: go on with what is there; failed runs are
        done again. ConfigError: there are results and resume is false, or those of runs that are not in `jobs`.
        SinkError."""
        self.path = path
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        self.rows = kept_rows(path, jobs, resume)
        replace_file(path / JOBS, "".join(job.to_json() + "\n" for job in jobs))
        replace_file(path / ABOUT, json.dumps(about, indent=1, default=str) + "\n")
        self._order = [job.run for job in jobs]
        self._table = Table(path, self.rows)

    def add(self, row: Row, frames: str | None = None) -> None:
        """One more result. frames: JSON lines of its instants. SinkError."""
        if frames is not None:
            with writing(self.path / FRAMES):
                (self.path / FRAMES).mkdir(exist_ok=True)
            replace_file(frames_path(self.path, row["run"]), frames)
        self._table.add(row)

    def sort(self) -> None:
        """The rows in the order of the matrix. SinkError."""
        self._table.sort(self._order)


def kept_rows(path: Path, jobs: Sequence[Job], resume: bool) -> list[Row]:
    """Results that need not be computed again, each once: of sessions that were there at all."""
    if not (path / RESULTS).exists():
        return []
    if not resume:
        raise ConfigError(f"{path} has results already: --resume goes on with them, or choose another folder")
    wanted = {job.run for job in jobs}
    rows = {row["run"]: row for row in read_rows(path) if not row["error"] and row["sent"]}
    if foreign := rows.keys() - wanted:
        raise ConfigError(f"{path} holds {len(foreign)} results that this matrix has not: choose another folder")
    return list(rows.values())


def frames_path(folder: Path, run: str) -> Path:
    """JSON lines of the instants of a run (those of lrae.experiments.viewing.FrameRow)."""
    return folder / FRAMES / f"{run}.jsonl"


def read_jobs(folder: Path) -> dict[str, Job]:
    """Every run of the matrix whose results a folder holds, also those that are still missing. ConfigError."""
    path = folder / JOBS
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    jobs = map(Job.from_json, lines)
    return {job.run: job for job in jobs}
