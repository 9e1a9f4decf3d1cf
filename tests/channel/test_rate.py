"""Capacities against departures worked out by hand, and the files they are read from."""

import json
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrae.channel.rate import (
    FixedRate,
    MahimahiTrace,
    RateTrace,
    Unlimited,
    parse_rate,
    read_alphartc_trace,
    read_mahimahi_trace,
    read_raca_trace,
    read_rate_trace,
)
from lrae.errors import ConfigError, TraceError

BANDWIDTH = Path(__file__).resolve().parents[3] / "shared/data/traces/bandwidth"
MS, S = 10**6, 10**9


def departures(capacity, arrivals):
    """arrivals: (ms, bytes); departures in ms."""
    server = capacity.server()
    return [server.depart(round(ms * MS), size) / MS for ms, size in arrivals]


def test_fixed_rate_serves_one_after_the_other_and_idles_in_between():
    # 800 kbit/s = 100 bytes per ms
    sent = [(0, 1000), (0, 500), (5, 500), (40, 100)]
    assert departures(FixedRate(800), sent) == [10, 15, 20, 41]


def test_fixed_rate_does_not_drift_where_a_datagram_takes_a_fraction_of_a_nanosecond():
    server = FixedRate(3000).server()  # 1000 bytes take 2,666,666.66… ns
    times = [server.depart(0, 1000) for _ in range(3000)]
    assert times[-1] == 8 * S
    assert times[0] == 2_666_667


def test_a_rate_trace_is_followed_within_a_datagram_and_starts_over():
    # 100 bytes per ms for 10 ms, nothing for 10 ms, 200 bytes per ms for 10 ms, and again
    trace = RateTrace((10 * MS, 20 * MS, 30 * MS), (800_000, 0, 1_600_000))
    assert trace.mean_kbps == 800
    assert departures(trace, [(0, 1000), (0, 1), (0, 1999), (0, 1000), (0, 200)]) == [10, 20.005, 30, 40, 51]


def test_a_datagram_that_comes_during_an_outage_waits_for_its_end():
    trace = RateTrace((10 * MS, 20 * MS), (0, 800_000))
    assert departures(trace, [(5, 100), (15, 100), (25, 100)]) == [11, 16, 31]


def test_mahimahi_small_datagrams_share_an_opportunity_and_large_ones_go_on_in_the_next():
    trace = MahimahiTrace((5, 10, 10, 20))
    # 5: 1000 and 504; 10: the other 496 and 1008; 10: 1504 and full; 20: the rest
    assert departures(trace, [(0, 1000), (0, 1000), (0, 2512), (0, 1)]) == [5, 10, 10, 20]


def test_mahimahi_opportunities_are_lost_on_an_empty_queue_and_at_the_moment_of_arrival():
    trace = MahimahiTrace((5, 10, 15))
    assert departures(trace, [(5, 10), (10.5, 1504), (10.6, 1504)]) == [10, 15, 20]


def test_mahimahi_repeats_after_its_last_moment():
    trace = MahimahiTrace((0, 4))
    # rounds last 4 ms; the last moment of one is the first of the next: 0, 4, 4, 8, 8, …
    assert departures(trace, [(0, 1504)] * 5) == [4, 4, 8, 8, 12]
    assert departures(trace, [(4_000_001, 1504)]) == [4_000_004]


def walk_opportunities(ms, sent):
    """Mahimahi's own procedure, opportunity by opportunity; sent: (ms, bytes) in order. Departures in ms."""
    left, done, index = [size for _, size in sent], [None] * len(sent), 0
    while None in done:
        now = index // len(ms) * ms[-1] + ms[index % len(ms)]
        index += 1
        room = 1504
        for i, (arrival, _) in enumerate(sent):
            if done[i] is None and arrival < now and room > 0:
                carried = min(room, left[i])
                room, left[i] = room - carried, left[i] - carried
                done[i] = now if left[i] == 0 else None
    return done


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=8).map(sorted).filter(lambda ms: ms[-1] > 0),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 4000)), min_size=1, max_size=12),
)
def test_mahimahi_agrees_with_walking_through_every_opportunity(ms, gaps):
    sent = [(sum(gap for gap, _ in gaps[: i + 1]), size) for i, (_, size) in enumerate(gaps)]
    assert departures(MahimahiTrace(tuple(ms)), sent) == walk_opportunities(ms, sent)


def test_mahimahi_mean_is_its_opportunities_per_round():
    assert MahimahiTrace((500, 1000)).mean_kbps == pytest.approx(2 * 1504 * 8 / 1000)


