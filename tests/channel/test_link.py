"""The link in virtual time against cases worked out by hand, and its invariants under everything at once."""

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrae.channel.config import LinkConfig
from lrae.channel.link import Link
from lrae.channel.loss import Bernoulli, GilbertElliott
from lrae.channel.loss_trace import LossTrace
from lrae.channel.rate import FixedRate, MahimahiTrace, RateTrace
from lrae.errors import ConfigError

EVERYTHING = LinkConfig(
    loss=GilbertElliott(0.05, 0.3, 0.02, 0.6),
    rate=FixedRate(2000),
    queue_bytes=20_000,
    delay_ms=30,
    jitter_ms=8,
    reorder=0.05,
    duplicate=0.03,
    corrupt=0.04,
)


def drain(link):
    """Everything still in flight, by the link's own timer."""
    result = []
    while (time := link.next_time()) is not None:
        arrived = link.receive(time)
        assert arrived, "next_time names a moment at which something arrives"
        result += arrived
    return result


def numbered(index, size=100):
    return index.to_bytes(4, "big").ljust(size, b".")


def send_all(link, count, every=0.001, size=100, start=0.0):
    for i in range(count):
        link.send(numbered(i, size), start + i * every)
    return drain(link)


def test_delay_is_exact_and_nothing_arrives_early():
    link = Link(LinkConfig(delay_ms=40), seed=1)
    link.send(b"a", 0.1)
    assert link.next_time() == 0.14
    assert link.receive(0.139999) == []
    assert link.receive(0.14) == [(0.14, b"a")]
    assert link.next_time() is None


def test_the_timer_is_exact_on_a_clock_that_counts_since_1970():
    start = 1.7e9 + 0.123456
    link = Link(LinkConfig(delay_ms=40, jitter_ms=3), seed=1, start=start)
    assert len(send_all(link, 100, start=start)) == 100


def test_the_queue_drops_what_does_not_fit_and_frees_bytes_as_they_leave():
    # 800 kbit/s = 100 bytes per ms; room for 2500 bytes
    link = Link(LinkConfig(rate=FixedRate(800), queue_bytes=2500, overhead_bytes=0, delay_ms=5), seed=1)
    for data in (b"a", b"b", b"c"):
        link.send(data * 1000, 0.0)  # the third would make 3000
    assert link.queued_bytes == 2000
    link.send(b"d" * 500, 0.0)  # fits exactly
    link.send(b"e", 0.0)
    link.send(b"f" * 1000, 0.010)  # at 10 ms the first has left
    link.send(b"g", 0.010)
    assert [(time, data[:1]) for time, data in drain(link)] == [
        (0.015, b"a"), (0.025, b"b"), (0.030, b"d"), (0.040, b"f"),
    ]  # fmt: skip
    assert link.counts.queue_dropped == 3


def test_headers_count_against_rate_and_queue():
    link = Link(LinkConfig(rate=FixedRate(800), queue_bytes=256), seed=1)  # 28 bytes of headers each
    for _ in range(3):
        link.send(bytes(100), 0.0)
    assert [time for time, _ in drain(link)] == [0.00128, 0.00256]
    assert link.counts.queue_dropped == 1


def test_an_idle_link_takes_a_datagram_larger_than_its_queue():
    link = Link(LinkConfig(rate=FixedRate(800), queue_bytes=100, overhead_bytes=0), seed=1)
    link.send(bytes(1000), 0.0)
    assert [time for time, _ in drain(link)] == [0.01]


def test_mahimahi_and_rate_traces_start_with_the_link():
    for rate in (MahimahiTrace((5, 10)), RateTrace((5_000_000, 6_000_000), (0, 12_032_000))):
        link = Link(LinkConfig(rate=rate, overhead_bytes=4), seed=1, start=100.0)
        link.send(bytes(1500), 100.0)
        due = 100.005 if isinstance(rate, MahimahiTrace) else 100.006
        assert link.next_time() == pytest.approx(due, rel=0, abs=1e-9)


def test_lost_datagrams_take_capacity_all_the_same():
    link = Link(LinkConfig(loss=LossTrace(b"\x01\x00"), rate=FixedRate(800), overhead_bytes=0), seed=1)
    link.send(bytes(1000), 0.0)
    link.send(bytes(1000), 0.0)
    assert [time for time, _ in drain(link)] == [0.02]
    assert (link.counts.lost, link.counts.delivered) == (1, 1)


def test_jitter_alone_delays_on_average_by_its_mean_and_keeps_the_order():
    arrived = send_all(Link(LinkConfig(delay_ms=10, jitter_ms=5), seed=2), 2000, every=1.0)
    extra = [time - 0.010 - i for i, (time, _) in enumerate(arrived)]
    assert min(extra) >= -1e-9 and max(extra) <= 0.0250001
    assert sum(extra) / len(extra) == pytest.approx(0.005, rel=0.1)
    close = send_all(Link(LinkConfig(delay_ms=10, jitter_ms=50), seed=2), 2000)
    assert [data for _, data in close] == [numbered(i) for i in range(2000)]


