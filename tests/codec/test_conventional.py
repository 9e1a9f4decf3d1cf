"""Conventional codecs: what is decoded is what was encoded, losses never raise, mistakes are one clear line."""

from __future__ import annotations

import struct
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from lrae.codec.avframe import from_av
from lrae.codec.conventional import NAMES, make_decoder, make_encoder, settings
from lrae.codec.conventional.packets import pack
from lrae.codec.types import Frame, FrameHeader, VideoFormat
from lrae.errors import ConfigError

VIDEO = VideoFormat(160, 96, Fraction(25))
ROOM, BITRATE, COUNT = 300, 300_000, 12


def available(name):
    try:
        settings.find(name)
    except ConfigError as error:
        return pytest.param(name, marks=pytest.mark.skip(reason=str(error)))
    return name


EVERY = [available(name) for name in NAMES]
FREEZING = [available(name) for name in NAMES if not settings.CODECS[name].conceals]


def clip(count=COUNT, video=VIDEO, seed=0):
    """A texture that moves, with noise on it: enough for a few packets per frame."""
    rng = np.random.default_rng(seed)
    blocks = (video.height + count) // 8 + 1, (video.width + 2 * count) // 8 + 1
    coarse = rng.integers(40, 216, blocks).astype(np.uint8)
    texture = np.kron(coarse, np.ones((8, 8), np.uint8))
    height, width = video.height, video.width
    half = (height + 1) // 2, (width + 1) // 2
    for i in range(count):
        noise = rng.integers(0, 24, (height, width)).astype(np.uint8)
        luma = texture[i : i + height, 2 * i : 2 * i + width] + noise
        yield Frame(luma, luma[::2, ::2][: half[0], : half[1]] // 2 + 64, np.full(half, 120, np.uint8), i / 25)


def encoded(name, keyframes=(0,), video=VIDEO, count=COUNT):
    """[(header, payloads, coded)] of the clip."""
    encoder = make_encoder(name, video, BITRATE, ROOM)
    found = []
    for i, frame in enumerate(clip(count, video)):
        coded = encoder.encode(frame, keyframe=i in keyframes)
        payloads = pack(coded.units, ROOM)
        reference = 0 if coded.keyframe else i - 1
        found.append((FrameHeader(i, coded.keyframe, 0, len(payloads), reference=reference), payloads, coded))
    return found


def play(decoder, stream, lost=lambda number, index: False):
    """The frames decoded of a stream without the packets that are lost."""
    state, shown = decoder.initial_state(), []
    for header, payloads, _ in stream:
        got = {i: payload for i, payload in enumerate(payloads) if not lost(header.number, i)}
        decoded, state = decoder.decode(state, header if got else None, got, header.number / 25)
        assert decoded.frame.size == (decoder.format.width, decoder.format.height)
        shown.append(decoded)
    return shown


def equal(a, b):
    return all(np.array_equal(p, q) for p, q in ((a.y, b.y), (a.u, b.u), (a.v, b.v)))


@pytest.mark.parametrize("name", EVERY)
def test_packets_without_loss_decode_to_what_the_encoders_own_bytes_decode_to(name):
    stream = encoded(name)
    context = av.CodecContext.create(settings.CODECS[name].decoder, "r")
    context.thread_count = 1
    direct = []
    for header, payloads, coded in stream:
        assert max(map(len, payloads)) <= ROOM
        assert header.intra == (header.number == 0)
        pictures = context.decode(av.Packet(coded.data))
        assert len(pictures) == 1, "a picture at once for every frame"
        direct.append(from_av(pictures[0]))
    assert max(header.packets for header, _, _ in stream) > 1
    shown_all = play(make_decoder(name, VIDEO), stream)
    for shown, picture, (header, payloads, _) in zip(shown_all, direct, stream, strict=True):
        assert shown.complete and shown.used == frozenset(range(len(payloads)))
        assert equal(shown.frame, picture) and shown.frame.time == header.number / 25


def test_h264_decodes_to_exactly_what_the_encoder_reconstructed(tmp_path, monkeypatch):
    codec, file = settings.find("h264"), tmp_path / "reconstructed.yuv"

    def options(*arguments):
        found = codec.options(*arguments)
        return found | {"x264-params": f"{found['x264-params']}:dump-yuv={file}"}

    monkeypatch.setitem(settings.CODECS, "h264", replace(codec, options=options))
    shown = play(make_decoder("h264", VIDEO), encoded("h264"))
    dumped = np.fromfile(file, np.uint8).reshape(COUNT, -1)
    for decoded, planes in zip(shown, dumped, strict=True):
        frame = decoded.frame
        assert np.array_equal(np.concatenate([frame.y.ravel(), frame.u.ravel(), frame.v.ravel()]), planes)


def test_h265_decodes_to_exactly_what_the_encoder_reconstructed(monkeypatch):
    """x265 writes the MD5 of its reconstruction into the stream, and libav's decoder refuses a frame that differs."""
    codec = settings.find("h265")

    def options(*arguments):
        found = codec.options(*arguments)
        return found | {"x265-params": f"{found['x265-params']}:hash=1"}

    checked = replace(codec, options=options, decoding={"err_detect": "crccheck+explode"})
    monkeypatch.setitem(settings.CODECS, "h265", checked)
    stream = encoded("h265")
    assert all(shown.complete for shown in play(make_decoder("h265", VIDEO), stream))
    header, _, coded = stream[1]
    seal = coded.data.rindex(b"\x50\x01\x84\x31\x00")  # suffix SEI, picture hash of 49 bytes, three MD5
    forged = bytearray(coded.data)
    forged[seal + 8] ^= 1
    stream[1] = header, pack([bytes(forged)], ROOM), coded
    shown = play(make_decoder("h265", VIDEO), stream[:2])
    assert shown[0].complete and not shown[1].complete and not shown[1].used


@pytest.mark.parametrize("name", [available("vp8"), available("vp9")])
def test_vpx_decodes_to_the_error_that_the_encoder_measured_on_its_reconstruction(name, monkeypatch):
    """libvpx tells the squared error of each plane of its reconstruction: it must be that of what we decode."""
    codec = settings.find(name)
    measured = []
    monkeypatch.setitem(
        settings.CODECS, name, replace(codec, options=lambda *a: codec.options(*a) | {"flags": "+psnr"})
    )

    class Watched:
        def __init__(self, context):
            self._context = context

        def encode(self, picture):
            packets = self._context.encode(picture)
            stats = bytes(packets[0].get_sidedata("quality_stats"))
            measured.append(struct.unpack_from("<QQQ", stats, 8))  # quality, type, planes, reserved, then the errors
            return packets

    encoder = make_encoder(name, VIDEO, BITRATE, ROOM)
    encoder._context = Watched(encoder._context)
    decoder = make_decoder(name, VIDEO)
    state = decoder.initial_state()
    for i, frame in enumerate(clip()):
        coded = encoder.encode(frame)
        payloads = pack(coded.units, ROOM)
        header = FrameHeader(i, coded.keyframe, 0, len(payloads))
        decoded, state = decoder.decode(state, header, dict(enumerate(payloads)))
        pairs = ((frame.y, decoded.frame.y), (frame.u, decoded.frame.u), (frame.v, decoded.frame.v))
        assert measured[i] == tuple(int(((a.astype(int) - b) ** 2).sum()) for a, b in pairs)


@pytest.mark.parametrize("name", EVERY)
def test_a_keyframe_comes_when_it_is_asked_for_and_needs_nothing_before_it(name):
    stream = encoded(name, keyframes=(7,))
    assert [header.number for header, _, _ in stream if header.intra] == [0, 7]
    whole = play(make_decoder(name, VIDEO), stream)
    late = play(make_decoder(name, VIDEO), stream[7:])
    assert all(equal(a.frame, b.frame) for a, b in zip(whole[7:], late, strict=True))


@pytest.mark.parametrize("name", EVERY)
def test_any_one_packet_may_be_lost(name):
    stream = encoded(name, keyframes=(6,), count=9)
    whole = play(make_decoder(name, VIDEO), stream)
    for number in (0, 1, 4, 6):
        for index in range(stream[number][0].packets):
            shown = play(make_decoder(name, VIDEO), stream, lambda n, i, lost=(number, index): (n, i) == lost)
            assert not shown[number].complete and index not in shown[number].used
            assert all(equal(a.frame, b.frame) for a, b in zip(shown[:number], whole[:number], strict=True))
            if number < 6:
                assert all(equal(a.frame, b.frame) for a, b in zip(shown[6:], whole[6:], strict=True))


@pytest.mark.parametrize("name", EVERY)
def test_frames_and_streams_may_be_lost_whole(name):
    stream = encoded(name, keyframes=(6,))
    grey = play(make_decoder(name, VIDEO), stream, lambda number, index: True)
    assert all(not shown.used and not shown.complete and (shown.frame.y == 128).all() for shown in grey)
    whole = play(make_decoder(name, VIDEO), stream)
    gap = play(make_decoder(name, VIDEO), stream, lambda number, index: number in (2, 3))
    assert equal(gap[2].frame, whole[1].frame) and equal(gap[3].frame, whole[1].frame)
    assert not gap[2].used and all(equal(a.frame, b.frame) for a, b in zip(gap[6:], whole[6:], strict=True))


@pytest.mark.parametrize("name", FREEZING)
def test_without_concealment_the_picture_freezes_until_a_keyframe(name):
    stream = encoded(name, keyframes=(6,))
    whole = play(make_decoder(name, VIDEO), stream)
    shown = play(make_decoder(name, VIDEO), stream, lambda number, index: (number, index) == (3, 0))
    for number in (3, 4, 5):
        assert shown[number].used == frozenset(range(number == 3, stream[number][0].packets))
        assert not shown[number].complete
        assert equal(shown[number].frame, whole[2].frame)
    assert shown[6].complete and equal(shown[6].frame, whole[6].frame)


def test_h264_makes_a_picture_of_the_slices_that_arrived():
    stream = encoded("h264")
    whole = play(make_decoder("h264", VIDEO), stream)
    shown = play(make_decoder("h264", VIDEO), stream, lambda number, index: (number, index) == (3, 1))
    assert shown[3].used == frozenset(range(stream[3][0].packets)) - {1}
    assert not equal(shown[3].frame, whole[2].frame) and not equal(shown[3].frame, whole[3].frame)
    error = np.abs(shown[3].frame.y.astype(int) - whole[3].frame.y).mean()
    assert error < np.abs(whole[2].frame.y.astype(int) - whole[3].frame.y).mean()
    assert shown[4].complete and not equal(shown[4].frame, whole[4].frame), "later frames inherit the damage"


@pytest.mark.parametrize("name", EVERY)
def test_garbage_never_raises_and_a_keyframe_makes_it_good(name):
    rng = np.random.default_rng(1)
    stream, decoder = encoded(name, keyframes=(0, 9)), make_decoder(name, VIDEO)
    state = decoder.initial_state()
    for header, payloads, _ in stream:
        got = dict(enumerate(payloads))
        for index in got:
            kind = rng.integers(4) if 0 < header.number < 9 else 3
            if kind == 0:
                got[index] = rng.bytes(rng.integers(0, ROOM))
            elif kind == 1:
                damaged = bytearray(got[index])
                for at in rng.integers(0, len(damaged), 3):
                    damaged[at] = rng.integers(256)
                got[index] = bytes(damaged)
            elif kind == 2:
                got[index] = got[index][: rng.integers(len(got[index]))]
        decoded, state = decoder.decode(state, header, got)
        assert decoded.frame.size == (VIDEO.width, VIDEO.height)
        assert decoded.used <= frozenset(got)
    assert decoded.complete


@pytest.mark.parametrize("name", EVERY)
def test_odd_sizes_come_back_as_they_were(name):
    video = VideoFormat(161, 97, Fraction(25))
    stream = encoded(name, video=video, count=4)
    for shown, frame in zip(play(make_decoder(name, video), stream), clip(4, video), strict=True):
        assert shown.complete and shown.frame.u.shape == (49, 81)
        assert np.abs(shown.frame.y.astype(int) - frame.y).mean() < 20


def test_a_decoder_goes_forward_only_until_it_begins_anew():
    decoder, stream = make_decoder("h264", VIDEO), encoded("h264", count=3)
    first = play(decoder, stream)
    header, payloads, _ = stream[0]
    with pytest.raises(RuntimeError, match="forward only"):
        decoder.decode(1, header, dict(enumerate(payloads)))
    assert all(equal(a.frame, b.frame) for a, b in zip(first, play(decoder, stream), strict=True))


@pytest.mark.parametrize("name", EVERY)
def test_the_same_frames_give_the_same_bytes(name):
    first, second = ([coded.data for _, _, coded in encoded(name, keyframes=(6,))] for _ in range(2))
    assert first == second


def kbps(name, first, second):
    """kbit/s over the second halves of two spells of 100 frames at the rates `first` and `second`."""
    encoder = make_encoder(name, VIDEO, first * 1e3)
    sizes = []
    for i, frame in enumerate(clip(200)):
        if i == 100:
            encoder.bitrate = second * 1e3
        sizes.append(len(encoder.encode(frame).data))
    return [sum(sizes[a : a + 50]) * 8e-3 / 2 for a in (50, 150)], encoder.reopened


@pytest.mark.parametrize("name", EVERY)
def test_the_rate_is_kept_and_may_change(name):
    rates, reopened = kbps(name, 200, 100)
    assert rates == [pytest.approx(200, rel=0.12), pytest.approx(100, rel=0.15)]
    assert reopened == (settings.CODECS[name].rate_change is settings.RateChange.REOPEN)


@pytest.mark.parametrize("name", [available("h264"), available("vp8"), available("vp9")])
def test_the_rate_may_rise_while_the_encoder_runs(name):
    rates, reopened = kbps(name, 100, 200)
    assert rates[1] == pytest.approx(200, rel=0.15) and not reopened


def test_intra_refresh_mends_h264_without_a_keyframe():
    encoder, decoder = make_encoder("h264", VIDEO, BITRATE, ROOM, refresh=10), make_decoder("h264", VIDEO)
    state, mended = 0, make_decoder("h264", VIDEO)
    for i, frame in enumerate(clip(40)):
        coded = encoder.encode(frame)
        assert coded.keyframe == (i == 0)
        payloads = pack(coded.units, ROOM)
        header = FrameHeader(i, coded.keyframe, 0, len(payloads))
        good, _ = decoder.decode(state, header, dict(enumerate(payloads)))
        bad, state = mended.decode(state, header, {} if i == 12 else dict(enumerate(payloads)))
        if i == 13:
            assert not equal(good.frame, bad.frame)
    assert np.abs(good.frame.y.astype(int) - bad.frame.y).mean() < 1


@pytest.mark.parametrize("name", [available("av1")])
def test_a_size_that_the_encoder_refuses_is_one_clear_line(name):
    with pytest.raises(ConfigError, match=r"^av1: libsvtav1 cannot encode 16x16: Invalid argument$"):
        make_encoder(name, VideoFormat(16, 16), BITRATE)


def test_unknown_and_missing_codecs_and_impossible_wishes_are_one_clear_line(monkeypatch):
    with pytest.raises(ConfigError, match=r"unknown codec 'mpeg2': choose from h264, h264-ir, h265, vp8, vp9, av1"):
        make_encoder("mpeg2", VIDEO, BITRATE)
    with pytest.raises(ConfigError, match="unknown codec"):
        make_decoder("mpeg2", VIDEO)
    with pytest.raises(ConfigError, match="intra refresh"):
        make_encoder("vp8", VIDEO, BITRATE, refresh=30)
    monkeypatch.setitem(settings.CODECS, "av1", replace(settings.CODECS["av1"], encoder="libnothing"))
    with pytest.raises(ConfigError, match="av1: this build of libav has no encoder libnothing"):
        make_encoder("av1", VIDEO, BITRATE)
    monkeypatch.setitem(settings.CODECS, "vp8", replace(settings.CODECS["vp8"], decoder="libnothing"))
    with pytest.raises(ConfigError, match="vp8: this build of libav has no decoder libnothing"):
        make_decoder("vp8", VIDEO)
