"""Recorded round trips: half of the one that holds, on top of the delay."""

from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrae.channel.config import LinkConfig, load_preset
from lrae.channel.link import Link
from lrae.channel.pings import Pings, read_pings
from lrae.channel.rate import FixedRate
from lrae.errors import ConfigError, TraceError

STARLINK = Path(__file__).resolve().parents[3] / "shared/data/traces/bandwidth/starlink"
S = 10**9
TRACE = Pings((0, 2 * S, 3 * S), (40.0, 100.0, 60.0))  # starts over after 4 s


def test_a_datagram_takes_half_of_the_round_trip_that_holds_and_the_trace_starts_over():
    assert [TRACE.one_way_ms(round(at * S)) for at in (0, 1.999, 2, 3, 3.999, 4, 6.5)] == [20, 20, 50, 30, 30, 20, 50]


def test_the_link_adds_it_to_its_delay_and_never_reorders():
    link = Link(LinkConfig(delay_ms=5, pings=TRACE), seed=1, start=10.0)
    for at in (10.0, 12.99, 13.0):
        link.send(str(at).encode(), at)
    times = [time for time, _ in link.receive(20.0)]
    assert times == pytest.approx([10.025, 13.045, 13.045])  # the last waits for the one before it


def test_it_counts_from_when_the_queue_is_left():
    link = Link(LinkConfig(rate=FixedRate(8), overhead_bytes=0, pings=TRACE), seed=1)
    link.send(bytes(2500), 0.0)  # 2.5 s on the way out
    assert link.next_time() == pytest.approx(2.55)


@pytest.mark.parametrize(
    "content",
    [
        "timestamp10k,rtt10k,pop\n5,40.0,1\n7,100,2\n8,60,3\n",
        "# c\n5,40\n7, 100\n8,60\n",
        "rtt, timestamp\n40,5\n100,7\n60,8\n",
    ],
)
def test_files_are_read_with_and_without_a_header(tmp_path, content):
    file = tmp_path / "p.csv"
    file.write_text(content)
    assert read_pings(str(file)) == replace(TRACE, name=str(file))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the trace is empty"),
        ("timestamp,delay\n", "line 1: the header must name a timestamp and an rtt"),
        ("timestamp,rtt\n", "line 1: nothing below the header"),
        ("1,2\n2\n", "line 2: '2' is not 'seconds,ms'"),
        ("1,2\n2,x\n", "line 2: '2,x' is not 'seconds,ms'"),
        ("1,2\n2,-1\n", "line 2: '2,-1' is out of range"),
        ("nan,2\n", "line 1: 'nan,2' is out of range"),
        ("1,2\n1,2\n", "line 2: time 1 s is not after the line before"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path, content, message):
    file = tmp_path / "bad.csv"
    file.write_text(content)
    with pytest.raises(TraceError, match=message) as caught:
        read_pings(str(file))
    assert str(file) in str(caught.value)


TIMES, TRIPS = st.sampled_from(["0", "1", "2.5", "x", "nan", "-7", "1e99"]), st.sampled_from(["0", "30", "y", "inf"])


@given(st.lists(st.tuples(TIMES, TRIPS)))
def test_any_file_content_is_a_trace_or_a_trace_error(tmp_path_factory, rows):
    file = tmp_path_factory.mktemp("any") / "t"
    file.write_text("\n".join(map(",".join, rows)))
    try:
        pings = read_pings(str(file))
    except TraceError:
        return
    assert 0 <= pings.one_way_ms(5 * S) <= 15


def test_a_preset_names_the_file(tmp_path):
    (tmp_path / "p.csv").write_text("0,40\n")
    preset = tmp_path / "mine.toml"
    preset.write_text(f"[up]\npings = '{tmp_path / 'p.csv'}'\n")
    config = load_preset(str(preset))
    assert config.down.pings.rtts_ms == (40.0,) and "median 40 ms" in str(config.up)
    preset.write_text("[up]\npings = 3\n")
    with pytest.raises(ConfigError, match="wrong type"):
        load_preset(str(preset))


@pytest.mark.skipif(not STARLINK.is_dir(), reason="needs the recorded traces")
def test_recorded_starlink_round_trips_are_read():
    traces = [read_pings(str(file)) for file in sorted(STARLINK.glob("*.csv"))]
    assert len(traces) == 7 and all(40 < median(trace.rtts_ms) < 200 for trace in traces)
