"""sender/refresh: tiles are coded without prediction where damage is likely, and nowhere else."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lrae.codec.types import EncodeHints, Frame, VideoFormat
from lrae.sender import encoding
from lrae.sender.encoding import FrameEncoder
from lrae.sender.events import News
from lrae.sender.refresh import Refresher, tile_bits

K = 3
WIDE = VideoFormat(256, 64, Fraction(30))  # four tiles in a row
MOVING = 2  # the tile that changes


def frame(number: int) -> Frame:
    """Squares that stand still but for one tile."""
    y = np.random.default_rng(0).integers(0, 256, (4, 16), np.uint8)
    y[:, 4 * MOVING : 4 * MOVING + 4] = np.random.default_rng(number).integers(0, 256, (4, 4), np.uint8)
    y = y.repeat(16, 0).repeat(16, 1)
    half = np.full((32, 128), 128, np.uint8)
    return Frame(y, half, half, number / 30)


@pytest.fixture
def asked(fake_codec):
    """Encoder that notes the tiles asked for, by frame."""

    class Recorder(fake_codec):
        def __init__(self, format):
            super().__init__(format)
            self.tiles = []

        def encode(self, state, frame, number, q, hints=EncodeHints(), reference=0):
            self.tiles.append(set(hints.refresh))
            return super().encode(state, frame, number, q, hints, reference)

    return Recorder(WIDE)


def run(codec, count, confirmed=lambda n: (), loss=0.3, **options):
    sender = FrameEncoder(codec, 30, K, **options)
    return [sender.encode(frame(n), News(tuple(confirmed(n)), loss=loss)) for n in range(count)]


def whole(*numbers):
    return [(n, frozenset(range(K))) for n in numbers]


def test_where_nothing_moves_nothing_is_refreshed(asked):
    run(asked, 40, lambda n: whole(0) if n == 1 else (), patience=0)
    assert set().union(*asked.tiles) == {MOVING}


def test_without_loss_nothing_is_refreshed(asked):
    run(asked, 40, lambda n: whole(0) if n == 1 else (), loss=0.0, patience=0)
    assert not any(asked.tiles)


def test_while_feedback_comes_nothing_is_refreshed(asked):
    run(asked, 80, lambda n: whole(n - 4) if n >= 4 else ())
    assert not any(asked.tiles)


def test_silence_is_answered_with_refreshed_tiles_and_feedback_ends_it(asked):
    news = {1: whole(0), 40: whole(*range(1, 40)), **{n: whole(n - 1) for n in range(41, 60)}}
    run(asked, 60, lambda n: news.get(n, ()))
    refreshed = [n for n, tiles in enumerate(asked.tiles) if tiles]
    assert encoding.PATIENCE < refreshed[0] <= encoding.PATIENCE + 3
    assert refreshed[-1] < 40


def test_when_the_history_is_gone_tiles_are_refreshed_until_feedback_brings_an_intra_frame(asked, monkeypatch):
    monkeypatch.setattr(encoding, "HISTORY_FRAMES", (8, 8))
    sent = run(asked, 40, lambda n: whole(0) if n == 1 else whole(29) if n == 30 else whole(n - 1) if n > 30 else ())
    assert [n for n, encoded in enumerate(sent) if encoded.header.intra] == [0, 30]
    assert any(asked.tiles[10:30]) and not any(asked.tiles[31:])


def test_never_means_never(asked):
    run(asked, 80, patience=None)
    assert not any(asked.tiles)


def test_tiles_that_nobody_has_are_all_refreshed_but_not_in_one_frame(fake_codec):
    codec = fake_codec(WIDE)
    refresher = Refresher(codec, codec.initial_state(), np.random.default_rng(1))
    encoded, after = codec.encode(codec.initial_state(), frame(0), 0, 30, EncodeHints(packets=K))
    refresher.sent(encoded, after, loss=1.0)
    chosen = [refresher.choose(frame(0).y, 20.0)]
    for _ in range(9):
        refresher.sent(encoded, after, loss=1.0)
        chosen.append(refresher.choose(frame(0).y, 20.0))
    assert all(1 <= len(tiles) <= 2 for tiles in chosen)
    assert frozenset().union(*chosen) == frozenset(range(4))


def test_a_live_sender_that_has_no_time_imagines_fewer_receivers(asked):
    passes = []
    state_after, asked.state_after = asked.state_after, lambda *a: passes.append(1) or state_after(*a)
    counts = []

    def news(n):
        counts.append(len(passes))
        return whole(0) if n == 1 else ()

    clock = iter(range(10_000))
    run(asked, 12, news, patience=0, interval=0.5, clock=lambda: float(next(clock)))
    each = np.diff(counts) - 1  # the toy's encoder calls it once itself
    assert each[2] > each[-1] == 1


def test_more_texture_and_finer_steps_cost_more():
    flat = np.full((64, 64), 100, np.uint8)
    rough = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    assert tile_bits(np.hstack([flat, rough]), 20.0).shape == (1, 2)
    assert tile_bits(flat, 20.0) < tile_bits(rough, 40.0) < tile_bits(rough, 20.0)
