"""Clips are found and read as the experiments need them."""

import numpy as np
import pytest

from lrae.codec.types import Frame, VideoFormat
from lrae.codec.y4m import frame_bytes, header
from lrae.errors import SourceError
from lrae.experiments.clips import find_clips, read_clip


def test_a_folder_gives_its_videos_by_name_and_anything_else_itself(tmp_path):
    for name in ("b.mp4", "a.MKV", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.rsplit("/")[-1] for path in find_clips(str(tmp_path))] == ["a.MKV", "b.mp4"]
    assert find_clips("synthetic:") == ["synthetic:"]
    assert find_clips("sample") == ["sample:bikes", "sample:bigbuckbunny", "sample:carphone"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no videos"):
        find_clips(str(tmp_path / "empty"))


def test_flat_opening_frames_are_skipped_and_the_count_kept(tmp_path):
    rng = np.random.default_rng(1)
    half = np.full((16, 16), 128, np.uint8)
    black = Frame(np.full((32, 32), 16, np.uint8), half, half)
    lively = [Frame(rng.integers(16, 235, (32, 32), np.uint8), half, half) for _ in range(5)]
    path = tmp_path / "clip.y4m"
    path.write_bytes(header(VideoFormat(32, 32)) + b"".join(map(frame_bytes, [black, black, *lively])))
    clip = read_clip(path, 3)
    assert (clip.name, clip.first, len(clip.frames), clip.pixels) == ("clip", 2, 3, 3 * 32 * 32)
    assert all((a.y == b.y).all() for a, b in zip(clip.frames, lively, strict=False))
    assert read_clip(path, 3, skip_flat=False).first == 0
    path.write_bytes(header(VideoFormat(32, 32)) + frame_bytes(black))
    with pytest.raises(SourceError):
        read_clip(path)


def test_clips_are_cropped_or_scaled_on_demand():
    cropped = read_clip("synthetic:65x49@30x2", size=(32, 20))
    assert (cropped.format.width, cropped.frames[0].size) == (32, (32, 20))
    assert cropped.frames[0].u.shape == (10, 16)
    scaled = read_clip("synthetic:65x49@30x2", scale=(130, 98))
    assert scaled.frames[1].size == (130, 98) == (scaled.format.width, scaled.format.height)
