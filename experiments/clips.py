"""Clips for the experiments: which files, and their first frames as they are stored (yuv420p)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av

from lrae.codec.avframe import PLANAR_420, crop, from_av, stream_format
from lrae.codec.types import Frame, VideoFormat
from lrae.errors import SourceError

FLAT_DEVIATION = 6.0  # luma standard deviation below which an opening frame counts as flat (black, a fade)


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of one file in order. first: how many flat opening frames were skipped."""

    name: str
    format: VideoFormat
    frames: tuple[Frame, ...]
    first: int = 0

    @property
    def pixels(self) -> int:
        """Luma samples of all frames together."""
        return self.format.width * self.format.height * len(self.frames)


def is_flat(frame: Frame) -> bool:
    """True where a frame shows next to nothing: black, white, the start of a fade."""
    return float(frame.y.std()) < FLAT_DEVIATION


def read_clip(
    path: Path | str, count: int | None = None, size: tuple[int, int] | None = None, skip_flat: bool = True
) -> Clip:
    """The first `count` frames (all if None) of a video file, without a colour conversion.

    size: (width, height) of a crop from the top left, in even numbers at most the clip's own.
    skip_flat: start at the first frame that is not flat. SourceError where there is nothing to read.
    """
    path = Path(path)
    frames: list[Frame] = []
    skipped = 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            for number, picture in enumerate(container.decode(stream)):
                if picture.format.name not in PLANAR_420:
                    picture = picture.reformat(format="yuv420p")
                if not frames:
                    video = stream_format(stream, picture)
                frame = from_av(picture, number / float(video.fps))
                if skip_flat and not frames and is_flat(frame):
                    skipped += 1
                    continue
                frames.append(frame if size is None else crop(frame, *size))
                if count is not None and len(frames) >= count:
                    break
    except (av.FFmpegError, OSError, IndexError) as error:
        raise SourceError(f"cannot read {path}: {error}") from error
    if not frames:
        raise SourceError(f"no frames in {path}")
    width, height = frames[0].size
    video = VideoFormat(width, height, video.fps, video.color_range, video.matrix)
    return Clip(path.stem, video, tuple(frames), skipped)
