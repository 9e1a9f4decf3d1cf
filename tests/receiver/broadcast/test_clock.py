"""RTP times keep the pictures' own spacing and follow the clock of this machine."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lrae.receiver.broadcast.clock import Ticks
from lrae.receiver.broadcast.encoder import CLOCK


def test_spacing_is_that_of_the_pictures_and_not_of_their_arrival():
    ticks = Ticks()
    late = [0.0, 0.02, 0.0, 0.01, 0.03, 0.0]
    given_ = [ticks(100 + n / 25, 7 + n / 25 + late[n]) for n in range(6)]
    steps = [b - a for a, b in pairwise(given_)]
    assert all(abs(step - CLOCK / 25) < CLOCK * 0.001 for step in steps)


def test_another_stream_with_another_clock_goes_on_where_time_is():
    ticks = Ticks()
    first = ticks(1000.0, 50.0)
    second = ticks(3.0, 60.0)
    assert second - first == 10 * CLOCK


def test_a_clock_that_drifts_is_followed_without_a_jump():
    ticks = Ticks()
    at = [ticks(n / 25 * 1.001, n / 25) for n in range(25 * 3600)]
    steps = [b - a for a, b in pairwise(at)]
    assert max(steps) < 1.1 * CLOCK / 25
    assert abs(at[-1] / CLOCK - 3600) < 0.5


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 10)), min_size=1, max_size=50))
def test_ticks_rise_whatever_the_times_are(pairs):
    ticks, now, last = Ticks(), 0.0, -1
    for time, step in pairs:
        now += step
        tick = ticks(time, now)
        assert tick > last
        last = tick
