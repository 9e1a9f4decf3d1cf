"""Sixty-four rates, from coarse to fine."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lrae.models.rates import Q_LEVELS, frame_q, step_of


def test_steps_fall_with_q_and_halve_every_octave():
    steps = [step_of(q) for q in range(Q_LEVELS)]
    assert all(a > b > 0 for a, b in pairwise(steps))
    assert steps[12] == pytest.approx(steps[0] / 2)


@pytest.mark.parametrize("number", [1, 8, 9, 80])
@pytest.mark.parametrize("intra", [True, False])
def test_a_finer_stream_has_finer_frames_and_all_of_them_are_rates_that_exist(number, intra):
    rates = [frame_q(q, number, intra) for q in range(Q_LEVELS)]
    assert rates == sorted(rates)
    assert all(q <= rate < Q_LEVELS for q, rate in enumerate(rates))


def test_intra_frames_are_the_finest_and_every_eighth_is_finer_than_its_neighbours():
    assert frame_q(30, 8, True) == frame_q(30, 7, True) > frame_q(30, 8, False) > frame_q(30, 7, False) == 30
