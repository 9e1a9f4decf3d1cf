"""What is encoded for browsers: one packet for one picture, decodable, key frames only where asked."""

from fractions import Fraction

import av
import numpy as np
import pytest

from lrae.codec.types import Frame, VideoFormat
from lrae.receiver.broadcast.encoder import CLOCK, BrowserEncoder

NAMES = {"h264": "h264", "vp8": "vp8"}


def picture(number, size):
    width, height = size
    y = (np.add.outer(np.arange(height), np.arange(width) + 3 * number) * 2 % 200 + 20).astype(np.uint8)
    half = ((height + 1) // 2, (width + 1) // 2)
    return Frame(y, *(np.full(half, 128, np.uint8) for _ in "uv"), number / 30)


@pytest.mark.parametrize("codec", NAMES)
@pytest.mark.parametrize("size", [(64, 48), (65, 47), (448, 256)])
def test_each_picture_is_one_packet_at_once_and_decodes_to_about_itself(codec, size):
    encoder = BrowserEncoder(codec, size, 30.0, 6_000_000, VideoFormat(*size, Fraction(30), "tv", "smpte170m"))
    decoder = av.CodecContext.create(NAMES[codec], "r")
    if codec == "h264":
        decoder.flags |= av.codec.context.Flags.low_delay
    for number in range(6):
        frame = picture(number, size)
        made = encoder.encode(frame, number * 3000, key=number == 3)
        assert made.key == (number in (0, 3))
        assert (made.packet.pts, made.packet.time_base) == (number * 3000, Fraction(1, CLOCK))
        (back,) = decoder.decode(made.packet)
        luma = back.to_ndarray(format="yuv420p")[: back.height, : back.width]
        assert (back.width, back.height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
        assert np.abs(luma[: size[1], : size[0]].astype(int) - frame.y).mean() < 12
        if codec == "h264":
            assert back.colorspace == 6


def test_h264_is_constrained_baseline_with_its_headers_in_every_key_frame():
    encoder = BrowserEncoder("h264", (64, 48), 30.0, 1_000_000, None)
    for number in range(2):
        data = bytes(encoder.encode(picture(number, (64, 48)), number * 3000, key=True).packet)
        units = [unit for unit in data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
        kinds = [unit[0] & 31 for unit in units]
        assert {7, 8, 5} <= set(kinds)  # SPS, PPS, IDR
        sps = units[kinds.index(7)]
        assert sps[1] == 66 and sps[2] & 0x40  # profile_idc, constraint_set1_flag


def test_another_size_or_format_needs_another_encoder():
    video = VideoFormat(64, 48)
    encoder = BrowserEncoder("h264", (64, 48), 30.0, 1_000_000, video)
    assert encoder.fits(picture(0, (64, 48)), VideoFormat(64, 48))
    assert not encoder.fits(picture(0, (64, 50)), video)
    assert not encoder.fits(picture(0, (64, 48)), VideoFormat(64, 48, color_range="pc"))


def test_the_bitrate_is_kept_on_pictures_that_cannot_be_compressed():
    encoder = BrowserEncoder("h264", (128, 96), 30.0, 200_000, None)
    rng = np.random.default_rng(1)
    total = 0
    for number in range(60):
        planes = (rng.integers(0, 256, s, np.uint8) for s in ((96, 128), (48, 64), (48, 64)))
        total += encoder.encode(Frame(*planes), number * 3000, False).packet.size
    assert total * 8 / 2 < 2 * 200_000
