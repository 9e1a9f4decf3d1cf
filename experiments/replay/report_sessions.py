"""Two sessions of a matrix looked at closely: LRAE and the best conventional codec, instant by instant."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lrae.codec.types import Frame, VideoFormat
from lrae.errors import LraeError
from lrae.experiments.replay.folder import CACHE, frames_path, read_jobs
from lrae.experiments.replay.job import charge_of, play_job
from lrae.experiments.replay.report_compare import Contest
from lrae.experiments.replay.report_rows import LRAE, Run
from lrae.experiments.screen import on_screen
from lrae.experiments.viewing import view

LOSS = 0.1  # the pair is taken from the measured rate nearest to this
MOMENTS = (1 / 3, 2 / 3)  # of the clip: where the stills are taken, whatever they show
SAME = 1e-3  # dB; a session that is run again must give its row's quality
Instants = Sequence[Mapping[str, object]]  # fields of lrae.experiments.viewing.FrameRow


@dataclass(frozen=True)
class Pair:
    """The same clip and seed under the same loss. ours, theirs: runs of LRAE and of the best conventional codec."""

    ours: Run
    theirs: Run

    @property
    def text(self) -> str:
        """For people."""
        one = self.ours
        return f"{one.sequence}, seed {one.seed}, loss {one.loss}, {one.condition}"


@dataclass(frozen=True, eq=False)
class Replay:
    """A session that was run again. pictures: on screen at each instant; clip: what should be there."""

    video: VideoFormat
    clip: Sequence[Frame]
    pictures: Sequence[Frame]
    instants: Instants


def choose_pair(contest: Contest) -> Pair:
    """At the loss rate nearest to LOSS, the sequence whose lead is the median: it flatters neither."""
    cell = min(contest.cells, key=lambda cell: abs(math.log((cell.rate + 1e-3) / LOSS)))
    ours, theirs = cell.oracle(LRAE), cell.best_other()
    leads = (ours.values - theirs.values).tolist()
    name = cell.sequences[sorted(range(len(leads)), key=leads.__getitem__)[len(leads) // 2]]
    first = [next(run for run in entry.runs if run.sequence == name) for entry in (ours, theirs)]
    return Pair(*first)


def replay(folder: Path, run: Run) -> Replay:
    """Runs a session of a folder again. LraeError: it cannot be, or is not what it was."""
    jobs = read_jobs(folder)
    if (name := run.row["run"]) not in jobs:
        raise LraeError(f"run {name} is not in the folder's list of runs")
    played = play_job(jobs[name], charge_of(run.row), str(folder / CACHE))
    clip = played.clip
    viewing, instants = view(clip, played.outcome, played.delay, ("psnr_yuv",))
    before = run.figures.get("psnr_yuv")
    if before is not None and abs(viewing.psnr_yuv - before) > SAME:
        raise LraeError(
            f"run {name} gives {viewing.psnr_yuv:.2f} dB now, {before:.2f} dB when the matrix was run "
            f"(commit {run.row.get('commit')}): other code, weights or library"
        )
    pictures = [instant.picture for instant in on_screen(clip, played.outcome, played.delay)]
    return Replay(clip.format, clip.frames, pictures, [asdict(instant) for instant in instants])


def read_log(folder: Path, run: Run) -> Instants | None:
    """The instants of a run from `lrae-replay run --frames-log`; None if they were not logged or are damaged."""
    try:
        lines = frames_path(folder, str(run.row["run"])).read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines] or None
    except (OSError, ValueError):
        return None


def logged_delays(folder: Path, contest: Contest) -> dict[str, list[float]]:
    """By codec, the delay in seconds of every instant that was logged at the loss rate of choose_pair(), each codec
    with its best redundancy; codecs of which a run has no log are left out."""
    cell = min(contest.cells, key=lambda cell: abs(math.log((cell.rate + 1e-3) / LOSS)))
    found = {}
    for entry in map(cell.oracle, cell.codecs):
        logs = [read_log(folder, run) for run in entry.runs]
        if all(logs):
            found[entry.codec] = [float(instant["delay"]) for log in logs for instant in log]
    return found
