"""The pipeline in virtual time: pictures advance, controls act at once, losses show, both legs cost the same."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest

from lrae.codec import make_decoder, make_encoder
from lrae.codec.types import VideoFormat
from lrae.sender.source import open_source
from lrae.webrtc.ends import BARE, IMPUTED, H264Decoding, H264Encoding, Mode
from lrae.webrtc.ends_lrae import LraeDecoding, LraeEncoding
from lrae.webrtc.pipeline import H264, LRAE, Pipeline
from lrae.webrtc.situation import Situation
from lrae.webrtc.stats import StatsMaker

VIDEO = VideoFormat(48, 32, Fraction(30))
BASE = Situation(bitrate_kbps=2000)  # the small exact codec of conftest knows no q, and never gets near it
REAL_VIDEO, REAL = VideoFormat(128, 96, Fraction(30)), Situation(bitrate_kbps=200)
KINDS = ("media", "side", "parity", "retransmit", "headers")


class Virtual:
    """A pipeline on a clock of its own, on which coding takes as long as `times` says: seconds by worker.

    codec(video): what stands for LRAE, None: LRAE itself.
    """

    def __init__(self, situation, codec=None, times=None, seed=1):
        rate, self.video = situation.bitrate_kbps * 1000, VIDEO if codec else REAL_VIDEO
        video = self.video
        encoders = {i: codec(video) if codec else make_encoder("m", video, "cpu", i) for i in (IMPUTED, BARE)}
        decoders = {i: codec(video) if codec else make_decoder("m", video, "cpu", i) for i in (IMPUTED, BARE)}
        self.ends = {
            LRAE: (LraeEncoding(encoders, rate, lambda: 0.0), LraeDecoding(decoders)),
            H264: (H264Encoding(video, rate), H264Decoding(video)),
        }
        self.now, self.offered, self.order = 0.0, 0, 0
        self.times, self.free, self.work = times or {}, Counter(), []
        self.reports, self.stats, self.maker = [], [], StatsMaker()
        self.pipeline = Pipeline(video, situation, self.ends, self.run, self.emit, seed)
        self.frames = list(open_source(f"synthetic:{video.width}x{video.height}@{video.fps}x300"))

    def run(self, name, call, done):
        self.free[name] = max(self.now, self.free[name]) + self.times.get(name, 0.01)
        self.order += 1
        heapq.heappush(self.work, (self.free[name], self.order, call, done))

    def emit(self, report):
        self.reports.append(report)
        self.stats.append(self.maker.stats(report, self.now))

    def until(self, end):
        """Stats of the instants from now to then."""
        before = len(self.stats)
        for _ in range(100_000):
            capture = self.offered / float(self.video.fps)
            at = min(self.pipeline.next_time(), capture, self.work[0][0] if self.work else math.inf)
            if at > end:
                break
            self.now = max(self.now, at)
            while self.work and self.work[0][0] <= self.now:
                _, _, call, done = heapq.heappop(self.work)
                done(call(), self.now)
            if capture <= self.now:
                self.pipeline.offer(self.frames[self.offered % len(self.frames)], capture, self.now)
                self.offered += 1
            self.pipeline.advance(self.now)
        return self.stats[before:]

    def set(self, **changes):
        self.pipeline.set(replace(self.pipeline.situation, **changes), self.now)

    def kbps(self, seconds):
        return {
            name: sum(side.leg.sent_bytes()[kind] for kind in KINDS) * 8e-3 / seconds
            for name, side in self.pipeline.sides.items()
        }


def states(stats, leg):
    return Counter(s["state"][leg] for s in stats)


@pytest.fixture
def world(fake_codec):
    """world(times, **changes of BASE) -> Virtual."""
    return lambda times=None, seed=1, **changes: Virtual(replace(BASE, **changes), fake_codec, times, seed)


def test_pictures_advance_in_sync_with_the_source(world):
    world = world(delay_ms=0)
    stats = world.until(2.0)
    numbers = [report.instant.number for report in world.reports]
    assert numbers == sorted(set(numbers)) and len(numbers) > 50
    last = world.reports[-1].instant
    assert {view.new.capture for view in last.views.values()} == {last.capture}
    assert all(states(stats[-30:], leg)["whole"] == 30 for leg in (LRAE, H264))
    assert min(stats[-1]["psnr"].values()) > 30
    delays = [s["delay_ms"]["gateway"] for s in stats]
    assert delays[-1] <= min(delays[30], 120), "the gateway adds little delay, and no more with time"
    assert stats[-1]["queue_ms"] < 1 and stats[-1]["dropped_inputs"] == 0


def test_statistics_have_every_key_of_the_contract(world):
    stats = world().until(1.5)[-1]
    assert set(stats) == {
        *("frame", "time", "size", "delay_ms", "queue_ms", "fps", "psnr", "ssim", "kbps", "packets", "state"),
        *("stall_ms", "stalls", "label", "dropped_inputs", "situation"),
    }
    assert set(stats["kbps"][LRAE]) == set(stats["kbps"][H264]) == {*KINDS, "feedback"}
    assert stats["size"] == [48, 32] and 28 <= stats["fps"] <= 32
    assert set(stats["packets"][LRAE]) == {0}


def test_dropping_everything_makes_a_gap_and_both_recover(world):
    world = world()
    world.until(1.5)
    world.pipeline.drop(0.5, world.now)
    gap = world.until(2.0)[6:]
    assert all(states(gap, leg)["frozen"] == len(gap) for leg in (LRAE, H264))
    assert all(set(s["packets"][leg]) == {1} for s in gap for leg in (LRAE, H264))
    assert max(s["stall_ms"][LRAE] for s in gap) > 200 and gap[-1]["stalls"][LRAE] == 1
    world.until(2.5)
    after = world.until(3.0)
    assert all(states(after, leg)["whole"] == len(after) for leg in (LRAE, H264))
    assert all(s["psnr"][LRAE] > 60 and s["stall_ms"][LRAE] == 0 for s in after), "the exact codec is exact again"


def test_losses_delay_and_fec_act_within_a_few_frames(world):
    world = world(delay_ms=0)
    world.until(1.0)
    world.set(loss=1.0)
    assert set(world.until(1.4)[-1]["state"].values()) == {"frozen"}
    world.set(loss=0.0, delay_ms=100)
    late = world.until(2.4)[-1]
    assert set(late["state"].values()) == {"whole"} and late["delay_ms"][LRAE] > 110
    world.set(delay_ms=0, fec="on")
    assert world.until(2.7)[-1]["delay_ms"][LRAE] < 100
    rates = world.until(3.8)[-1]["kbps"]
    assert all(rates[leg]["parity"] > 0.3 * rates[leg]["media"] for leg in (LRAE, H264))
    world.set(fec="off")
    world.until(4.0)
    assert all(not rate["parity"] for rate in world.until(5.2)[-1]["kbps"].values())


def test_while_paused_nothing_is_taken_and_nothing_counts_as_dropped(world):
    world = world()
    world.until(0.6)
    world.set(paused=True)
    world.until(0.9)
    assert not world.until(1.5)
    world.set(paused=False)
    again = world.until(2.0)
    assert again and again[-1]["state"][LRAE] == "whole" and again[-1]["dropped_inputs"] == 0


def test_an_encoder_that_is_too_slow_drops_inputs_and_the_delay_stays_bounded(world):
    world = world({f"{LRAE}-encode": 0.08})
    world.until(2.0)
    stats = world.until(4.0)
    assert stats[-1]["dropped_inputs"] > 40
    assert all(s["queue_ms"] <= 80 for s in stats)
    assert 10 <= stats[-1]["fps"] <= 14
    assert stats[-1]["delay_ms"]["gateway"] <= 250


def test_the_same_seed_gives_the_same_show(world):
    one, two = (world(loss=0.2, burst=3, seed=5) for _ in range(2))
    assert one.until(1.2) == two.until(1.2)


def test_modes_follow_the_situation():
    assert Mode.of(Situation(imputer=False, layout="progressive")) == Mode("zero", True, 2)


def test_losses_show_in_the_packets_and_lrae_goes_on():
    world = Virtual(replace(REAL, loss=0.3))
    stats = world.until(2.5)[20:]
    codes = Counter(code for s in stats for code in s["packets"][LRAE])
    assert codes[0] and codes[2]
    assert Counter(code for s in stats for code in s["packets"][H264])[1]
    world.set(fec="off")
    stats = world.until(3.7)[10:]
    assert Counter(code for s in stats for code in s["packets"][LRAE])[3], "nothing is recovered, the imputer paints"
    moved = states(stats, LRAE)
    part = moved["partial"] + moved["extrapolated"]
    assert part and moved["whole"] + part >= 0.6 * len(stats)
    world.set(imputer=False, layout="progressive", resync=False, fec="off")
    stats = world.until(4.7)[10:]
    codes = Counter(code for s in stats for code in s["packets"][LRAE])
    assert codes[1] and not codes[3], "without the imputer, what is lost is lost"
    assert states(stats, LRAE)["frozen"] <= 0.3 * len(stats)
    world.set(imputer=True, layout="interleaved", resync=True, loss=0.0)
    world.until(5.2)
    assert world.until(5.6)[-1]["psnr"][LRAE] > 24
    assert world.pipeline.sides[LRAE].leg.streams == 1, "no new connection"


def test_both_legs_take_the_bitrate_and_follow_it():
    world = Virtual(replace(REAL, loss=0.05, delay_ms=20))
    world.until(1.5)
    for rate in (200, 100):
        world.set(bitrate_kbps=rate)
        before, start = world.kbps(1), world.now
        world.until(start + 4.0)
        rates = {leg: (sent - before[leg]) / 4 for leg, sent in world.kbps(1).items()}
        assert rates[LRAE] == pytest.approx(rates[H264], rel=0.15)
        assert rates[LRAE] == pytest.approx(rate, rel=0.2)