CAPACITIES = st.one_of(
    st.builds(FixedRate, st.floats(1, 1e6)),
    st.lists(st.integers(0, 50), min_size=1, max_size=8)
    .map(sorted)
    .filter(lambda ms: ms[-1] > 0)
    .map(lambda ms: MahimahiTrace(tuple(ms))),
    st.lists(st.tuples(st.integers(1, S), st.integers(0, 10**7)), min_size=1, max_size=6)
    .filter(lambda steps: any(rate for _, rate in steps))
    .map(lambda steps: RateTrace(tuple(sum(d for d, _ in steps[: i + 1]) for i in range(len(steps))),
                                 tuple(rate for _, rate in steps))),
)  # fmt: skip


@given(CAPACITIES, st.lists(st.tuples(st.integers(0, S), st.integers(1, 3000)), min_size=1, max_size=20))
def test_every_capacity_is_a_fifo_that_never_delivers_before_arrival(capacity, gaps):
    server, now, last = capacity.server(), 0, 0
    for gap, size in gaps:
        now += gap
        departure = server.depart(now, size)
        assert departure >= max(now, last)
        last = departure


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 3000)), min_size=1, max_size=20))
def test_cutting_a_steady_rate_into_steps_changes_nothing(gaps):
    whole, cut = FixedRate(1234.0).server(), RateTrace((7, 1001, 5 * MS), (1_234_000,) * 3).server()
    now = 0
    for gap, size in gaps:
        now += gap
        assert whole.depart(now, size) == cut.depart(now, size)


def test_rate_trace_files_hold_a_rate_up_to_the_time_beside_it(tmp_path):
    file = tmp_path / "r.txt"
    file.write_text("570.0 9.9\n575.0\t1.5\n\n580.5,0\n")
    trace = parse_rate(f"trace:{file}")
    assert (trace.ends_ns, trace.bits_per_s) == ((5 * S, 10.5 * S), (1_500_000, 0))
    assert str(trace) == f"trace:{file}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("0 5\n", "no capacity at all"),
        ("0 0\n1 0\n", "no capacity at all"),
        ("0 1\n1 x\n", "line 2: '1 x' is not 'seconds Mbit/s'"),
        ("0 1\n1\n", "line 2"),
        ("0 1\n1 2\n1 3\n", "line 3: time 1 s is not after"),
        ("0 1\n1 -2\n", "line 2: '1 -2' is out of range"),
        ("0 1\n1 nan\n", "line 2"),
        ("0 1\ninf 1\n", "line 2"),
    ],
)
def test_bad_rate_traces_are_named_with_their_line(tmp_path, content, message):
    file = tmp_path / "bad.txt"
    file.write_text(content)
    with pytest.raises(TraceError, match=message) as caught:
        read_rate_trace(str(file))
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("0\n0\n", "lasts 0 ms"),
        ("1\nx\n", "line 2: 'x' is not a whole number"),
        ("1\n-2\n", "line 2"),
        ("1\n1.5\n", "line 2"),
        ("1\n5\n4\n", "line 3: 4 ms is earlier"),
        ("1\n" + "9" * 5000 + "\n", "line 2: '9999"),
    ],
)
def test_bad_mahimahi_traces_are_named_with_their_line(tmp_path, content, message):
    file = tmp_path / "bad.down"
    file.write_text(content)
    with pytest.raises(TraceError, match=message) as caught:
        parse_rate(f"mahimahi:{file}")
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 400


@given(st.text(alphabet="0123456789.-+e \t\n,#x", max_size=60))
def test_any_file_content_is_a_working_capacity_or_a_trace_error(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("any") / "t"
    file.write_text(content)
    for read in (read_mahimahi_trace, read_rate_trace):
        try:
            capacity = read(str(file))
        except TraceError:
            continue
        server = capacity.server()
        times = [server.depart(0, 1500) for _ in range(3)]
        assert all(a <= b for a, b in pairwise(times)) and times[0] >= 0


def alphartc(steps):
    return json.dumps({"uplink": {"trace_pattern": steps}})


def test_alphartc_steps_have_kilobits_and_milliseconds(tmp_path):
    file = tmp_path / "t.json"
    file.write_text(alphartc([{"duration": 200, "capacity": 2.4, "loss": 0.5}, {"duration": 100.5, "capacity": 800}]))
    trace = parse_rate(f"alphartc:{file}")
    assert (trace.ends_ns, trace.bits_per_s) == ((200 * MS, 300_500_000), (2400, 800_000))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON with uplink.trace_pattern"),
        ("[" * 100_000, "not JSON with uplink.trace_pattern"),
        ("[1]", "not JSON with uplink.trace_pattern"),
        ('{"uplink": {}}', "not JSON with uplink.trace_pattern"),
        (alphartc([]), "not a list of steps"),
        (alphartc({"duration": 1}), "not a list of steps"),
        (alphartc([7]), "step 1: expected `duration`"),
        (alphartc([{"duration": 10, "capacity": 5}, {"duration": 10}]), "step 2: expected `capacity`"),
        (alphartc([{"duration": 10, "capacity": True}]), "step 1: expected `capacity`"),
        (alphartc([{"duration": 0, "capacity": 5}]), "step 1: expected `duration`"),
        (alphartc([{"duration": 10, "capacity": float("nan")}]), "step 1: expected `capacity`"),
        (alphartc([{"duration": 200, "capacity": 8_039_999}]), "is it in bit/s"),
        (alphartc([{"duration": 10, "capacity": 0}]), "no capacity at all"),
    ],
)
def test_bad_alphartc_traces_are_named_with_their_step(tmp_path, content, message):
    file = tmp_path / "bad.json"
    file.write_text(content)
    with pytest.raises(TraceError, match=message) as caught:
        read_alphartc_trace(str(file))
    assert str(file) in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["duration", "capacity"]), inner),
    max_leaves=8,
)


