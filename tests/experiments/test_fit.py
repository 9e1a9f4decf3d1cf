"""lrae-replay fit: what it prints can be given to --loss, and its JSON holds what it says."""

import argparse
import io
import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from lrae.channel.loss import parse_loss
from lrae.errors import ConfigError, TraceError
from lrae.experiments import fit
from lrae.experiments.fit import add_command, fit_report

CALL = Path(__file__).resolve().parents[3] / "shared/data/traces/loss/vca_sense/feishu_voice_limit_7KB_3_51ec.csv"


def run(*argv):
    parser = argparse.ArgumentParser()
    add_command(parser.add_subparsers())
    args = parser.parse_args(["fit", *map(str, argv)])
    out = io.StringIO()
    return args.run(args, Console(file=out, width=150)), out.getvalue()


@pytest.fixture
def trace(tmp_path):
    outcomes = parse_loss("ge:0.02,0.1,0.01,0.7").outcomes(random.Random(4))
    file = tmp_path / "trace.txt"
    file.write_text("".join(str(int(lost)) for lost in itertools.islice(outcomes, 20_000)))
    return file


def test_the_last_line_is_what_loss_accepts(trace):
    result, printed = run(trace)
    text = printed.strip().splitlines()[-1].removeprefix("--loss ")
    model = parse_loss(text)
    assert text == result["loss"] and text.startswith("ge:")
    assert model.mean == pytest.approx(result["lost"], rel=0.05)
    assert model.mean_burst == pytest.approx(result["mean_burst"], rel=0.05)
    assert "Gilbert-Elliott" in printed and "independent" in printed


def test_the_report_says_how_well_it_fits(trace):
    result = json.loads(json.dumps(run(trace)[0]))
    keys = "loss packets lost mean_burst longest_burst models bursts distance deviation"
    assert list(result) == keys.split()
    assert result["packets"] == 20_000 and result["distance"] < 0.03
    for kind in ("measured", "fitted"):
        assert sum(row[kind] for row in result["bursts"]) == pytest.approx(1)
    for row in result["deviation"][:2]:  # there are too few windows of 1000 packets
        assert row["fitted"] == pytest.approx(row["measured"], rel=0.15)


def test_measured_bursts_are_counted_as_they_are():
    result = fit_report(np.array([1, 0, 1, 1, 0, 0, 1, 1, 1, 1], np.uint8))
    found = {row["from"]: row["measured"] for row in result["bursts"] if row["measured"]}
    assert found == {1: pytest.approx(1 / 3), 2: pytest.approx(1 / 3), 4: pytest.approx(1 / 3)}
    assert (result["longest_burst"], result["mean_burst"]) == (4, pytest.approx(7 / 3))
    assert [row["measured"] for row in result["deviation"]] == [None, None, None]


@pytest.mark.parametrize(("pattern", "loss"), [([0] * 30, "none"), ([1] * 30, "all")])
def test_traces_without_a_change_have_a_report_too(pattern, loss):
    result = fit_report(np.array(pattern, np.uint8))
    assert result["loss"] == loss and len(result["models"]) == 1


def test_a_bad_trace_is_refused_with_its_line_and_a_huge_one_at_all(tmp_path, monkeypatch):
    bad = tmp_path / "bad.txt"
    bad.write_text("01\n0x\n")
    with pytest.raises(TraceError, match="line 2"):
        run(bad)
    monkeypatch.setattr(fit, "MAX_PACKETS", 10)
    bad.write_text("01" * 6)
    with pytest.raises(ConfigError, match="12 packets are too many"):
        run(bad)


@pytest.mark.skipif(not CALL.is_file(), reason="needs the recorded traces")
def test_a_recorded_call_with_bursts_is_fitted_with_bursts():
    result, _ = run(CALL)
    model = parse_loss(result["loss"])
    assert model.mean == pytest.approx(result["lost"], rel=0.02)
    assert model.mean_burst == pytest.approx(result["mean_burst"], rel=0.2)
