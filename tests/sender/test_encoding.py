"""sender/encoding: the frame encoder with the learned codec and with the small one."""

from __future__ import annotations

import random

import numpy as np
import pytest

from lrae.codec.types import EncodeHints
from lrae.sender.encoding import (
    COARSEST_BUSY,
    HELD,
    MAX_EXPOSED,
    MISSING_FIRST,
    SILENT,
    FrameEncoder,
    side_copies,
)
from lrae.sender.events import News
from lrae.sender.rate import RateControl
from lrae.sender.reference import ReferenceTracker
from lrae.sender.source import open_source


def test_first_frame_is_intra_and_a_wish_makes_another(fake_codec, small_format, picture):
    encoder = FrameEncoder(fake_codec(small_format), 30)
    kinds = [encoder.encode(picture(n), News(intra_wanted=n == 3)).header for n in range(6)]
    assert [h.intra for h in kinds] == [True, False, False, True, False, False]
    assert [h.number for h in kinds] == list(range(6))
    assert [h.reference for h in kinds if not h.intra] == [0, 1, 3, 4]


def test_spare_motion_is_worth_more_at_a_given_q_than_at_a_given_rate(small_format, picture, fake_codec):
    asked = {}

    class Asked(fake_codec):
        def encode(self, state, frame, number, q, hints=EncodeHints(), reference=0):
            asked.setdefault(id(self), []).append(hints.repair)
            return super().encode(state, frame, number, q, hints, reference)

    for control in (30, RateControl(100_000, 30, 64 * 48)):
        codec = Asked(small_format)
        encoder = FrameEncoder(codec, control)
        for n in range(20):
            encoder.encode(picture(n), News(loss=0.2))
        asked[control if control == 30 else "rate"] = asked.pop(id(codec))
    assert set(asked[30]) == {HELD * repair for repair in asked["rate"]}
    assert asked["rate"][0] == 1 and max(asked["rate"]) == MAX_EXPOSED


def test_a_loss_is_replayed_before_the_next_frame(fake_codec, small_format, picture):
    codec = fake_codec(small_format)
    encoder, state = FrameEncoder(codec, 30), codec.initial_state()
    for n in range(4):
        encoded = encoder.encode(picture(n), News())
        state = codec.state_after(state, encoded, frozenset({0}) if n == 2 else frozenset({0, 1, 2}))
    news = News(confirmed=tuple((n, frozenset({0} if n == 2 else {0, 1, 2})) for n in range(4)))
    encoded = encoder.encode(picture(4), news)
    decoded, _ = codec.decode(state, encoded.header, dict(enumerate(encoded.payloads)))
    assert np.array_equal(decoded.frame.y, picture(4).y)
    assert encoder.replayed == 2


def test_a_replay_waits_until_there_is_time_for_it(fake_codec, small_format, picture):
    class Clock:
        now = 0.0

        def __call__(self):
            self.now += 0.3
            return self.now

    encoder = FrameEncoder(fake_codec(small_format), 30, interval=0.03, clock=Clock())
    for n in range(40):
        lost = ((n - 1, frozenset({0})),) if n else ()
        encoder.encode(picture(n), News(confirmed=lost))
    assert 1 <= encoder.replayed < 20


def test_a_frame_that_does_not_fit_is_encoded_coarser(small_format, picture, fake_codec):
    class Big(fake_codec):
        def encode(self, state, frame, number, q, hints=EncodeHints(), reference=0):
            encoded, after = super().encode(state, frame, number, q, hints, reference)
            object.__setattr__(encoded, "payloads", tuple(bytes(q * 60) for _ in encoded.payloads))
            return encoded, after

    encoded = FrameEncoder(Big(small_format), 40).encode(picture(0), News())
    assert encoded.header.q * 60 <= 1177
    assert encoded.header.q > 10


def test_an_inter_frame_that_does_not_fit_becomes_an_intra_frame(small_format, picture, fake_codec):
    class Wild(fake_codec):
        def encode(self, state, frame, number, q, hints=EncodeHints(), reference=0):
            encoded, after = super().encode(state, frame, number, q, hints, reference)
            size = 10 if hints.intra or number != 2 else 5000
            object.__setattr__(encoded, "payloads", tuple(bytes(size) for _ in encoded.payloads))
            return encoded, after

    encoder = FrameEncoder(Wild(small_format), 40)
    headers = [encoder.encode(picture(n), News()).header for n in range(4)]
    assert [(h.intra, h.q) for h in headers] == [(True, 40), (False, 40), (True, 40), (False, 40)]


def test_a_first_frame_far_over_its_target_is_encoded_again(small_format, picture, fake_codec):
    class Costly(fake_codec):
        def encode(self, state, frame, number, q, hints=EncodeHints(), reference=0):
            encoded, after = super().encode(state, frame, number, q, hints, reference)
            payloads = tuple(bytes(int(40 * 2 ** (q / 12))) for _ in encoded.payloads)
            object.__setattr__(encoded, "payloads", tuple(p[:1177] for p in payloads))
            return encoded, after

    control = RateControl(40_000, 30, 32 * 16)
    encoded = FrameEncoder(Costly(small_format), control).encode(picture(0), News())
    assert encoded.header.q < control.fitting(True) + 12
    assert sum(map(len, encoded.payloads)) * 8 < 1.6 * control.target(True)


