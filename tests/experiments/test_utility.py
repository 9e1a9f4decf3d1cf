"""lrae-bench utility: its keys, and the rank correlation it is made of."""

import json

import pytest

from lrae.experiments import bench
from lrae.experiments.utility import EFFECTS, PREDICTORS, spearman


def test_rank_correlation_knows_order_ties_and_nothing():
    assert spearman([1, 2, 3, 4], [10, 200, 3000, 40000]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert spearman([1, 2, 2, 3], [1, 3, 2, 4]) == pytest.approx(0.9486833)  # as scipy.stats.spearmanr gives
    assert spearman([1, 1, 1], [1, 2, 3]) == 0


def test_utility_writes_its_documented_keys(tmp_path, capsys):
    out = tmp_path / "utility.json"
    command = ["utility", "--clips", "synthetic:192x128@30x16", "--frames", "16", "--q", "22", "--packets", "4"]
    assert bench.main([*command, "--jobs", "1", "--device", "cpu", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    for key in ("rank", "within"):
        assert [(name, *values) for name, values in result[key].items()] == [(name, *EFFECTS) for name in PREDICTORS]
    assert result["rank"]["live"]["now"] > 0.5
    assert set(result["times"]) == {"encode_ms", "utility_ms", "share"} and result["packets"] == 4
    assert {"clip", "q", "rank", "within", "scale", "times"} == set(result["runs"][0])
    assert "Rank correlation" in capsys.readouterr().out
