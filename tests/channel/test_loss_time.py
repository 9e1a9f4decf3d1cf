"""Losses that follow the clock: what a datagram meets depends on when it is sent, whatever the number of others."""

import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrae.channel.config import LinkConfig
from lrae.channel.link import Link
from lrae.channel.loss import Bernoulli, losses, parse_loss
from lrae.channel.loss_time import LossSteps, TimedLosses, read_alphartc_loss, read_timed_losses
from lrae.channel.loss_trace import LossTrace
from lrae.errors import TraceError

SHARED = Path(__file__).resolve().parents[3] / "shared/data/traces/loss"
MS = 10**6
TRACE = TimedLosses((0, 10 * MS, 30 * MS), b"\x00\x01\x00", 40 * MS)  # lost from 10 to 30 ms of every 40


def ask(model, times_ms, seed=1):
    lost_at = losses(model, random.Random(seed))
    return [lost_at(round(ms * MS)) for ms in times_ms]


def test_a_datagram_meets_the_fate_of_the_recorded_one_before_it_and_the_trace_starts_over():
    times = [0, 9.9, 10, 29.9, 30, 39.9, 40, 49.9, 50, 4010, 4030]
    assert ask(TRACE, times) == [False, False, True, True, False, False, False, False, True, True, False]


def test_how_many_are_sent_does_not_matter_only_when():
    seconds = 2.0
    for every in (0.5, 3.0, 7.0):
        times = np.arange(0, seconds * 1e3, every)
        lost = np.array(ask(TRACE, times))
        assert lost.tolist() == ((times % 40 >= 10) & (times % 40 < 30)).tolist()
    assert TRACE.mean == 0.5


def test_the_link_asks_for_its_own_time_and_packet_driven_losses_still_count_datagrams():
    link = Link(LinkConfig(loss=TRACE), seed=1, start=100.0)
    for ms in range(80):
        link.send(bytes([ms]), 100.0 + ms / 1e3)
    assert [data[0] for _, data in link.receive(200.0)] == [ms for ms in range(80) if not 10 <= ms % 40 < 30]
    counted = Link(LinkConfig(loss=LossTrace(b"\x00\x01")), seed=1, start=100.0)
    for ms in range(6):
        counted.send(bytes([ms]), 100.0)
    assert [data[0] for _, data in counted.receive(200.0)] == [0, 2, 4]


def test_the_loss_rate_changes_in_steps():
    model = LossSteps((500 * MS, 1000 * MS), (0.0, 0.4))
    lost = np.array(ask(model, np.arange(0, 20_000, 0.5)))
    quiet = np.arange(lost.size) * 0.5 % 1000 < 500
    assert not lost[quiet].any()
    assert lost[~quiet].mean() == pytest.approx(0.4, abs=0.02)
    assert model.mean == pytest.approx(0.2)
    assert model.mean_burst == pytest.approx(1 / 0.6)
    assert LossSteps((5,), (0.0,)).mean_burst == 0 and LossSteps((5,), (1.0,)).mean_burst == float("inf")


def test_where_there_is_no_clock_both_can_be_asked_datagram_by_datagram():
    assert list(itertools.islice(TRACE.outcomes(random.Random(1)), 4)) == [False, True, False, False]
    steps = LossSteps((100 * MS, 200 * MS), (0.0, 1.0))  # a datagram every 10 ms
    assert list(itertools.islice(steps.outcomes(random.Random(1)), 30)) == [False] * 10 + [True] * 10 + [False] * 10


def test_same_seed_same_losses_and_any_other_model_fits_the_clock_too():
    steps, times = LossSteps((MS,), (0.5,)), range(1000)
    assert ask(steps, times, 7) == ask(steps, times, 7) != ask(steps, times, 8)
    expected = list(itertools.islice(Bernoulli(0.3).outcomes(random.Random(7)), 1000))
    assert ask(Bernoulli(0.3), times, 7) == expected


