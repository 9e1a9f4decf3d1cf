"""Footage is read as it is, or from one packed file that says so where it is damaged."""

from __future__ import annotations

import numpy as np
import pytest

from lrae.errors import SourceError
from lrae.training import footage


def test_clips_of_a_folder_are_read_exactly_in_runs_of_32_and_cropped_to_blocks(tmp_path, write_video):
    pictures = np.random.default_rng(0).integers(0, 256, (41, 90 * 3 // 2, 72), np.uint8)
    write_video(tmp_path / "clip.mkv", pictures)
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    (tmp_path / "notes.txt").write_text("nor this")
    long, short = footage.load(str(tmp_path), quiet=True)
    assert long.size == short.size == (64, 80)
    assert (len(long.pictures), len(short.pictures)) == (32, 9)
    sent, got = footage.to_frame(pictures[32]), short.frame(0)
    np.testing.assert_array_equal(got.y, sent.y[:80, :64])
    np.testing.assert_array_equal(got.u, sent.u[:40, :32])
    np.testing.assert_array_equal(got.v, sent.v[:40, :32])


def test_flat_pictures_small_videos_and_many_versions_of_one_scene_are_left_out(tmp_path, write_video, clips):
    write_video(tmp_path / "small.mkv", np.random.default_rng(0).integers(0, 256, (9, 48 * 3 // 2, 64), np.uint8))
    with_title = np.concatenate((np.full((5, 96, 64), 20, np.uint8), clips[0].pictures))
    write_video(tmp_path / "title.mkv", with_title)
    for version in range(14):
        write_video(tmp_path / f"scene__{version:02}.mkv", clips[1].pictures[:8])
    found = footage.load(str(tmp_path), quiet=True)
    assert [clip.name for clip in found] == [*(f"scene__{v:02}" for v in range(12)), "title"]
    np.testing.assert_array_equal(found[-1].pictures, clips[0].pictures)
    assert len(footage.load(str(tmp_path), weigh=False, quiet=True)) == 15


def test_a_pack_holds_the_clips_within_the_error_of_jpeg(tmp_path, clips):
    path = tmp_path / "footage.pack"
    assert footage.write_pack(clips, path) == sum(len(clip.pictures) for clip in clips)
    unpacked = footage.load(str(path))
    assert len(unpacked) == len(clips)
    errors = np.array([[np.square(a.pictures - 1.0 * b.pictures).mean() for b in clips] for a in unpacked])
    assert sorted(errors.argmin(1)) == [0, 1, 2], "every clip is there, in some order"
    assert errors.min(1).max() < 4


def test_a_pack_is_no_larger_than_allowed(tmp_path, clips):
    path = tmp_path / "footage.pack"
    assert footage.write_pack(clips, path, mebibytes=0.05) < 36
    assert path.stat().st_size < 0.05 * (1 << 20)


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "empty", "no pictures", "other arrays"])
def test_a_bad_pack_is_a_source_error_that_names_the_file(tmp_path, clips, damage):
    path = tmp_path / "bad.pack"
    footage.write_pack(clips[:1], path)
    whole = path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "flipped":
        path.write_bytes(whole[:3000] + bytes([whole[3000] ^ 255]) + whole[3001:])
    elif damage == "foreign":
        path.write_bytes(b"something else" * 100)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "no pictures":
        with path.open("wb") as file:
            np.savez(file, clip0=np.zeros(30, np.uint8), clip0_ends=np.array([30]))
    else:
        with path.open("wb") as file:
            np.savez(file, weights=np.zeros(3))
    with pytest.raises(SourceError, match=r"bad\.pack: not a packed footage file"):
        footage.load(str(path))


def test_nothing_to_train_on_is_a_source_error(tmp_path, write_video):
    with pytest.raises(SourceError, match="no videos"):
        footage.load(str(tmp_path))
    write_video(tmp_path / "flat.mkv", np.full((9, 96, 64), 90, np.uint8))
    with pytest.raises(SourceError, match="nothing to train on"):
        footage.load(str(tmp_path), quiet=True)
