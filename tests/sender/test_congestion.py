"""AdaptiveRate against links of one line each, hostile clocks and silence; what it is made of."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrae.sender.congestion import MAX_IN_FLIGHT, Ack, AdaptiveRate, FixedRate
from lrae.sender.link_estimate import LossJudge, ReceiveRate, WindowedMin

SIZE = 1228
DELAY = 0.02


class Pipe:
    """A sender that always has data, in front of a FIFO; reports come every 33 ms."""

    def __init__(self, controller, offset=0.0, skew=0.0):
        self.controller, self.offset, self.skew = controller, offset, skew
        self.now, self.free, self.counter, self.settled = 0.0, 0.0, 0, 0
        self.next, self.flying, self.rates = 0.0, [], []
        self.extra = 0.0  # seconds of a longer route

    def run(self, seconds, kbps, limit=math.inf):
        """limit: bit/s that the application has. Returns the mean rate of the last half."""
        begin = len(self.rates)
        for _ in range(round(seconds * 30)):
            self.now += 1 / 30
            while self.next < self.now:
                self.controller.on_sent(self.counter, SIZE, self.next)
                self.free = max(self.free, self.next) + 8 * SIZE / (1000 * kbps)
                self.flying.append((self.counter, self.next, self.free + DELAY + self.extra))
                self.counter += 1
                self.next += 8 * SIZE / min(limit, self.controller.rate)
            known = [item for item in self.flying if item[2] + DELAY <= self.now]
            self.flying = self.flying[len(known) :]
            if known:
                acks = [Ack(c, sent, SIZE, at * (1 + self.skew) + self.offset) for c, sent, at in known]
                self.controller.on_acks(acks, self.now - known[-1][1], self.now)
            else:
                self.controller.on_silence(self.now)
            self.rates.append(self.controller.rate)
        half = self.rates[(begin + len(self.rates)) // 2 :]
        return sum(half) / len(half)


def test_it_finds_the_capacity_and_follows_it_down_and_up():
    pipe = Pipe(AdaptiveRate())
    for kbps in (3000, 500, 8000):
        assert pipe.run(6, kbps) == pytest.approx(kbps * 1000, rel=0.2)
        assert pipe.controller.queueing < 0.08


def test_the_zero_and_the_speed_of_the_receivers_clock_do_not_matter():
    plain, other = Pipe(AdaptiveRate()), Pipe(AdaptiveRate(), offset=-4e6, skew=1e-4)
    assert other.run(60, 2000) == pytest.approx(plain.run(60, 2000), rel=0.05)


def test_a_clock_that_is_set_costs_less_than_two_seconds():
    for jump in (-3600.0, 3600.0, 5.0):
        pipe = Pipe(AdaptiveRate())
        pipe.run(5, 2000)
        pipe.offset = jump
        pipe.run(2, 2000)
        assert pipe.run(4, 2000) == pytest.approx(2e6, rel=0.1)


@pytest.mark.parametrize("extra", [0.06, 0.1, 0.3])
def test_a_longer_route_is_not_taken_for_a_queue_for_long(extra):
    pipe = Pipe(AdaptiveRate())
    pipe.run(5, 2000)
    pipe.extra = extra
    pipe.run(4, 2000)
    assert pipe.run(4, 2000) == pytest.approx(2e6, rel=0.1)


def test_silence_alone_brings_the_rate_to_the_least():
    pipe = Pipe(AdaptiveRate(least=40e3))
    pipe.run(5, 3000)
    controller, now = pipe.controller, pipe.now
    for step in range(1, 11):
        before = controller.rate
        controller.on_sent(pipe.counter + step, SIZE * 10, now + 0.05 * step)
        controller.on_silence(now + 0.05 * step)
        assert controller.rate <= before
    assert controller.rate == 40e3


def test_what_the_application_does_not_send_is_not_assumed_to_fit():
    pipe = Pipe(AdaptiveRate())
    pipe.run(5, 8000)
    assert pipe.run(60, 8000, limit=200e3) < 700e3


def test_the_rate_stays_between_least_and_most():
    pipe = Pipe(AdaptiveRate(300e3, 200e3, 900e3))
    assert pipe.run(4, 5000) == pytest.approx(900e3)
    pipe.run(4, 20)
    assert pipe.controller.rate == 200e3


def test_a_session_that_counts_anew_is_not_held_back_by_what_the_old_one_had_in_flight():
    pipe = Pipe(AdaptiveRate())
    pipe.run(5, 2000)
    pipe.counter, pipe.flying = 0, []
    assert pipe.run(4, 2000) == pytest.approx(2e6, rel=0.1)


def test_memory_is_bounded_when_nothing_is_ever_heard():
    controller = AdaptiveRate()
    for counter in range(3 * MAX_IN_FLIGHT):
        controller.on_sent(counter, 100, counter * 1e-4)
    assert len(controller._flying) == MAX_IN_FLIGHT
    assert controller._in_flight == 100 * MAX_IN_FLIGHT


@given(
    st.lists(
        st.tuples(
            st.integers(0, 200),
            st.one_of(st.none(), st.floats(-1e9, 1e9)),
            st.one_of(st.none(), st.floats(0, 1e6)),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_whatever_a_receiver_claims_the_rate_is_a_number_in_its_bounds(reports):
    controller = AdaptiveRate(300e3, 50e3, 5e6)
    now, counters = 0.0, itertools.count()
    for count, arrived, rtt, silent in reports:
        now += 0.03
        sent = [next(counters) for _ in range(count)]
        for counter in sent:
            controller.on_sent(counter, SIZE, now)
        controller.on_acks([Ack(c, now, SIZE, None if c % 7 == 3 else arrived) for c in sent], rtt, now + 0.02)
        if silent:
            controller.on_silence(now + 0.025)
        assert 50e3 <= controller.rate <= 5e6


def test_a_fixed_rate_heeds_nothing():
    controller = FixedRate(1e6)
    controller.on_sent(0, SIZE, 0.0)
    controller.on_acks([Ack(0, 0.0, SIZE, None)], 0.1, 0.1)
    controller.on_silence(5.0)
    assert controller.rate == 1e6


def test_the_least_of_late_forgets_what_is_old():
    least = WindowedMin(10)
    least.add(0, 5.0)
    assert [(least.add(time, 7.0), least.value)[1] for time in range(1, 13)] == [5.0] * 9 + [7.0] * 3


def test_the_receive_rate_counts_the_latest_moments_and_survives_a_clock_that_is_set_back():
    received = ReceiveRate(0.1)
    for k in range(100):
        received.add(1000 + k * 0.01, 125)
    assert received.value == pytest.approx(100e3)
    for k in range(100):
        received.add(k * 0.01, 250)
    assert received.value == pytest.approx(200e3)


def feed(judge, seconds, loss_of, queued=False, begin=0.0, rate=100):
    """loss_of(seconds since begin): share of datagrams lost, spread evenly."""
    credit = 0.0
    for k in range(round(seconds * rate)):
        now = begin + k / rate
        credit += loss_of(now)
        judge.add(now, SIZE, credit >= 1)
        credit -= credit >= 1
        judge.judge(queued, now)
    return begin + seconds


def test_loss_that_stays_when_the_rate_sinks_is_accepted():
    judge = LossJudge()
    feed(judge, 2, lambda now: 0.3)
    assert judge.ceiling == math.inf
    assert judge.accepted == pytest.approx(0.3, abs=0.03)


def test_loss_that_goes_when_the_rate_sinks_leaves_a_ceiling_that_grows():
    judge = LossJudge()
    feed(judge, 0.6, lambda now: 0.3)
    tested = judge.ceiling
    assert tested == pytest.approx(0.85 * 0.7 * 100 * 8 * SIZE, rel=0.05)
    feed(judge, 3, lambda now: 0.0, begin=0.6)
    assert judge.accepted == 0
    assert tested * 1.1 < judge.ceiling < math.inf


def test_loss_under_a_queue_is_left_to_the_delay():
    judge = LossJudge()
    feed(judge, 3, lambda now: 0.3, queued=True)
    assert (judge.ceiling, judge.accepted) == (math.inf, 0.0)


def test_accepted_loss_sinks_when_there_is_less():
    judge = LossJudge()
    end = feed(judge, 2, lambda now: 0.3)
    feed(judge, 5, lambda now: 0.0, begin=end)
    assert judge.accepted < 0.03
