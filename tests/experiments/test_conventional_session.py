"""Conventional codecs through whole sessions in virtual time: losses are recovered from, every frame has its fate."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest

from lrae.channel.config import LinkConfig
from lrae.channel.link import Link
from lrae.channel.loss import parse_loss
from lrae.codec.conventional import make_decoder, make_encoder
from lrae.codec.types import Frame, VideoFormat
from lrae.codec.wire import Config
from lrae.codec.wire.keys import NoKey
from lrae.experiments.virtual import VirtualSession
from lrae.receiver.session import ReceiverSession
from lrae.sender.congestion import FixedRate
from lrae.sender.conventional import ConventionalFrameEncoder
from lrae.sender.flow import Flow
from lrae.sender.pacer import Pacer
from lrae.sender.session import SenderSession

FPS, COUNT, BITRATE = 25, 100, 300_000
VIDEO = VideoFormat(160, 96, Fraction(FPS))


def clip():
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(VIDEO.width), np.arange(VIDEO.height))
    half = np.full((VIDEO.height // 2, VIDEO.width // 2), 128, np.uint8)
    for i in range(COUNT):
        luma = (110 + 60 * np.sin((x + i) / 9) * np.cos(y / 7)).astype(np.uint8)
        yield Frame(luma + rng.integers(0, 8, x.shape, np.uint8), half, half)


def run(name, loss, seed=1, retransmit=False):
    rng = random.Random(seed)
    flow = Flow(1, Pacer(BITRATE, 0.5), FixedRate(BITRATE), None, retransmit)
    decoder = make_decoder(name, VIDEO)
    encoder = ConventionalFrameEncoder(make_encoder(name, VIDEO, BITRATE), BITRATE)
    up, down = (LinkConfig(loss=parse_loss(text), delay_ms=20) for text in (loss, "none"))
    session = VirtualSession(
        list(clip()),
        FPS,
        SenderSession(Config(1, VIDEO, name, decoder.model_hash), flow, NoKey(), 0.0, rng.randbytes),
        encoder,
        ReceiverSession(0.15, NoKey(), rng.randbytes),
        decoder,
        Link(up, f"{seed}:up"),
        Link(down, f"{seed}:down"),
        encode_time=0.01,
        decode_time=0.005,
    )
    return session.run(), encoder


@pytest.mark.parametrize("name", ["h264", "h265", "vp8", "vp9", "av1"])
def test_a_session_recovers_from_losses_by_keyframes(name):
    outcome, encoder = run(name, "0.05")
    assert outcome.clean
    assert [shown.number for shown in outcome.shown] == sorted(outcome.sent), "every frame sent was shown, in order"
    assert len(outcome.sent) + outcome.skipped == COUNT
    whole = [shown.decoded.complete for shown in outcome.shown]
    intra = [outcome.sent[shown.number][1].header.intra for shown in outcome.shown]
    damaged = whole.index(False)
    assert encoder.keyframes and whole.count(True) > COUNT / 4
    assert any(i > damaged and intra[i] and whole[i] for i in range(len(whole)))


def test_without_loss_everything_is_decoded_and_there_is_one_keyframe():
    outcome, encoder = run("h264", "none")
    assert len(outcome.shown) == COUNT and all(shown.decoded.complete for shown in outcome.shown)
    assert sum(encoded.header.intra for _, encoded, _ in outcome.sent.values()) == 1 and not encoder.keyframes


def test_packets_sent_again_save_keyframes():
    outcome, encoder = run("vp9", "0.05", retransmit=True)
    plain, without = run("vp9", "0.05")
    assert encoder.keyframes < without.keyframes
    assert sum(s.decoded.complete for s in outcome.shown) > sum(s.decoded.complete for s in plain.shown)


def test_the_same_seed_gives_the_same_session_bit_for_bit():
    first, second = (run("vp8", "0.05")[0] for _ in range(2))
    assert [s.time for s in first.shown] == [s.time for s in second.shown]
    assert all(
        np.array_equal(a.decoded.frame.y, b.decoded.frame.y) for a, b in zip(first.shown, second.shown, strict=True)
    )