@pytest.mark.parametrize(("loss", "copies"), [(0.0, 1), (0.01, 1), (0.05, 2), (0.2, 3), (0.3, 4), (0.99, 64)])
def test_copies_of_the_side_information_follow_the_loss(loss, copies):
    assert side_copies(loss, intra=False) == copies
    assert copies <= side_copies(loss, intra=True) <= 2 * copies


def test_the_learned_codec_replays_to_exactly_the_state_of_its_decoder():
    from lrae.codec.lrae import LraeDecoder, LraeEncoder
    from lrae.training.init import bootstrap

    model = bootstrap()
    source = open_source("synthetic:96x64@30x24")
    encoder, decoder = LraeEncoder(model, source.format), LraeDecoder(model, source.format)
    rng, tracker, state, told = random.Random(1), ReferenceTracker(decoder.initial_state()), decoder.initial_state(), []
    for n, frame in enumerate(source):
        for number, used in told[max(0, n - 4) : n - 3]:
            tracker.confirm(number, used)
        tracker.resync(encoder.state_after)
        hints = EncodeHints(intra=tracker.needs_intra, packets=3, side_copies=2)
        encoded, after = encoder.encode(tracker.state, frame, n, 30, hints, tracker.number)
        tracker.sent(encoded, after)
        here = {i: p for i, p in enumerate(encoded.payloads) if n == 0 or rng.random() > 0.4}
        decoded, state = decoder.decode(state, encoded.header if here else None, here)
        told.append((n, decoded.used))
    for number, used in told:
        tracker.confirm(number, used)
    tracker.resync(encoder.state_after)
    assert any(not used for _, used in told), "a frame was lost whole"
    assert np.array_equal(tracker.state.packed.numpy(), state.packed.numpy())
    assert np.array_equal(tracker.state.luma, state.luma)


def test_frames_of_a_still_scene_have_side_information_however_little_it_says(picture, small_format):
    from lrae.codec.lrae import LraeDecoder, LraeEncoder
    from lrae.training.init import bootstrap

    model = bootstrap()
    encoder, decoder = FrameEncoder(LraeEncoder(model, small_format), 10), LraeDecoder(model, small_format)
    state, sizes = decoder.initial_state(), []
    for _ in range(40):
        encoded = encoder.encode(picture(0), News())
        decoded, state = decoder.decode(state, encoded.header, dict(enumerate(encoded.payloads)))
        sizes.append(sum(map(len, encoded.payloads)))
        assert decoded.complete
    assert min(sizes) < 16


def test_what_cannot_be_encoded_in_time_is_encoded_coarser_until_it_can(small_format, picture, fake_codec):
    """A codec that takes 0.6 milliseconds for every step of q, and 33 milliseconds to do it in."""
    now = [0.0]

    class Slow(fake_codec):
        def encode(self, state, frame, number, q, hints=EncodeHints(), reference=0):
            now[0] += q * 0.6e-3
            return super().encode(state, frame, number, q, hints, reference)

    control = RateControl(100e6, 30, 32 * 16)
    encoder = FrameEncoder(Slow(small_format), control, interval=1 / 30, clock=lambda: now[0])
    qs = [encoder.encode(picture(n), News()).header.q for n in range(300)]
    assert qs[0] > 50, "the rate alone would allow it"
    assert all(COARSEST_BUSY <= q <= 52 for q in qs[150:])


def test_no_frame_is_finer_than_it_may_be_however_much_room_there_is(small_format, picture, fake_codec):
    def finest(**limit) -> int:
        encoder = FrameEncoder(fake_codec(small_format), RateControl(100e6, 30, 32 * 16), **limit)
        return max(encoder.encode(picture(n), News()).header.q for n in range(30))

    assert finest() > 55
    assert finest(finest=50) == 50


def test_where_nothing_is_heard_all_that_the_network_loses_counts_for_spare_motion(small_format, picture, fake_codec):
    losses = []

    class Listening(fake_codec):
        def encode(self, state, frame, number, q, hints, reference=0):
            losses.append(hints.loss)
            return super().encode(state, frame, number, q, hints, reference)

    frames = FrameEncoder(Listening(small_format), 20)
    for number in range(SILENT + 3):
        frames.encode(picture(number), News(loss=0.4))
    assert set(losses[: SILENT - 1]) == {MISSING_FIRST} and set(losses[SILENT:]) == {0.4}
    frames.encode(picture(SILENT + 3), News(((SILENT, frozenset({0, 1})),), loss=0.4))
    assert losses[-1] < 0.4, "what parity leaves lost is known again"
