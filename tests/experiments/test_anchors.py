"""The anchors are what they claim: low delay, one intra frame, real bytes that decode on their own."""

import numpy as np
import pytest

from lrae.codec.types import Frame
from lrae.errors import ConfigError
from lrae.experiments.anchors import (
    ANCHORS,
    DEFAULT_ANCHORS,
    decode_stream,
    drop_banner,
    encode_stream,
    run_anchor,
)
from lrae.experiments.clips import read_clip
from lrae.experiments.metrics import mean_psnr_yuv


@pytest.fixture(scope="module")
def clip():
    return read_clip("synthetic:95x65@30x8")


@pytest.mark.parametrize("name", DEFAULT_ANCHORS)
def test_bytes_alone_decode_to_the_frames_in_order_and_a_lower_crf_is_better_and_larger(clip, name):
    fine, coarse = (run_anchor(clip.frames, clip.format, name, crf) for crf in (18, 34))
    assert fine.bytes == sum(fine.sizes) > coarse.bytes > 0
    assert len(fine.decoded) == len(clip.frames) == len(fine.sizes)
    assert fine.decoded[0].size == (95, 65)
    assert mean_psnr_yuv(clip.frames, fine.decoded) > mean_psnr_yuv(clip.frames, coarse.decoded) > 20


@pytest.mark.parametrize("name", ANCHORS)
def test_each_frame_leaves_at_once_and_decodes_without_the_next(clip, name):
    units = encode_stream(clip.frames, clip.format, name, 30)
    for count in (1, 4):
        decoded = decode_stream(units[:count], name, 95, 65)
        whole = decode_stream(units, name, 95, 65)
        assert len(decoded) == count
        assert all((a.y == b.y).all() for a, b in zip(decoded, whole, strict=False))


def test_x264_makes_one_intra_frame_over_a_scene_cut_and_carries_no_banner():
    rng = np.random.default_rng(1)
    half = np.full((24, 32), 128, np.uint8)
    frames = [Frame(rng.integers(0, 256, (48, 64), np.uint8), half, half) for _ in range(3)]
    video = read_clip("synthetic:64x48@30x1").format
    units = encode_stream(frames, video, "x264-veryfast", 30)
    kinds = [{unit[i + 3] & 31 for i in range(len(unit) - 3) if unit[i : i + 3] == b"\0\0\1"} for unit in units]
    assert kinds == [{7, 8, 5}, {1}, {1}]
    assert all(b"x264" not in unit for unit in units)


def test_dropping_the_banner_keeps_every_other_unit():
    data = b"\0\0\0\1\x67ab\0\0\1\x06\x05banner\0\0\1\x06\x01kept\0\0\0\1\x65slice"
    assert drop_banner(data) == b"\0\0\0\1\x67ab\0\0\0\1\x06\x01kept\0\0\0\1\x65slice"


def test_the_bits_do_not_depend_on_the_run(clip):
    first, second = (encode_stream(clip.frames, clip.format, "x264-medium", 26) for _ in range(2))
    assert first == second


def test_an_unknown_anchor_is_one_line(clip):
    with pytest.raises(ConfigError, match="x264-veryfast"):
        encode_stream(clip.frames, clip.format, "x266", 30)
