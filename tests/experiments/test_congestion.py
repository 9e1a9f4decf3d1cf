"""The benchmark's link, its figures, and what the adaptive rate reaches on links that need no file."""

import json

import pytest

from lrae.channel.config import LinkConfig
from lrae.channel.loss import Bernoulli
from lrae.channel.rate import NS, FixedRate, RateTrace
from lrae.errors import ConfigError
from lrae.experiments.congestion import CONTROLLERS, carried, lone_waits, score, share, tables
from lrae.experiments.congestion_links import Trial, made_up, recorded, steps, walk
from lrae.experiments.congestion_sim import Flow, simulate
from lrae.sender import congestion
from lrae.sender.congestion import AdaptiveRate


def test_capacity_and_lone_waits_are_those_of_the_trace():
    trace = RateTrace((NS, 2 * NS), (800_000, 0))
    assert carried(trace, 1.0) == pytest.approx(100_000, abs=1504)
    assert carried(trace, 2.5) == pytest.approx(150_000, abs=1504)
    assert lone_waits(trace, [0.5, 1.25, 1.75]) == pytest.approx([0.01, 750.01, 250.01], abs=0.02)


def test_a_fixed_rate_under_capacity_waits_little_and_misses_nothing():
    got = score(Trial("t", FixedRate(1000), 20), congestion.FixedRate(800e3))
    assert got.utilisation == pytest.approx(0.8, abs=0.04)
    assert (got.missed, got.dropped, got.recovery_s) == (0, 0, None)
    assert got.p95_ms < 20


def test_every_datagram_is_acked_once_in_order_and_loss_is_told():
    class Witness(congestion.FixedRate):
        def __init__(self):
            super().__init__(1e6)
            self.seen, self.lost = [], 0

        def on_acks(self, acks, rtt, now):
            self.seen += [ack.counter for ack in acks]
            self.lost += sum(ack.arrived is None for ack in acks)
            assert 0.04 <= rtt < 0.2

    witness = Witness()
    flow = Flow(witness)
    lossy = LinkConfig(rate=FixedRate(2000), delay_ms=20, loss=Bernoulli(0.2))
    simulate([flow], lossy, lossy, 10)
    assert witness.seen == list(range(len(witness.seen)))
    assert len(witness.seen) > 0.95 * len(flow.packets)
    assert witness.lost / len(witness.seen) == pytest.approx(0.2, abs=0.05)


def test_the_same_seed_gives_the_same_run():
    runs = [Flow(AdaptiveRate()) for _ in range(2)]
    for flow in runs:
        simulate([flow], LinkConfig(rate=walk(5), delay_ms=20), LinkConfig(delay_ms=20), 5, seed=3)
    assert runs[0].rates == runs[1].rates
    assert runs[0].frames == runs[1].frames


def adaptive(trial):
    return score(trial, CONTROLLERS["adaptive"](trial))


def test_steps_and_a_walk_are_used_with_a_short_queue():
    for trial in (Trial("steps", steps((8, 3000), (8, 800), (8, 4000)), 24), Trial("walk", walk(20), 20)):
        got = adaptive(trial)
        assert got.utilisation > 0.9
        assert got.p95_ms < 80


def test_an_outage_of_two_seconds_is_over_within_a_second():
    got = adaptive(Trial("outage", steps((6, 3000), (2, 0), (6, 3000)), 14, outage=(6, 8)))
    assert got.recovery_s < 1
    assert got.utilisation > 0.85


@pytest.mark.parametrize("loss", [0.2, 0.5])
def test_random_loss_does_not_starve_the_sender(loss):
    got = adaptive(Trial("loss", FixedRate(2000), 20, loss=Bernoulli(loss)))
    assert got.utilisation > 0.6 * (1 - loss)


def test_a_short_queue_is_not_overflowed_for_long():
    flow = Flow(AdaptiveRate())
    there = LinkConfig(rate=FixedRate(3000), delay_ms=20, queue_bytes=6000)  # 16 ms
    simulate([flow], there, LinkConfig(delay_ms=20), 20)
    late = [packet for packet in flow.packets if 5 < packet.sent < 19]
    assert sum(packet.arrived is None for packet in late) < 0.08 * len(late)
    assert 8 * sum(packet.size for packet in late) > 0.6 * 14 * 3e6


def test_a_latecomer_gets_its_share():
    got = share(3000, (0.0, 8.0), seconds=40)
    assert got["jain"] > 0.9
    assert got["utilisation"] > 0.9


def test_gcc_keeps_a_short_queue_and_starves_under_random_loss():
    steady = Trial("steady", FixedRate(2000), 30)
    got = score(steady, CONTROLLERS["gcc"](steady))
    assert got.utilisation > 0.7
    assert got.p95_ms < 30
    lossy = Trial("loss", FixedRate(2000), 30, loss=Bernoulli(0.2))
    assert score(lossy, CONTROLLERS["gcc"](lossy)).utilisation < 0.2


def test_recordings_are_found_and_unfit_ones_named(tmp_path):
    folder = tmp_path / "mahimahi"
    folder.mkdir()
    (folder / "X-LTE.down").write_text("5\n10\n2000\n")
    (tmp_path / "alphartc").mkdir()
    (tmp_path / "alphartc" / "bad.json").write_text("{}")
    trials, refused = recorded(tmp_path)
    assert [(trial.name, trial.seconds) for trial in trials] == [("mahimahi/X-LTE.down", 2.0)]
    assert "bad.json" in refused[0]


def test_a_folder_without_recordings_is_one_clear_error(tmp_path):
    with pytest.raises(ConfigError, match="no trace of mahimahi, "):
        recorded(tmp_path)


def test_every_made_up_link_has_a_name_and_a_table_row():
    trials = made_up()
    assert len({trial.name for trial in trials}) == len(trials)
    one = {name: vars(score(Trial("t", FixedRate(500), 3), make(trials[0]))) for name, make in CONTROLLERS.items()}
    result = {"links": {"t": one}, "shared": [share(1000, (0.0,), seconds=3)]}
    assert [table.row_count for table in tables(json.loads(json.dumps(result)))] == [3, 1]
