"""Losses by the clock: as many and as long as asked for, the same for all links, and changed at once."""

from __future__ import annotations

import random
from itertools import groupby

import pytest

from lrae.channel.config import LinkConfig
from lrae.channel.link import Link
from lrae.webrtc.fec import LossFec, SwitchedFec
from lrae.webrtc.situation import TRACES, Situation
from lrae.webrtc.weather import PACKET_BITS, Weather, call_trace, stay_chance

STEP = PACKET_BITS / Situation().bitrate_kbps / 1e3  # seconds between typical datagrams


@pytest.mark.parametrize(("loss", "burst"), [(0.05, 1), (0.3, 1), (0.1, 3), (0.3, 25)])
def test_losses_are_as_many_and_as_long_as_asked_for(loss, burst):
    weather = Weather(3, Situation(loss=loss, burst=burst))
    fates = [weather.lost(index * STEP) for index in range(60_000)]
    lengths = [len(list(run)) for lost, run in groupby(fates) if lost]
    assert sum(fates) / len(fates) == pytest.approx(loss, rel=0.12)
    assert sum(lengths) / len(lengths) == pytest.approx(max(burst, 1 / (1 - loss)), rel=0.12)


def test_no_burst_is_shorter_than_chance_makes_it():
    assert stay_chance(0.5, 1.0) == stay_chance(0.5, 2.0) == stay_chance(1.0, 9.0) == 0.0
    assert 0 < stay_chance(0.5, 3.0) < 1


def test_links_that_share_it_lose_at_the_same_instants():
    weather = Weather(1, Situation(loss=0.4, burst=4))
    links = [Link(LinkConfig(loss=weather), seed) for seed in range(2)]
    arrived = [[], []]
    for index in range(2000):
        for link, kept in zip(links, arrived, strict=True):
            link.send(b"%d" % index, index * 0.004)
            kept += [data for _, data in link.receive(index * 0.004)]
    assert arrived[0] == arrived[1] and 800 < len(arrived[0]) < 1600


def test_another_situation_and_a_drop_act_at_once():
    weather = Weather(1, Situation())
    assert not weather.lost(0.0)
    weather.set(Situation(loss=1.0))
    assert weather.lost(0.0)
    weather.set(Situation())
    assert not weather.lost(0.001)
    weather.drop(1.5)
    assert weather.lost(1.499) and not weather.lost(1.5)


def test_every_trace_is_there_and_its_losses_come_on_top():
    for name in filter(None, TRACES):
        assert 0 < call_trace(name).mean < 0.5
        weather = Weather(1, Situation(trace=name))
        share = sum(weather.lost(index * 0.01) for index in range(5000)) / 5000
        assert share == pytest.approx(call_trace(name).mean, abs=0.03)


def test_parity_follows_the_losses_and_can_be_switched():
    follower = LossFec()
    fec = SwitchedFec({"policy": follower, "off": None}, "off")
    rng = random.Random(1)
    fec.observe([rng.random() < 0.1 for _ in range(2000)])
    assert fec.share == 0 and fec.plan([1000] * 4, 0.1, 0.15, 0.03).parity == 0
    fec.name = "policy"
    parity = sum(fec.plan([1000] * 4, 0.1, 0.15, 0.03).parity for _ in range(100))
    assert parity == pytest.approx(100 * 4 * 0.5, rel=0.35)
    follower.observe([True] * 2000)
    assert follower.share == 1.0
    follower.observe([False] * 2000)
    assert fec.plan([1000] * 4, 0.1, 0.15, 0.03).scheme == "none"
