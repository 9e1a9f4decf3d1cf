"""y4m: what is written is read back, and nothing malformed gets through as video."""

import io
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.codec.types import Frame, VideoFormat
from lrae.codec.y4m import Y4mReader, frame_bytes, header, parse_header
from lrae.errors import SourceError


def make_frame(width, height, seed):
    rng = np.random.default_rng(seed)
    half = ((height + 1) // 2, (width + 1) // 2)
    return Frame(*(rng.integers(0, 256, shape, np.uint8) for shape in ((height, width), half, half)))


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    fps=st.fractions(min_value=Fraction(1, 1001), max_value=1000, max_denominator=1001),
    color_range=st.sampled_from(["tv", "pc"]),
    count=st.integers(0, 3),
)
def test_any_size_odd_ones_too_comes_back_exactly(width, height, fps, color_range, count):
    video = VideoFormat(width, height, fps, color_range, "unknown")
    frames = [make_frame(width, height, seed) for seed in range(count)]
    reader = Y4mReader(io.BytesIO(header(video) + b"".join(map(frame_bytes, frames))))
    assert reader.format == video
    back = list(reader)
    assert len(back) == count
    for a, b in zip(frames, back, strict=True):
        for x, y in zip((a.y, a.u, a.v), (b.y, b.u, b.v), strict=True):
            np.testing.assert_array_equal(x, y)
    assert [frame.time for frame in back] == [float(n / fps) for n in range(count)]


def test_what_ffmpeg_and_mjpegtools_write_is_understood():
    line = b"YUV4MPEG2 W352 H288 F30000:1001 Ip A128:117 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=FULL"
    assert parse_header(line) == VideoFormat(352, 288, Fraction(30000, 1001), "pc", "unknown")
    assert parse_header(b"YUV4MPEG2 W16 H16 F0:0").fps == 30


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"RIFF....AVI",
        b"YUV4MPEG2",
        b"YUV4MPEG2 W16",
        b"YUV4MPEG2 W0 H16",
        b"YUV4MPEG2 W-16 H16",
        b"YUV4MPEG2 W99999 H16",
        b"YUV4MPEG2 W16 H16 F30",
        b"YUV4MPEG2 W16 H16 C444",
        b"YUV4MPEG2 W16 H16 C420p10",
        b"YUV4MPEG2 W16 H16 It",
        b"YUV4MPEG2 W16 H16 XCOLORRANGE=SOME",
    ],
)
def test_a_header_that_is_not_progressive_8_bit_420_is_refused_in_one_line(line):
    with pytest.raises(SourceError) as caught:
        parse_header(line)
    assert "\n" not in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300), cut=st.integers(0, 500), keep=st.booleans())
def test_garbage_and_truncation_end_in_a_source_error_or_in_whole_frames(data, cut, keep):
    good = header(VideoFormat(16, 16)) + frame_bytes(make_frame(16, 16, 0))
    stream = (good if keep else b"YUV4MPEG2 ")[:cut] + data
    try:
        frames = list(Y4mReader(io.BytesIO(stream)))
    except SourceError:
        return
    assert all(frame.y.shape == (frame.size[1], frame.size[0]) for frame in frames)


def test_a_stream_cut_inside_a_frame_gives_the_whole_frames_then_an_error():
    good = header(VideoFormat(16, 16)) + 2 * frame_bytes(make_frame(16, 16, 0))
    frames = iter(Y4mReader(io.BytesIO(good[:-1])))
    next(frames)
    with pytest.raises(SourceError, match="inside frame 1"):
        next(frames)
