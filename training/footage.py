"""Training footage in memory: clips as they are, or one packed file made from them (JPEG-coded planes)."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from lrae.codec.types import Frame
from lrae.errors import LraeError, SourceError

SIDE = 16  # clips are cropped to multiples of this
JPEG_QUALITY = 93
_KEY = "clip{:04d}"


@dataclass(frozen=True, eq=False)
class Clip:
    """pictures: uint8 [T, H·3/2, W], Y above U above V (I420), H and W multiples of 16."""

    name: str
    pictures: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the luma."""
        return self.pictures.shape[2], self.pictures.shape[1] * 2 // 3

    def frame(self, index: int) -> Frame:
        """One picture as a Frame (views)."""
        return to_frame(self.pictures[index])


def to_frame(picture: np.ndarray) -> Frame:
    """I420 uint8 [H·3/2, W] -> Frame."""
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    u, v = picture[height:].reshape(2, height // 2, width // 2)
    return Frame(picture[:height], u, v)


def load(path: str, frames: int = 64, weigh: bool = True, quiet: bool = False) -> list[Clip]:
    """Clips of a folder of videos (the first `frames` pictures of each, in runs of 32) or of a packed file.

    weigh: of groups of near-equal clips (the same name before "__") at most 12 are taken.
    SourceError where there is nothing to train on.
    """
    source = Path(path)
    clips = list(_unpack(source)) if source.is_file() else _read(source, frames, weigh, quiet)
    if not clips:
        raise SourceError(f"{path}: nothing to train on (it takes 8 pictures of 64x64 that are not flat)")
    return clips


def _read(source: Path, frames: int, weigh: bool, quiet: bool) -> list[Clip]:
    videos = sorted(p for p in source.glob("**/*") if p.suffix.lower() in (".mp4", ".mkv", ".y4m", ".webm", ".avi"))
    if not videos:
        raise SourceError(f"{source}: no videos to train on")
    if weigh:
        groups: dict[str, int] = {}
        kept = []
        for video in videos:
            group = video.name.split("__")[0]
            groups[group] = groups.get(group, 0) + 1
            if groups[group] <= 12:
                kept.append(video)
        videos = kept
    clips = []
    for video in track(videos, "reading clips", disable=quiet):
        try:
            clips += _segments(video, frames)
        except LraeError:
            continue
    return clips


def _segments(video: Path, frames: int, length: int = 32) -> Iterator[Clip]:
    """Runs of `length` consecutive pictures; flat openings are skipped."""
    from lrae.sender.source import open_source

    source, pictures, count = open_source(str(video)), [], 0
    try:
        for frame in source:
            if frame.y[::4, ::4].std() < 6:
                continue
            height, width = frame.y.shape[0] // SIDE * SIDE, frame.y.shape[1] // SIDE * SIDE
            if min(height, width) < 64:
                return
            chroma = [p[: height // 2, : width // 2].reshape(-1, width) for p in (frame.u, frame.v)]
            pictures.append(np.concatenate((frame.y[:height, :width], *chroma)))
            if len(pictures) == length:
                yield Clip(video.stem, np.stack(pictures))
                pictures, count = [], count + length
            if count >= frames:
                return
        if len(pictures) >= 8:
            yield Clip(video.stem, np.stack(pictures))
    finally:
        source.close()


def write_pack(clips: list[Clip], path: Path, mebibytes: float = 40, seed: int = 0) -> int:
    """Pack clips in random order, 16 pictures of each at a time, until the file would be larger. Returns pictures."""
    rng, arrays, size, total = np.random.default_rng(seed), {}, 0, 0
    parts = [(clip, start) for clip in clips for start in range(0, len(clip.pictures) - 7, 16)]
    for index in track(rng.permutation(len(parts)), "packing"):
        clip, start = parts[index]
        coded = [
            cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
            for picture in clip.pictures[start : start + 16]
        ]
        bytes_ = sum(map(len, coded))
        if size + bytes_ > mebibytes * (1 << 20) * 0.995:
            break
        key = _KEY.format(len(arrays) // 2)
        arrays[key] = np.concatenate(coded)
        arrays[key + "_ends"] = np.cumsum([len(c) for c in coded])
        size, total = size + bytes_, total + len(coded)
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return total


def _unpack(path: Path) -> Iterator[Clip]:
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("cut short, or another kind of file")
        with np.load(path) as file:
            for key in file.files:
                if key.endswith("_ends"):
                    continue
                parts = np.split(file[key], file[key + "_ends"][:-1])
                pictures = [cv2.imdecode(part, cv2.IMREAD_GRAYSCALE) for part in parts]
                if any(picture is None for picture in pictures):
                    raise ValueError(f"a picture of {key} is damaged")
                yield Clip(key, np.stack(pictures))
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile, cv2.error) as error:
        raise SourceError(f"{path}: not a packed footage file ({error})") from None
