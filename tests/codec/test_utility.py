"""codec/utility: what the sender guesses of a packet's worth is close to what its loss does."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lrae.codec import conceal, make_encoder
from lrae.codec.motion_field import MotionField
from lrae.codec.state import CodedFrame
from lrae.codec.types import LAYOUTS, EncodeHints
from lrae.codec.utility import concealing, utility
from lrae.sender.source import open_source

K = 4


@pytest.fixture(scope="module")
def stream():
    """(encoder, [(encoded, state before, state after)])."""
    source = open_source("synthetic:192x128@30x6")
    encoder = make_encoder("m", source.format, "cpu", impute="neighbours")  # whatever the imputer learns to mend
    states, frames = [encoder.initial_state()], []
    for number, frame in enumerate(source):
        hints = EncodeHints(number == 0, K, loss=0.2, refresh=frozenset({1} if number == 3 else ()))
        encoded, after = encoder.encode(states[-1], frame, number, 30, hints)
        states.append(after)
        frames.append(encoded)
    return encoder, [(encoded, *pair) for encoded, pair in zip(frames, pairwise(states), strict=True)]


def effect(encoder, encoded, before, after):
    every = frozenset(range(encoded.header.packets))
    lossy = [encoder.state_after(before, encoded, every - {index}) for index in sorted(every)]
    return np.array([np.square(state.luma.astype(float) - after.luma).sum() for state in lossy])


def test_the_guess_has_the_size_of_the_error(stream):
    encoder, frames = stream
    assert any(encoded.meta.spare is not None for encoded, *_ in frames[1:])
    for encoded, before, after in frames[1:]:
        guess, truth = utility(encoded, before, after).quality, effect(encoder, encoded, before, after)
        assert guess.shape == (K,)
        assert 0.5 < guess.sum() / truth.sum() < 2
        large = truth > truth.mean() / 2
        assert np.all((guess > truth / 4)[large] & (guess < truth * 4)[large])


def test_a_refreshed_tile_makes_its_packet_worth_more_to_a_damaged_picture(stream):
    encoder, frames = stream
    encoded, before, after = frames[3]
    (where, _), *others = encoded.meta.patches
    assert not others
    damaged = encoder.state_after(frames[2][1], frames[2][0], frozenset())
    worth = utility(encoded, damaged, after).quality - utility(encoded, before, after).quality
    assert where.top == 0 and worth[0] > 0


def test_a_picture_that_stands_still_has_packets_worth_next_to_nothing():
    source = open_source("synthetic:192x128@30x1")
    encoder, (frame,) = make_encoder("m", source.format, "cpu"), tuple(source)
    _, before = encoder.encode(encoder.initial_state(), frame, 0, 30, EncodeHints(True, K))
    for number in (1, 2, 3):
        encoded, after = encoder.encode(before, frame, number, 30, EncodeHints(packets=K))
        found = utility(encoded, before, after)
        assert found.quality.max() < 3 * before.luma.size / K  # a grey level or two a pixel
        assert found.evidence.max() < before.luma.size / 64 / K  # a grey level a cell
        before = after


def test_one_packet_is_worth_the_whole_frame(stream):
    encoder, frames = stream
    source = open_source("synthetic:192x128@30x6")
    frame = list(source)[4]
    before = frames[3][2]
    encoded, after = encoder.encode(before, frame, 4, 30, EncodeHints(packets=1))
    (guess,), (truth,) = utility(encoded, before, after).quality, effect(encoder, encoded, before, after)
    assert 0.5 < guess / truth < 2


@pytest.mark.parametrize("layout", range(1, len(LAYOUTS)))
def test_other_layouts_are_worth_the_energy_of_their_levels(stream, layout):
    encoder, frames = stream
    frame = list(open_source("synthetic:192x128@30x6"))[1]
    encoded, after = encoder.encode(frames[0][2], frame, 1, 30, EncodeHints(packets=K, layout=layout))
    found = utility(encoded, frames[0][2], after).quality
    assert found.shape == (encoded.header.packets,) and found.min() >= 0 and found.sum() > 0
    if LAYOUTS[layout] == "progressive":
        assert found.argmax() == 0


@pytest.mark.parametrize("cells", ((6, 10), (24, 16), (30, 12)))
def test_the_concealing_motion_is_what_a_receiver_guesses_for_a_row_of_tiles(cells):
    rng = np.random.default_rng(5)
    own, before = (MotionField(rng.integers(-90, 90, (*cells, 2)).astype(np.int16), None) for _ in range(2))
    for last in (None, before):
        found = concealing(CodedFrame(False, 30, motion=own), last, 2)
        for top in range(0, cells[0], 8):
            lost = np.zeros(cells, bool)
            lost[top : top + 8] = True
            guess = conceal.guess(own.vectors, lost, None if last is None else last.vectors)
            np.testing.assert_array_equal(found[lost], guess[lost])
