"""A conventional encoder in a session: its rate, its keyframes, its frame numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lrae.codec.conventional import make_decoder, make_encoder
from lrae.codec.types import MAX_PACKETS, Frame, VideoFormat
from lrae.codec.wire import DATA_OVERHEAD, DataPacket
from lrae.sender.conventional import KEYFRAME_EVERY, ConventionalFrameEncoder
from lrae.sender.events import News

FPS = 25
VIDEO = VideoFormat(160, 96, Fraction(FPS))


def frame(number, noise=24):
    """A picture that moves by a pixel a frame, with noise."""
    rng = np.random.default_rng(number)
    x, y = np.meshgrid(np.arange(VIDEO.width) + number, np.arange(VIDEO.height))
    luma = (110 + 60 * np.sin(x / 9) * np.cos(y / 7)).astype(np.uint8) + rng.integers(0, noise, x.shape, np.uint8)
    half = np.full((VIDEO.height // 2, VIDEO.width // 2), 128, np.uint8)
    return Frame(luma, half, half, number / FPS)


def frame_encoder(name="h264", bitrate=200_000, refresh=None, room=300, **options):
    encoder = make_encoder(name, VIDEO, bitrate, room, refresh)
    return ConventionalFrameEncoder(encoder, bitrate, room=room, **options)


def lost(number):
    return News(confirmed=((number, frozenset()),))


def whole(encoded):
    return News(confirmed=((encoded.header.number, encoded.sent),))


@pytest.mark.parametrize("name", ["h264", "h265", "vp8", "vp9", "av1"])
def test_the_rate_is_kept_with_all_packet_headers(name):
    encoder = frame_encoder(name, room=1000)
    bits = [encoder.size_bits(encoded) for i in range(6 * FPS) if (encoded := encoder.encode(frame(i), News()))]
    assert sum(bits) / 6 == pytest.approx(200_000, rel=0.08)
    assert encoder.skipped <= 3


@pytest.mark.parametrize("name", ["h264", "h265", "vp8", "vp9", "av1"])
def test_the_rate_follows_the_target_that_the_session_names(name):
    encoder = frame_encoder(name, room=1000)
    sizes = []
    for i in range(8 * FPS):
        encoded = encoder.encode(frame(i), News(target=200_000 if i < 2 * FPS else 100_000))
        sizes.append(encoder.size_bits(encoded) if encoded else 0)
    assert sum(sizes[4 * FPS :]) / 4 == pytest.approx(100_000, rel=0.15)


def test_frames_are_numbered_and_refer_to_the_one_before_them():
    encoder = frame_encoder(first_number=0xFFFFFFFF)
    first, second, third = (encoder.encode(frame(i), News()) for i in range(3))
    assert first.header.intra and [e.header.number for e in (first, second, third)] == [0xFFFFFFFF, 0, 1]
    assert second.header.reference == 0xFFFFFFFF and third.header.reference == 0
    for encoded in (first, second, third):
        for i, payload in enumerate(encoded.payloads):
            packet = DataPacket.single(1, 0, encoded.header, i, payload)
            assert DataPacket.parse_body(1, packet.body()) == packet
    assert encoder.size_bits(second) == 8 * sum(len(payload) + DATA_OVERHEAD for payload in second.payloads)


def test_a_frame_that_was_not_decoded_whole_brings_a_keyframe_once():
    encoder = frame_encoder()
    sent = [encoder.encode(frame(i), News()) for i in range(15)]
    assert [e.header.number for e in sent if e.header.intra] == [0]
    again = encoder.encode(frame(15), lost(12))
    assert again.header.intra and encoder.keyframes == 1
    later = [encoder.encode(frame(16 + i), lost(13 + i % 2)) for i in range(15)]
    assert not any(e.header.intra for e in later), "what was lost before the keyframe does not matter any more"


def test_part_of_a_frame_counts_as_damage_and_a_whole_one_does_not():
    encoder = frame_encoder(bitrate=400_000)
    sent = [encoder.encode(frame(i), News()) for i in range(15)]
    assert len(sent[12].sent) > 1
    assert not encoder.encode(frame(15), whole(sent[11])).header.intra
    part = News(confirmed=((12, sent[12].sent - {0}),))
    assert encoder.encode(frame(16), part).header.intra


def test_keyframes_keep_their_distance_and_the_damage_is_not_forgotten():
    encoder = frame_encoder()
    for i in range(15):
        encoder.encode(frame(i), News())
    intra = [encoder.encode(frame(i), lost(i - 1)).header.intra for i in range(15, 45)]
    at = [i for i, is_intra in enumerate(intra) if is_intra]
    assert at[0] == 0 and set(np.diff(at)) == {np.ceil(KEYFRAME_EVERY * FPS)}


def test_a_receiver_without_a_state_gets_a_keyframe_at_once():
    encoder = frame_encoder()
    assert [encoder.encode(frame(i), News(intra_wanted=i == 2)).header.intra for i in range(4)] == [1, 0, 1, 0]


def test_with_intra_refresh_only_the_loss_of_a_keyframe_brings_another():
    encoder = frame_encoder(refresh=10)
    intra = [encoder.encode(frame(i), lost(i - 1) if i > 2 else News()).header.intra for i in range(40)]
    assert sum(intra) == 1
    encoder = frame_encoder(refresh=10)
    intra = [encoder.encode(frame(i), lost(0) if i == 9 else News()).header.intra for i in range(12)]
    assert [i for i, is_intra in enumerate(intra) if is_intra] == [0, 9]


def test_frames_are_skipped_while_packets_wait_too_long_but_keyframes_are_not():
    encoder = frame_encoder()
    encoder.encode(frame(0), News())
    assert encoder.encode(frame(1), News(queue=0.3)) is None and encoder.skipped == 1
    assert encoder.encode(frame(2), News(queue=0.3, intra_wanted=True)).header.intra
    assert encoder.encode(frame(3), News()).header.reference == 1, "a skipped frame takes no number"


def test_a_frame_of_too_many_packets_is_not_sent_and_nothing_is_predicted_from_it():
    encoder = frame_encoder(bitrate=20_000_000, room=80)
    assert encoder.encode(frame(0, noise=100), News()) is None
    decoder, state, shown = make_decoder("h264", VIDEO), 0, 0
    for i in range(1, 60):
        encoded = encoder.encode(frame(i, noise=2), News(target=100_000))
        if encoded is None:
            continue
        assert len(encoded.payloads) <= MAX_PACKETS and (shown or encoded.header.intra)
        decoded, state = decoder.decode(state, encoded.header, dict(enumerate(encoded.payloads)))
        assert decoded.complete
        shown += 1
    assert shown and encoder.skipped
