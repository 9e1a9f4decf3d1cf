"""sender/pacer: datagrams leave in order, evenly, and never wait longer than the horizon."""

from lrae.sender.pacer import PACING, Pacer


def leave_times(pacer, now, until, step=0.0005):
    out = []
    while now < until:
        while (item := pacer.pop(now)) is not None:
            out.append((item, now))
        now += step
    return out


def test_datagrams_leave_in_order_at_the_paced_rate():
    pacer = Pacer(400_000, 10.0)
    for n in range(50):
        pacer.push(n, 1000)
    left = leave_times(pacer, 5.0, 8.0)
    assert [n for n, _ in left] == list(range(50))
    rate = 49 * 8000 / (left[-1][1] - left[0][1])
    assert abs(rate / (400_000 * PACING) - 1) < 0.02


def test_a_queue_that_would_take_too_long_is_sent_within_the_horizon():
    pacer = Pacer(100_000, 0.25)
    for n in range(100):
        pacer.push(n, 1000)
    assert leave_times(pacer, 0.0, 3.0)[-1][1] <= 0.26


def test_without_a_rate_a_frame_is_spread_over_the_horizon():
    pacer = Pacer(0, 0.03)
    for n in range(10):
        pacer.push(n, 500)
    left = leave_times(pacer, 0.0, 1.0)
    assert 0.02 <= left[-1][1] <= 0.031


def test_with_no_horizon_everything_leaves_at_once():
    pacer = Pacer(0, 0.0)
    for n in range(10):
        pacer.push(n, 500)
    assert [pacer.pop(0.0) for _ in range(10)] == list(range(10))
    assert pacer.due() is None


def test_idle_time_does_not_save_up_a_burst():
    pacer = Pacer(400_000, 10.0)
    pacer.push(0, 1000)
    assert pacer.pop(0.0) == 0
    for n in range(1, 21):
        pacer.push(n, 1000)
    assert len(leave_times(pacer, 100.0, 100.001)) <= 2


def test_a_rate_that_sinks_slows_what_is_queued_and_an_urgent_item_goes_first():
    pacer = Pacer(800_000, 10.0)
    for n in range(20):
        pacer.push(n, 1000)
    assert abs(pacer.seconds - 20 * 8000 / (800_000 * PACING)) < 1e-6
    assert pacer.pop(0.0) == 0
    pacer.rate = 80_000
    pacer.push("again", 1000, urgent=True)
    left = leave_times(pacer, 0.0, 1.0)
    assert left[0][0] == "again"
    assert 10 <= len(left) <= 13
