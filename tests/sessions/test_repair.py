"""Parity, retransmission and packets that are missing on purpose make frames whole."""

from __future__ import annotations

from lrae.channel.config import LinkConfig
from lrae.codec.types import PROGRESSIVE
from lrae.sender.encoding import FrameEncoder
from lrae.sender.events import Ended
from lrae.sender.fec_fixed import FixedFec
from lrae.sender.rate import RateControl

FPS = 30


def test_block_parity_makes_frames_whole_that_loss_has_damaged(world, lossy):
    whole = {}
    for name, policy in (("none", None), ("block", FixedFec("block", 1.0))):
        w = world(up=lossy(0.15), frames=120, policy=policy)
        w.run(7)
        assert w.ended == Ended(True)
        whole[name] = sum(d.complete for _, d in w.shown)
    assert whole["block"] > 110 > whole["none"] + 20
    assert w.receiver.stats.recovered > 20


def test_streaming_parity_repairs_bursts_in_time(world, lossy):
    w = world(up=lossy(0.15), frames=120, policy=FixedFec("streaming", 0.5, 3))
    w.run(7)
    assert w.ended == Ended(True)
    assert sum(d.complete for _, d in w.shown) > 100
    assert max(w.delays) <= 0.152


def test_what_is_lost_is_sent_again_where_the_round_trip_allows_it(world, lossy):
    near = world(up=lossy(0.15, delay=10.0), down=LinkConfig(delay_ms=10.0), frames=120, retransmit=True)
    near.run(7)
    assert near.sender.flow.sent["retransmit", "packets"] > 10
    assert sum(d.complete for _, d in near.shown) > 105
    assert max(near.delays) <= 0.152
    far = world(up=lossy(0.15, delay=100.0), down=LinkConfig(delay_ms=100.0), frames=120, retransmit=True)
    far.run(8)
    assert far.sender.flow.sent["retransmit", "packets"] == 0


def test_a_frame_whose_tail_was_cut_off_is_whole_when_the_rest_is_here(world):
    w = world(frames=60)
    rate = RateControl(30 * 8 * 650, FPS, 32 * 16)
    w.encoder = FrameEncoder(w.codec(w.video), rate, layout=PROGRESSIVE)
    w.run(4)
    assert w.ended == Ended(True)
    assert w.encoder.cut > 30
    assert len(w.shown) == 60 and max(w.delays) < 0.06, "nothing is waited for that was not sent"
    assert w.encoder.replayed == 0
    assert {len(d.used) for r, d in w.shown if not r.header.intra} <= {1, 2, 3}
