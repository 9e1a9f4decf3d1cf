"""What stands in for lost parts: interpolated between what is known, which itself stays as it is."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.codec import conceal, make_decoder
from lrae.codec.state import CodedFrame
from lrae.codec.types import VideoFormat


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_what_is_known_stays_and_guesses_stay_within_reason(seed, rows, columns):
    rng = np.random.default_rng(seed)
    vectors, last = (rng.integers(-60, 60, (rows, columns, 2)).astype(np.int16) for _ in range(2))
    unmoved = rng.random((rows, columns)) < rng.random()
    evidence = rng.random((3, rows, columns), np.float32)
    fields, seen, support = conceal.guesses(vectors, unmoved, last, evidence)
    assert (fields[:, ~unmoved] == vectors[~unmoved]).all() and (seen[:, ~unmoved] == evidence[:, ~unmoved]).all()
    np.testing.assert_array_equal(fields[conceal.LAST][unmoved], last[unmoved])
    assert not fields[conceal.STILL][unmoved].any() and (support >= 0).all()
    np.testing.assert_array_equal(fields[conceal.CHANGE], conceal.guess(vectors, unmoved, last))
    for guess in (conceal.NEAREST, conceal.SIMILAR):  # means of what is known and the last
        known = np.concatenate((vectors[~unmoved], last.reshape(-1, 2)))
        assert (fields[guess] >= known.min(0)).all() and (fields[guess] <= known.max(0)).all()


def test_a_pan_is_guessed_exactly_and_where_nothing_is_known_the_last_motion_goes_on():
    pan, unmoved = np.full((16, 20, 2), (12, -5), np.int16), np.zeros((16, 20), bool)
    unmoved[4:8] = True
    lost = np.where(unmoved[..., None], np.int16(0), pan)
    np.testing.assert_array_equal(conceal.guess(lost, unmoved, pan), pan)
    np.testing.assert_array_equal(conceal.guess(lost, unmoved, pan - 7), pan)
    np.testing.assert_array_equal(conceal.guess(np.zeros_like(pan), np.ones((16, 20), bool), pan), pan)
    np.testing.assert_array_equal(conceal.guess(lost, unmoved, None), pan)


def test_a_lost_place_changes_its_motion_as_those_that_last_moved_alike():
    last, unmoved = np.zeros((12, 20, 2), np.int16), np.zeros((12, 20), bool)
    last[:, :10], unmoved[4:8] = (40, 0), True
    vectors = np.where((last != 0).any(2, keepdims=True), np.array((44, 4), np.int16), np.array((-4, 0), np.int16))
    guessed = conceal.guess(np.where(unmoved[..., None], np.int16(99), vectors), unmoved, last)
    assert np.abs(guessed - vectors).max() <= 2


def test_a_lost_row_of_an_intra_frame_goes_from_the_row_above_to_the_row_below():
    base = np.zeros((3, 12, 6), np.int16)
    base[:, :4], base[:, 8:] = 100, -100
    missing = np.zeros((12, 6), np.float32)
    missing[4:8] = 1
    state = make_decoder("m", VideoFormat(96, 192), "cpu").initial_state()
    filled = conceal.fill(CodedFrame(True, 20, base=base, missing=missing), state, "full").base
    np.testing.assert_array_equal(filled[:, missing == 0], base[:, missing == 0])
    middle = filled[:, 4:8]
    assert (middle[:, 0] > middle[:, 1]).all() and (middle[:, 1] > 0).all()
    np.testing.assert_array_equal(middle, -middle[:, ::-1])


def test_rows_near_lost_ones_are_found():
    rows = np.zeros(40, bool)
    rows[[0, 1, 10, 14, 30]] = True
    assert conceal.near(rows, 3).tolist() == [*range(5), *range(7, 18), *range(27, 34)]
    assert conceal.near(np.array([True, False]), 3).tolist() == [0, 1]
    assert not len(conceal.near(np.zeros(9, bool), 3))


def test_what_is_around_is_the_nearest_known_within_reach_over_its_distance():
    values, known = np.zeros((5, 6, 1), np.int16), np.zeros((5, 6), bool)
    for value, y, x in ((10, 0, 1), (20, 4, 1), (30, 2, 5), (99, 2, 0)):
        values[y, x], known[y, x] = value, True
    total, weight = conceal.around(values, known, 3)
    assert weight[2, 1] == 0.5 + 0.5 + 1 and total[2, 1, 0] == 10 / 2 + 20 / 2 + 99
    assert weight[2, 3] == np.float32(1 / 2) + np.float32(1 / 3) and total[2, 3, 0] == 15 + 33
    assert weight[0, 5] == 0.5 and weight[2, 5] == 0 and weight[4, 4] == np.float32(1 / 3)
