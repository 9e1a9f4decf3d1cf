"""What one who knows the link reaches: nearly all of it where it is steady, never less by foresight."""

from lrae.channel.rate import FixedRate
from lrae.experiments.congestion import score
from lrae.experiments.congestion_links import Trial, steps
from lrae.experiments.congestion_oracle import Knowledge, Oracle, departures, frontier, oracle_table

UNEVEN = Trial("uneven", steps(*((0.25, kbps) for kbps in (4000, 200) * 16)), 8)


def test_a_steady_link_is_used_with_a_short_queue():
    steady = Trial("steady", FixedRate(2000), 10)
    got = score(steady, Oracle(steady, Knowledge(0.04, 0.1, 0.02, 1.0)))
    assert got.utilisation > 0.9
    assert got.p95_ms < 50


def test_departures_are_those_of_a_link_that_is_never_idle():
    times = departures(Trial("steady", FixedRate(1504 * 8 / 10), 1))  # 1504 bytes in 10 ms
    assert times[:3] == [0.01, 0.02, 0.03]
    assert 2 < times[-1] < 2.02


def test_foresight_shortens_the_queue_and_the_frontier_has_a_row_per_link():
    found = frontier([UNEVEN], (0.04, -0.06), score, 1)
    now, ahead = found["uneven"]["40"], found["uneven"]["-60"]
    assert ahead["p95_ms"] < (now["p95_ms"] or 1e3)
    assert oracle_table(found).row_count == 1
