"""Loss models: long-run statistics, determinism, and the texts and files they are read from."""

import itertools
import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrae.channel.loss import (
    Bernoulli,
    GilbertElliott,
    parse_loss,
    parse_probability,
)
from lrae.channel.loss_trace import LossTrace, read_loss_trace
from lrae.errors import ConfigError, TraceError

RECORDED = Path(__file__).resolve().parents[3] / "shared/data/traces/loss/vca_sense"


def run(model, count, seed=1):
    return np.fromiter(itertools.islice(model.outcomes(random.Random(seed)), count), bool, count)


def burst_length(lost):
    starts = np.count_nonzero(lost & ~np.concatenate([[False], lost[:-1]]))
    return lost.sum() / starts


@pytest.mark.parametrize(
    "model",
    [parse_loss(text) for text in ("0.01", "0.5", "ge:tambur", "ge:0.01,0.1,0.001,0.9", "ge:0.05,0.5,0,1")],
    ids=str,
)
def test_long_runs_have_the_mean_loss_and_burst_length_that_the_model_states(model):
    lost = run(model, 200_000)
    assert lost.mean() == pytest.approx(model.mean, rel=0.05)
    assert burst_length(lost) == pytest.approx(model.mean_burst, rel=0.05)


def test_tambur_preset_has_the_published_parameters_and_loses_7_4_percent():
    model = parse_loss("ge:tambur")
    assert model == GilbertElliott(p_good_to_bad=0.068, p_bad_to_good=0.852, loss_good=0.04, loss_bad=0.5)
    assert model.mean == pytest.approx(0.074)


def test_simple_gilbert_bursts_last_one_over_the_way_back():
    assert GilbertElliott(0.05, 0.25, 0.0, 1.0).mean_burst == pytest.approx(4.0)


def test_a_gilbert_elliott_run_has_the_mean_loss_from_its_first_datagram():
    model = GilbertElliott(0.01, 0.01, 0.0, 1.0)
    first = [next(model.outcomes(random.Random(seed))) for seed in range(2000)]
    assert np.mean(first) == pytest.approx(0.5, abs=0.04)


def test_states_that_never_change_stay_good():
    assert not run(GilbertElliott(0.0, 0.0, 0.0, 1.0), 1000).any()


@pytest.mark.parametrize("model", [Bernoulli(0.3), parse_loss("ge:tambur")], ids=str)
def test_same_seed_same_losses_and_another_seed_others(model):
    assert (run(model, 1000, 7) == run(model, 1000, 7)).all()
    assert (run(model, 1000, 7) != run(model, 1000, 8)).any()


def test_a_numpy_generator_serves_as_well():
    outcomes = Bernoulli(0.25).outcomes(np.random.default_rng(3))
    assert np.mean(list(itertools.islice(outcomes, 20_000))) == pytest.approx(0.25, abs=0.02)


def test_none_and_all_are_absolute():
    assert not run(parse_loss("none"), 1000).any()
    assert run(parse_loss("all"), 1000).all()
    assert parse_loss("none").mean_burst == 0
    assert parse_loss("all").mean_burst == math.inf


def test_a_trace_repeats_when_exhausted():
    assert run(LossTrace(b"\x00\x01\x01"), 7).tolist() == [False, True, True, False, True, True, False]


def test_a_trace_states_its_bursts_across_the_seam():
    model = LossTrace(b"\x01\x00\x00\x01\x00\x01")
    assert model.mean == 0.5
    assert model.mean_burst == 1.5  # 6th and 1st are one burst, the 4th another


@pytest.mark.parametrize(
    "content",
    (
        "0\n1\n1\n0\n", "0110", "0, 1, 1, 0", "# c\n\n01 \r\n10\r\n", "lost\n0\n1\n1\n0",
        "index,lost,x\n0,0,a\n1,1,b\n2,1,c\n3,0,d\n",
    ),
)  # fmt: skip
def test_trace_files_are_read_in_either_form(tmp_path, content):
    file = tmp_path / "t.csv"
    file.write_text(content)
    model = parse_loss(f"trace:{file}")
    assert model.pattern == b"\x00\x01\x01\x00"
    assert str(model) == f"trace:{file}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the trace is empty"),
        (b"# only a comment\n", "the trace is empty"),
        (b"0\n1\n2\n", "line 3: '2' is not a list of 0 and 1"),
        (b"index,lost\n0,0\n1,yes\n", "line 3: column 'lost' is 'yes'"),
        (b"index,lost\n0,0\n\n1\n", "line 4: column 'lost' is ''"),
        (b"index,lost\n", "line 1: nothing below the header"),
        (b"0\n\xff\xfe\n", "line 2: not text"),
    ],
)
def test_bad_trace_files_are_named_with_their_line(tmp_path, content, message):
    file = tmp_path / "bad.csv"
    file.write_bytes(content)
    with pytest.raises(TraceError, match=message) as caught:
        read_loss_trace(str(file))
    assert str(file) in str(caught.value)


def test_a_missing_trace_file_is_a_trace_error(tmp_path):
    with pytest.raises(TraceError, match="cannot read trace"):
        parse_loss(f"trace:{tmp_path / 'no.csv'}")


@given(st.binary(max_size=200))
def test_any_file_content_is_a_trace_or_a_trace_error(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("any") / "t"
    file.write_bytes(content)
    try:
        model = read_loss_trace(str(file))
    except TraceError:
        return
    assert set(model.pattern) <= {0, 1}


@pytest.mark.skipif(not RECORDED.is_dir(), reason="needs the recorded traces")
def test_recorded_calls_are_read_and_one_of_them_loses_in_bursts():
    models = [read_loss_trace(str(file)) for file in sorted(RECORDED.glob("feishu*.csv"))]
    assert max(model.mean_burst for model in models) > 3


@pytest.mark.parametrize(("text", "p"), [("0.2", 0.2), ("20%", 0.2), (" .5 ", 0.5), ("1", 1.0), ("0%", 0.0)])
def test_a_probability_is_a_number_or_a_percentage(text, p):
    assert parse_loss(text) == Bernoulli(p)
    assert parse_probability(text, "x") == p


@pytest.mark.parametrize(
    "text",
    (
        "", "20", "-0.1", "101%", "nan", "%", "0.2.3", "some", "bernoulli:0.1",
        "ge", "ge:", "ge:1,2", "ge:0.1,0.2,0.3,1.4", "ge:a,b,c,d", "ge:nan,0,0,0",
    ),
)  # fmt: skip
def test_wrong_texts_are_config_errors(text):
    with pytest.raises(ConfigError):
        parse_loss(text)


SHARE = st.floats(0, 1)


@given(st.one_of(st.builds(Bernoulli, SHARE), st.builds(GilbertElliott, SHARE, SHARE, SHARE, SHARE)))
def test_a_model_reads_back_from_its_own_text(model):
    assert parse_loss(str(model)) == model
    assert 0 <= model.mean <= 1
    assert model.mean_burst == 0 or model.mean_burst >= 1 - 1e-9


@given(st.text(max_size=20).filter(lambda text: not text.strip().startswith("trace:")))
def test_any_text_is_a_model_or_a_config_error(text):
    try:
        model = parse_loss(text)
    except ConfigError:
        return
    assert 0 <= model.mean <= 1
