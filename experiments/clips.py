"""Clips for the experiments: which inputs, and their first frames as they are stored (yuv420p)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lrae.codec.avframe import crop
from lrae.codec.types import Frame, VideoFormat
from lrae.errors import SourceError
from lrae.sender.source import open_source
from lrae.sender.source_sample import SAMPLES

FLAT_DEVIATION = 6.0  # luma standard deviation below which an opening frame counts as flat (black, a fade)
SUFFIXES = (".mp4", ".mkv", ".y4m", ".webm", ".mov", ".avi")


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of one input in order. first: how many flat opening frames were skipped."""

    name: str
    format: VideoFormat
    frames: tuple[Frame, ...]
    first: int = 0

    @property
    def pixels(self) -> int:
        """Luma samples of all frames together."""
        return self.format.width * self.format.height * len(self.frames)


def find_clips(text: str) -> list[str]:
    """Inputs for open_source: the videos of a folder by name, all samples for "sample", else `text` itself.

    SourceError: a folder without videos.
    """
    if text == "sample":
        return [f"sample:{name}" for name in SAMPLES]
    if not Path(text).is_dir():
        return [text]
    found = sorted(str(path) for path in Path(text).iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise SourceError(f"{text}: no videos in this folder ({', '.join(SUFFIXES)})")
    return found


def is_flat(frame: Frame) -> bool:
    """True where a frame shows next to nothing: black, white, the start of a fade."""
    return float(frame.y.std()) < FLAT_DEVIATION


def read_clip(
    name: Path | str,
    count: int | None = None,
    size: tuple[int, int] | None = None,
    skip_flat: bool = True,
    scale: tuple[int, int] | None = None,
) -> Clip:
    """The first `count` frames (all if None) of an input, without a colour conversion.

    size: (width, height) of a crop from the top left, at most the clip's own. scale: (width, height) to
    scale to. skip_flat: start at the first frame that is not flat. SourceError: nothing to read.
    """
    text = str(name)
    source = open_source(text, size=scale)
    frames: list[Frame] = []
    skipped = 0
    try:
        for frame in source:
            if skip_flat and not frames and is_flat(frame):
                skipped += 1
                continue
            frames.append(frame if size is None else crop(frame, *size))
            if count is not None and len(frames) >= count:
                break
    finally:
        source.close()
    if not frames:
        raise SourceError(f"{text}: no frames that show anything")
    width, height = frames[0].size
    label = text if ":" in text else Path(text).stem
    return Clip(label, replace(source.format, width=width, height=height), tuple(frames), skipped)