def test_a_timed_trace_is_read_with_the_times_of_lost_datagrams_filled_in(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("index,lost,arrival_ms,rtp_bytes\n0,0,100.0,5\n1,1,,\n2,1,,\n3,0,130.5,6\n# c\n4,0,129,6\n5,1,,\n")
    model = parse_loss(f"timed:{file}")
    assert model.times_ns == (0, 10_166_667, 20_333_333, 30_500_000, 30_500_000, 30_500_000)
    assert model.pattern == b"\x00\x01\x01\x00\x00\x01"
    assert model.period_ns == 36_600_000
    assert str(model) == f"timed:{file}"


@pytest.mark.parametrize("column", ["time", "time_s", "time_ms", "arrival_ms"])
def test_the_unit_of_time_is_in_its_name(tmp_path, column):
    file = tmp_path / "t.csv"
    unit = 1000 if column.endswith("_ms") else 1
    file.write_text(f"{column}, lost\n{2 * unit},0\n{5 * unit},1\n")
    assert read_timed_losses(str(file)).times_ns == (0, 3_000_000_000)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the trace is empty"),
        (b"0\n1\n", "line 1: the header must name `lost` and a time"),
        (b"# c\nindex,lost\n0,0\n", "line 2: the header must name"),
        (b"lost,time\n0,0\n2,1\n", "line 3: column 'lost' is '2'"),
        (b"lost,time\n0,0\n0,\n", "line 3: '' is not a time"),
        (b"lost,time\n0\n", "line 2: '' is not a time"),
        (b"lost,time\n0,soon\n", "line 2: 'soon' is not a time"),
        (b"lost,time\n0,nan\n", "line 2: 'nan' is not a time"),
        (b"lost,time\n0,1e300\n", "line 2: '1e300' is not a time"),
        (b"lost,time\n", "line 1: no datagram with a time"),
        (b"lost,time\n1,\n", "line 2: no datagram with a time"),
        (b"lost,time\n0,5\n1,5\n", "line 3: the trace lasts no time"),
    ],
)
def test_bad_timed_traces_are_named_with_their_line(tmp_path, content, message):
    file = tmp_path / "bad.csv"
    file.write_bytes(content)
    with pytest.raises(TraceError, match=message) as caught:
        parse_loss(f"timed:{file}")
    assert str(file) in str(caught.value)


def alphartc(steps):
    return json.dumps({"uplink": {"trace_pattern": steps}})


def test_alphartc_loss_patterns_are_read(tmp_path):
    file = tmp_path / "p.json"
    file.write_text(alphartc([{"duration": 500, "capacity": 9, "loss": 0}, {"duration": 250.5, "loss": 0.2}]))
    model = parse_loss(f"alphartc:{file}")
    assert (model.ends_ns, model.rates) == ((500 * MS, 750_500_000), (0.0, 0.2))
    assert str(model) == f"alphartc:{file}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        (alphartc([]), "not a list of steps"),
        (alphartc([{"duration": 5}]), "step 1: expected `loss`"),
        (alphartc([{"duration": 5, "loss": 0}, {"duration": 5, "loss": 20}]), "step 2: expected `loss`"),
        (alphartc([{"duration": -5, "loss": 0}]), "step 1: expected `duration`"),
    ],
)
def test_bad_alphartc_loss_patterns_are_named_with_their_step(tmp_path, content, message):
    file = tmp_path / "bad.json"
    file.write_text(content)
    with pytest.raises(TraceError, match=message):
        read_alphartc_loss(str(file))


ROWS = st.lists(st.tuples(st.sampled_from(["0", "1", "2", ""]), st.sampled_from(["", "1", "7.5", "-3", "x", "1e99"])))


@given(st.one_of(st.binary(max_size=100), ROWS.map(lambda rows: "\n".join(map(",".join, [("lost", "time"), *rows])))))
def test_any_file_content_is_a_timed_trace_or_a_trace_error(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("any") / "t"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        model = read_timed_losses(str(file))
    except TraceError:
        return
    assert len(model.times_ns) == len(model.pattern) and 0 <= model.mean <= 1
    assert list(model.times_ns) == sorted(model.times_ns) and model.period_ns > model.times_ns[-1]
    assert set(ask(model, range(50))) <= {False, True}


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the recorded traces")
def test_recorded_calls_and_loss_patterns_are_read_by_the_clock():
    calls = [read_timed_losses(str(file)) for file in sorted(SHARED.glob("vca_sense/feishu*.csv"))]
    assert len(calls) == 16
    assert all(15e9 < call.period_ns < 310e9 for call in calls)
    assert 0.3 < max(call.mean for call in calls) < 0.4
    patterns = [read_alphartc_loss(str(file)) for file in sorted(SHARED.glob("alphartc_patterns/*.json"))]
    assert max(pattern.mean for pattern in patterns) == 0.5
