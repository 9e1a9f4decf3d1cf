"""receiver/playout: frames are shown evenly, never held beyond the deadline, and delay sinks again."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.receiver.jitter import OFFSET_WINDOW, MinimumOffset
from lrae.receiver.playout import MARGIN, SINK, WINDOW, PlayoutClock

INTERVAL, DEADLINE = 1 / 30, 0.15


class Path:
    """Frames from a sender whose clock differs, over a path, to a clock that plays them out.

    shown: (capture in true time, ready, at) of each frame, seconds.
    """

    def __init__(self, skew=0.0):
        self.clock, self.offset = PlayoutClock(DEADLINE), MinimumOffset()
        self.skew, self.ahead = skew, 55.0
        self.number, self.shown = 0, []

    def frame(self, delay, decoding=0.0):
        true = self.number * INTERVAL
        capture, now = true * (1 + self.skew) + self.ahead, max(1000 + true + delay, self.last("ready"))
        self.offset.add((now - capture) * 1e6, now)
        ready = max(now + decoding, self.last("ready"))
        at = self.clock.show_at(capture, capture + self.offset.value * 1e-6, ready)
        self.shown.append((true, ready, at))
        self.number += 1

    def last(self, what):
        return self.shown[-1][("true", "ready", "at").index(what)] if self.shown else 0.0

    def delays(self, frames):
        """Seconds from capture to showing, the path's own 1000 s left out."""
        return [at - true - 1000 for true, _, at in self.shown[-frames:]]

    def unevenness(self, frames):
        times = [at - true for true, _, at in self.shown[-frames:]]
        return max(abs(b - a) for a, b in pairwise(times))


def test_without_jitter_frames_are_shown_a_margin_after_they_are_ready():
    path = Path()
    for _ in range(300):
        path.frame(0.03, 0.01)
    assert path.delays(100) == pytest.approx([0.04 + MARGIN] * 100)


def test_jitter_is_bought_off_with_delay():
    path, rng = Path(), random.Random(1)
    for _ in range(1000):
        path.frame(0.02 + rng.uniform(0, 0.04))
    assert max(path.delays(500)) <= 0.06 + MARGIN
    late = sum(at == ready for _, ready, at in path.shown[-500:])
    assert late <= 40
    assert path.unevenness(500) < 0.006, "arrivals differ by up to 40 ms"


def test_a_path_that_grows_longer_is_followed_at_once_and_the_way_back_is_slow():
    path = Path()
    for _ in range(300):
        path.frame(0.02)
    for _ in range(60):
        path.frame(0.10)
    assert path.delays(40) == pytest.approx([0.10 + MARGIN] * 40)
    for _ in range(WINDOW):
        path.frame(0.02)
    assert path.unevenness(WINDOW) <= SINK * INTERVAL * 1.01
    for _ in range(30 * 25):
        path.frame(0.02)
    assert path.delays(1)[0] == pytest.approx(0.02 + MARGIN)


def test_one_late_frame_is_shown_at_once_and_moves_nothing_else():
    path = Path()
    for n in range(300):
        path.frame(0.12 if n == 200 else 0.02)
    assert [n for n, d in enumerate(path.delays(300)) if d > 0.03] == [200, 201, 202], "those behind it were late too"


def test_a_slow_first_frame_costs_no_lasting_delay():
    path = Path()
    path.frame(0.12)
    for _ in range(90):
        path.frame(0.02)
    assert path.delays(1)[0] < 0.03


def test_a_stream_not_in_real_time_is_shown_as_it_comes():
    clock = PlayoutClock(DEADLINE, realtime=False)
    assert [clock.show_at(n / 30, 5.0, 5.0 + n / 1000) for n in range(50)] == [5.0 + n / 1000 for n in range(50)]


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-200e-6, 200e-6),
    st.sampled_from([0.0, -10.0, 10.0, 0.05, -0.05]),
    st.sampled_from([0.0, 0.1]),
    st.integers(0, 10**6),
)
def test_after_any_shift_of_clocks_or_path_motion_is_even_and_delay_small_within_the_window(
    skew, jump, longer, seed
):
    path, rng = Path(skew), random.Random(seed)
    for _ in range(200):
        path.frame(0.02 + rng.uniform(0, 0.005))
    path.ahead += jump
    for _ in range(round((2 * OFFSET_WINDOW + 1) / INTERVAL)):
        path.frame(0.02 + longer + rng.uniform(0, 0.005))
    for _, ready, at in path.shown:
        assert ready <= at <= ready + DEADLINE
    for _ in range(30 * 30):
        path.frame(0.02 + longer + rng.uniform(0, 0.005))
    assert path.unevenness(800) < 0.006
    assert max(path.delays(1)) < 0.03 + longer + MARGIN


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-20, 20), st.floats(-1, 5), st.floats(0, 1)),
        max_size=60,
    )
)
def test_whatever_times_a_sender_claims_no_frame_is_held_longer_than_the_deadline_or_overtakes(frames):
    clock, now, last = PlayoutClock(DEADLINE), 100.0, 0.0
    for capture, early, pause in frames:
        now += pause
        at = clock.show_at(capture, now - early, now)
        assert max(now, last) <= at <= now + DEADLINE
        last = at