def test_reordering_is_as_frequent_as_asked_and_bounded():
    link = Link(LinkConfig(delay_ms=10, reorder=0.1, reorder_ms=20), seed=2)
    arrived = send_all(link, 2000)
    order = [int.from_bytes(data[:4], "big") for _, data in arrived]
    assert sorted(order) == list(range(2000)) != order
    assert link.counts.reordered == pytest.approx(200, rel=0.2)
    assert all(time - number * 0.001 <= 0.0300001 for (time, _), number in zip(arrived, order, strict=True))


def test_duplicates_are_delivered_twice():
    link = Link(LinkConfig(duplicate=0.25), seed=2)
    arrived = send_all(link, 2000)
    assert link.counts.duplicated == pytest.approx(500, rel=0.15)
    assert len(arrived) == 2000 + link.counts.duplicated
    assert len({data for _, data in arrived}) == 2000


def test_corruption_changes_one_to_three_bytes_of_the_share_asked():
    link = Link(LinkConfig(corrupt=0.25), seed=2)
    arrived = send_all(link, 2000, size=50)
    pairs = [(numbered(i, 50), data) for i, (_, data) in enumerate(arrived)]
    changed = [sum(a != b for a, b in zip(*pair, strict=True)) for pair in pairs]
    assert sum(map(bool, changed)) == link.counts.corrupted == pytest.approx(500, rel=0.15)
    assert set(changed) == {0, 1, 2, 3}


def test_corruption_bears_empty_and_tiny_datagrams():
    link = Link(LinkConfig(corrupt=1.0), seed=2)
    link.send(b"", 0.0)
    link.send(b"a", 0.0)
    (_, empty), (_, tiny) = drain(link)
    assert empty == b"" and len(tiny) == 1 and tiny != b"a"
    assert link.counts.corrupted == 1


def test_same_seed_same_result_and_another_seed_another():
    runs = [send_all(Link(EVERYTHING, seed=seed), 500) for seed in (5, 5, 6)]
    assert runs[0] == runs[1] != runs[2]


def test_losses_stay_the_same_whatever_else_is_switched_on():
    bare = Link(replace(LinkConfig(), loss=EVERYTHING.loss), seed=5)
    survivors = {data for _, data in send_all(bare, 500)}
    full = Link(replace(EVERYTHING, queue_bytes=10**6, corrupt=0.0), seed=5)
    assert {data for _, data in send_all(full, 500, every=0.01)} == survivors


def test_what_waits_inside_is_bounded_even_without_a_rate_limit():
    link = Link(LinkConfig(delay_ms=60_000), seed=1, max_held_bytes=100_000)
    for i in range(1000):
        link.send(bytes(1000), i * 1e-6)
    assert link.in_flight * 1000 <= 100_000
    assert link.in_flight + link.counts.queue_dropped == 1000
    drain(link)
    link.send(bytes(1000), 100.0)
    assert link.in_flight == 1


def test_the_queue_of_a_dead_link_is_bounded_for_empty_datagrams_too():
    rate = RateTrace((10**12, 10**12 + 1), (0, 1))
    link = Link(LinkConfig(loss=Bernoulli(1.0), rate=rate, queue_bytes=100, overhead_bytes=0), seed=1)
    for _ in range(1000):
        link.send(b"", 0.0)
    assert link.queued_bytes <= 100
    assert link.counts.queue_dropped == 900


def test_time_that_runs_backwards_is_taken_as_standing_still():
    link = Link(LinkConfig(delay_ms=1), seed=1)
    link.send(b"a", 1.0)
    link.send(b"b", 0.5)
    assert drain(link) == [(1.001, b"a"), (1.001, b"b")]


@given(
    st.lists(st.tuples(st.floats(0, 0.05), st.integers(0, 1500)), max_size=60),
    st.integers(0, 100),
    st.sampled_from([EVERYTHING, replace(EVERYTHING, rate=MahimahiTrace((3, 3, 9))), LinkConfig()]),
)
def test_every_datagram_is_accounted_for_and_times_never_run_backwards(sends, seed, config):
    link, now, arrived = Link(config, seed), 0.0, []
    for gap, size in sends:
        now += gap
        arrived += link.receive(now)
        link.send(bytes(size), now)
        counts = link.counts
        fates = counts.lost + counts.queue_dropped + counts.delivered + link.in_flight
        assert counts.sent + counts.duplicated == fates
        assert link.queued_bytes <= max(config.queue_bytes, size + config.overhead_bytes)
    arrived += drain(link)
    times = [time for time, _ in arrived]
    assert times == sorted(times)
    counts = asdict(link.counts)
    assert (counts["sent"], counts["sent_bytes"]) == (len(sends), sum(size for _, size in sends))
    assert counts["delivered_bytes"] == sum(len(data) for _, data in arrived)


@pytest.mark.parametrize(
    "wrong",
    [{"delay_ms": -1}, {"delay_ms": float("nan")}, {"jitter_ms": 1e9}, {"reorder": 2}, {"duplicate": -0.1},
     {"corrupt": float("nan")}, {"queue_bytes": 0}, {"queue_bytes": 1 << 40}, {"overhead_bytes": -1}],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range_are_config_errors(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong)).split("_")[0]):
        LinkConfig(**wrong)
