"""Footage of the runs: clips cut to length and size, named by what their files hold, decoded once for all runs."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from lrae.codec.types import MIN_SIDE, Frame, VideoFormat
from lrae.errors import SourceError
from lrae.experiments.clips import Clip, find_clips, read_clip
from lrae.sender.source import open_source
from lrae.sender.source_sample import sample_path


@dataclass(frozen=True)
class Footage:
    """A clip of the matrix. name: in the table; source: for open_source(); digest: 16 hex digits of its file.

    fit: (width, height) into which larger pictures are scaled, with their shape kept. seconds: length; shorter clips
    run forth and back, 0: as long as they are.
    """

    name: str
    source: str
    digest: str
    fit: tuple[int, int] | None = None
    seconds: float = 0.0


def find(texts: Sequence[str], fit: tuple[int, int] | None, seconds: float) -> list[Footage]:
    """What find_clips() finds for each text, named by file. SourceError: one is not there, or a name occurs twice."""
    found = [clip for text in texts for clip in find_clips(text)]
    clips = [Footage(label(text), text, digest(text), fit, seconds) for text in dict.fromkeys(found)]
    names = [clip.name for clip in clips]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SourceError(f"two clips are called {twice!r}: results could not tell them apart")
    return clips


def label(source: str) -> str:
    """A clip's name: the file's without its ending, the sample's or what makes it up otherwise."""
    return source if ":" in source else Path(source).stem


def digest(source: str) -> str:
    """The first 16 hex digits of the SHA-256 of a file; of the text where a clip is made up. SourceError."""
    if source.startswith("synthetic:"):
        return hashlib.sha256(source.encode()).hexdigest()[:16]
    path = sample_path(source.partition(":")[2]) if source.startswith("sample") else Path(source)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise SourceError(f"{source}: {error.strerror}") from None


@cache
def size_of(footage: Footage) -> tuple[int, int]:
    """(width, height) as it is sent. SourceError."""
    size = video_of(footage.source)[:2]
    return fitting(size, footage.fit) or size


def video_of(source: str) -> tuple[int, int, float]:
    """Width, height and frames a second, as stored. SourceError."""
    opened = open_source(source)
    try:
        return opened.format.width, opened.format.height, float(opened.format.fps)
    finally:
        opened.close()


@lru_cache(maxsize=2)
def load(footage: Footage, folder: str | None = None) -> Clip:
    """The clip, as it is sent. folder: of decoded clips, looked up and added to. SourceError."""
    name = "-".join((footage.digest, *map(str, footage.fit or ("stored",)), f"{footage.seconds:g}"))
    path = Path(folder, f"{name}.npz") if folder else None
    clip = read_cached(path, footage.name) if path else None
    if clip is None:
        clip = read(footage)
        if path:
            write_cached(path, clip)
    return prolonged(clip, footage.seconds)


def read(footage: Footage) -> Clip:
    """Its frames, no more than are needed."""
    width, height, fps = video_of(footage.source)
    count = round(footage.seconds * fps) or None
    clip = read_clip(footage.source, count, scale=fitting((width, height), footage.fit))
    return replace(clip, name=footage.name)


def fitting(size: tuple[int, int], fit: tuple[int, int] | None) -> tuple[int, int] | None:
    """Even (width, height) of the same shape that fits; None if it does as it is."""
    if fit is None or (size[0] <= fit[0] and size[1] <= fit[1]):
        return None
    scale = min(fit[0] / size[0], fit[1] / size[1])
    return tuple(max(MIN_SIDE, 2 * round(side * scale / 2)) for side in size)


def prolonged(clip: Clip, seconds: float) -> Clip:
    """Forth and back until it lasts so long; 0: once."""
    wanted = round(seconds * float(clip.format.fps)) or len(clip.frames)
    if wanted <= len(clip.frames):
        return replace(clip, frames=clip.frames[:wanted])
    there_and_back = clip.frames + clip.frames[-2:0:-1]
    turns = -(-wanted // len(there_and_back))
    return replace(clip, frames=(there_and_back * turns)[:wanted])


def write_cached(path: Path, clip: Clip) -> None:
    """A decoded clip as planes. Nothing where it cannot be written: the cache only saves time."""
    video = clip.format
    facts = [str(video.fps), video.color_range, video.matrix, str(clip.first)]
    planes = {name: np.stack([getattr(frame, name) for frame in clip.frames]) for name in "yuv"}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            beside = Path(file.name)
            np.savez(file, facts=np.array(facts), times=np.array([frame.time for frame in clip.frames]), **planes)
        beside.replace(path)
    except OSError:
        return


def read_cached(path: Path, name: str) -> Clip | None:
    """What write_cached() wrote, None if there is nothing that can be read."""
    try:
        with np.load(path) as stored:
            fps, color_range, matrix, first = stored["facts"].tolist()
            planes = [stored[plane] for plane in "yuv"]
            frames = tuple(Frame(*parts) for parts in zip(*planes, stored["times"].tolist(), strict=True))
    except (OSError, ValueError, KeyError, EOFError):
        return None
    width, height = frames[0].size
    return Clip(name, VideoFormat(width, height, Fraction(fps), color_range, matrix), frames, int(first))