@given(JSON)
def test_any_alphartc_steps_are_a_working_capacity_or_a_trace_error(tmp_path_factory, steps):
    file = tmp_path_factory.mktemp("any") / "t"
    file.write_text(alphartc(steps))
    try:
        server = read_alphartc_trace(str(file)).server()
    except TraceError:
        return
    times = [server.depart(0, 1500) for _ in range(3)]
    assert all(a <= b for a, b in pairwise(times)) and times[0] >= 0


@pytest.mark.parametrize("text", ["", "fast", "-1", "0", "nan", "inf", "1e12", "mahimahi", "fixed:3"])
def test_wrong_texts_are_config_errors(text):
    with pytest.raises(ConfigError):
        parse_rate(text)


def test_a_number_is_kbit_per_second():
    assert parse_rate("1500") == FixedRate(1500.0)
    assert parse_rate("unlimited") == Unlimited()
    assert parse_rate("unlimited").server() is None


@pytest.mark.skipif(not BANDWIDTH.is_dir(), reason="needs the recorded traces")
@pytest.mark.parametrize("name", ["ATT-LTE-driving-2016.down", "Verizon-EVDO-driving.down"])
def test_a_busy_recorded_link_carries_what_its_opportunities_allow(name):
    trace = read_mahimahi_trace(str(BANDWIDTH / "mahimahi" / name))
    server = trace.server()
    count = 2 * len(trace.ms)
    last = [server.depart(0, 1504) for _ in range(count)][-1]
    assert last == 2 * trace.ms[-1] * MS


RACA = "Timestamp,Speed,DL_bitrate,UL_bitrate\n"


def test_a_5g_log_holds_each_rate_until_the_next_second_that_is_logged(tmp_path):
    file = tmp_path / "log.csv"
    rows = [("10.00.00", 100), ("10.00.00", 300), ("10.00.01", 0), ("10.00.00", 80), ("10.00.05", 500)]
    file.write_text(RACA + "".join(f"2019.12.14_{time},7,{kbps},9\n" for time, kbps in rows))
    trace = parse_rate(f"raca:{file}")
    assert trace.ends_ns == (S, 5 * S, 6 * S)
    assert trace.bits_per_s == (200_000, 40_000, 500_000)
    assert str(trace) == f"raca:{file}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the trace is empty"),
        ("Timestamp,UL_bitrate\n", "line 1: the header must name Timestamp and DL_bitrate"),
        (RACA + "2019.12.14_10.00.00,1,5,0\nyesterday,1,5,0\n", "line 3: 'yesterday', '5' are not a time and kbit/s"),
        (RACA + "2019.12.14_10.00.00,1,-,0\n", "line 2: .* '-' are not a time and kbit/s"),
        (RACA + "2019.12.14_10.00.00\n", "line 2: .* '' are not"),
        (RACA + "2019.12.14_10.00.00,1,nan,0\n", "line 2: 'nan' kbit/s is out of range"),
        (RACA + "2019.12.14_10.00.00,1,0,0\n", "no capacity at all"),
        (RACA, "no capacity at all"),
    ],
)
def test_bad_5g_logs_are_named_with_their_line(tmp_path, content, message):
    file = tmp_path / "bad.csv"
    file.write_text(content)
    with pytest.raises(TraceError, match=message):
        read_raca_trace(str(file))


@pytest.mark.skipif(not (BANDWIDTH / "5g_raca").is_dir(), reason="needs the recorded traces")
def test_recorded_5g_downloads_are_read(tmp_path):
    with zipfile.ZipFile(next((BANDWIDTH / "5g_raca").glob("*.zip"))) as archive:
        names = [n for n in archive.namelist() if "/Download/" in n and n.endswith(".csv") and "MACOSX" not in n]
        traces = [read_raca_trace(archive.extract(name, tmp_path)) for name in names[:3]]
    assert all(trace.mean_kbps > 1000 for trace in traces)
