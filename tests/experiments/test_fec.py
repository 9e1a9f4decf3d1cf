"""experiments/fec: the codes are timed on what they recover, and the table holds what the codes really do."""

import json

import pytest

from lrae.channel.loss import Bernoulli
from lrae.channel.loss_trace import LossTrace
from lrae.errors import ConfigError
from lrae.experiments import bench, fec, fec_loss
from lrae.sender.fec_policy import price_of_bits, price_of_loss


def test_fec_measures_the_four_speeds_and_every_scheme(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fec, "FRAMES", 24)
    monkeypatch.setattr(fec, "WARM", 4)
    monkeypatch.setattr(fec_loss, "MODELS", {"independent 20%": Bernoulli(0.2)})
    (tmp_path / "call.csv").write_text("index,lost\n" + "".join(f"{i},{int(i % 9 == 0)}\n" for i in range(90)))
    (tmp_path / "notes.txt").write_text("no trace\n")
    out = tmp_path / "fec.json"
    assert bench.main(["fec", "--frames", "60", "--traces", str(tmp_path), "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    codes = {"block_encode", "block_recover", "streaming_encode", "streaming_recover"}
    assert set(result["mb_per_s"]) == set(result["ms_per_frame"]) == codes
    assert all(rate > 0 for rate in result["mb_per_s"].values())
    assert set(result["runs"]) == {"independent 20%", "call"} and result["skipped"] == ["notes.txt"]
    assert set(result["runs"]["call"]["schemes"]) == set(fec_loss.SCHEMES)
    behind = [
        row["policy"]["cost_db"] - min(entry["cost_db"] for name, entry in row.items() if name != "policy")
        for row in (run["schemes"] for run in result["runs"].values())
    ]
    assert result["regret_db"] == pytest.approx(sum(behind) / len(behind))
    assert "block" in capsys.readouterr().out


def test_a_folder_without_traces_is_a_clear_error(tmp_path):
    with pytest.raises(ConfigError, match="no loss trace"):
        fec_loss.trace_models(tmp_path)


def test_without_loss_nothing_is_left_and_parity_costs_its_bits():
    for scheme in fec_loss.SCHEMES:
        outcome = fec_loss.run(Bernoulli(0), scheme, 4, 40, 3)
        assert outcome.lost == outcome.left == 0
        assert outcome.cost == pytest.approx(price_of_bits(outcome.parity))


def test_one_loss_in_every_frame_is_what_one_parity_a_frame_repairs():
    every_fifth = LossTrace(bytes([0, 1, 0, 0, 0]))
    assert fec_loss.run(every_fifth, "block 25 %", 4, 50, 0).left == 0
    assert fec_loss.run(LossTrace(bytes([0, 1, 0, 0])), "none", 4, 50, 0).cost == price_of_loss(0.5)


def test_unequal_protection_saves_worth_where_parity_is_scarce():
    equal, unequal = (
        fec_loss.run(Bernoulli(0.3), "block 25 %", 8, 200, 3, 0, [7.0] + [1.0] * 7, protect).worth_left
        for protect in (False, True)
    )
    assert unequal < 0.9 * equal
