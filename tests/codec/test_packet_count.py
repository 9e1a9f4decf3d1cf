"""The number of packets to try first: no packet too long by estimate, no fewer would do, and the estimate is fair."""

from __future__ import annotations

import numpy as np
import pytest

from lrae.codec import make_encoder
from lrae.codec.packet_count import packet_count, position_bits
from lrae.codec.tiles import regions, tile_count
from lrae.codec.types import EncodeHints, VideoFormat
from lrae.sender.source import open_source


@pytest.mark.parametrize("grid", [(17, 30), (4, 4), (3, 20), (23, 7)])
def test_it_is_the_first_number_of_packets_that_fits(grid):
    bits, most = np.random.default_rng(1).exponential(80.0, grid), min(20, tile_count(*grid))
    for largest in (200, 500, 1150, 10_000):

        def longest(packets):
            return max(sum(strip.of(bits).sum() for strip in region.strips) / 8 for region in regions(*grid, packets))

        found = packet_count(bits, largest, 1, most)
        assert found == next((k for k in range(1, most) if longest(k) <= 0.96 * largest), most)


@pytest.mark.parametrize("q", [20, 45])
def test_the_estimate_is_near_the_bytes_of_a_frame(q):
    width, height = 320, 192
    source = open_source(f"synthetic:{width}x{height}@30x4")
    try:
        frames = list(source)
    finally:
        source.close()
    encoder = make_encoder("m", VideoFormat(width, height), "cpu")
    state = encoder.initial_state()
    for number, frame in enumerate(frames):
        hints = EncodeHints(intra=number == 0, packets=1, max_payload=1 << 20, refresh=frozenset({2} if number else ()))
        encoded, state = encoder.encode(state, frame, number, q, hints)
        expected = position_bits(encoded.meta, encoder._packer._levels, encoder._core.grid).sum() / 8
        assert 0.8 * expected - 40 < sum(map(len, encoded.payloads)) < 1.2 * expected + 40
