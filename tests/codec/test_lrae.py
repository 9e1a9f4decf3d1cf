"""The codec end to end: bytes carry exactly the sender's integers, any subset decodes, bad bytes never break it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lrae.codec import make_decoder, make_encoder
from lrae.codec.entropy import CURVES, best_curve, packet_lattice
from lrae.codec.tiles import regions
from lrae.codec.types import INTERLEAVED, PROGRESSIVE, TILES, EncodeHints, Frame, FrameHeader, VideoFormat
from lrae.errors import ConfigError, ModelError, WireError
from lrae.experiments.metrics import psnr_yuv
from lrae.models.tables import CHANNELS, CLASSES, MAX_LEVEL
from lrae.sender.source import open_source

SIZES = ((64, 64), (65, 67), (90, 160), (176, 144))


def clip(width: int, height: int, count: int) -> list[Frame]:
    source = open_source(f"synthetic:{width}x{height}@30x{count}")
    try:
        return list(source)
    finally:
        source.close()


def pair(width: int, height: int):
    video = VideoFormat(width, height)
    return make_encoder("m", video, "cpu"), make_decoder("m", video, "cpu")


def encode(encoder, frames, q=30, **hints):
    """[(encoded, state before, state after)] of a clip."""
    state, out = encoder.initial_state(), []
    for number, frame in enumerate(frames):
        encoded, after = encoder.encode(state, frame, number, q, EncodeHints(intra=number == 0, **hints))
        out.append((encoded, state, after))
        state = after
    return out


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("packets", [1, 4])
def test_bytes_carry_exactly_the_symbols_classes_and_motion(size, packets):
    encoder, decoder = pair(*size)
    for encoded, _, _ in encode(encoder, clip(*size, 4), packets=packets):
        coded, read = decoder.parse(encoded.header, dict(enumerate(encoded.payloads)))
        assert read == frozenset(range(encoded.header.packets))
        np.testing.assert_array_equal(coded.levels, encoded.meta.levels)
        np.testing.assert_array_equal(coded.classes, encoded.meta.classes)
        if not encoded.header.intra:
            np.testing.assert_array_equal(coded.motion.vectors, encoded.meta.motion.vectors)


@pytest.mark.parametrize("size", SIZES)
def test_decoder_shows_what_the_encoder_predicts_from(size):
    encoder, decoder = pair(*size)
    state = decoder.initial_state()
    for number, (encoded, _, after) in enumerate(encode(encoder, clip(*size, 5))):
        output, state = decoder.decode(state, encoded.header, dict(enumerate(encoded.payloads)))
        assert output.complete and output.frame.size == size
        assert torch.equal(state.packed, after.packed), number


def test_entropy_decoding_is_integers_only_and_needs_no_state():
    encoder, decoder = pair(96, 64)
    encoded = encode(encoder, clip(96, 64, 3))[-1][0]
    original = torch.Tensor.__matmul__
    networks_used = []
    torch.Tensor.__matmul__ = lambda *a: networks_used.append(1) or original(*a)
    try:
        coded, _ = decoder.parse(encoded.header, dict(enumerate(encoded.payloads)))
    finally:
        torch.Tensor.__matmul__ = original
    assert not networks_used
    assert coded.levels.dtype == np.int16 and coded.classes.dtype == np.uint8
    assert coded.motion.vectors.dtype == np.int16


@pytest.mark.parametrize("layout", [INTERLEAVED, PROGRESSIVE])
def test_every_packet_decodes_in_any_order_and_company(layout):
    encoder, decoder = pair(96, 80)
    encoded = encode(encoder, clip(96, 80, 2), packets=4, layout=layout, side_copies=4)[-1][0]
    curve = best_curve(encoded.meta.levels, 4) if layout == PROGRESSIVE else 0
    lattice = packet_lattice(5, 6, 4, layout, curve)
    rng = np.random.default_rng(0)
    for _ in range(12):
        order = rng.permutation(4)[: rng.integers(1, 5)]
        coded, read = decoder.parse(encoded.header, {int(i): encoded.payloads[i] for i in order})
        expected = np.where(np.isin(lattice, order), encoded.meta.levels, 0)
        assert read == frozenset(order.tolist())
        np.testing.assert_array_equal(coded.levels, expected)


def test_tiles_decode_in_company_as_each_does_alone():
    """Packets are decoded in step; the damaged one among them takes nothing from the others."""
    encoder, decoder = pair(216, 280)
    hints = {"packets": 7, "q": 40, "refresh": frozenset({1, 6}), "loss": 0.4, "repair": 20.0}
    encoded = encode(encoder, clip(216, 280, 4), **hints)[-1][0]
    where = regions(*decoder._core.grid, 7)
    alone = [decoder.parse(encoded.header, {i: payload})[0] for i, payload in enumerate(encoded.payloads)]
    damaged = {3: encoded.payloads[3][:9]}
    for chosen in (set(), {0}, {2, 5}, {0, 1, 4, 6}, set(range(7)) - {3}):
        coded, read = decoder.parse(encoded.header, {i: encoded.payloads[i] for i in chosen} | damaged)
        assert read - {3} == chosen
        for i in chosen:
            for scale, part in ((1, "levels"), (1, "classes"), (2, "vectors"), (2, "size")):
                values = [getattr(each.motion if scale == 2 else each, part) for each in (coded, alone[i])]
                grids = [v if scale == 2 else v.reshape(*decoder._core.grid, -1) for v in values]
                np.testing.assert_array_equal(*(where[i].take(g, scale) for g in grids))
        tiles = [tile for i in chosen for tile, _ in alone[i].patches]
        assert [tile for tile, _ in coded.patches if tile in tiles] == tiles
    whole, _ = decoder.parse(encoded.header, dict(enumerate(encoded.payloads)))
    np.testing.assert_array_equal(whole.levels, encoded.meta.levels)
    np.testing.assert_array_equal(whole.motion.vectors, encoded.meta.motion.vectors)


@pytest.mark.parametrize("layout", [TILES, INTERLEAVED, PROGRESSIVE])
def test_state_after_is_the_state_of_a_receiver_that_lost_those_packets(layout):
    encoder, decoder = pair(136, 80)
    state = decoder.initial_state()
    sender = encoder.initial_state()
    rng = np.random.default_rng(1)
    hints = {"layout": layout, "refresh": frozenset({0, 4}), "side_copies": 2, "loss": 0.5, "repair": 20.0}
    for encoded, _, _ in encode(encoder, clip(136, 80, 8), packets=3, **hints):
        assert encoded.header.intra or len(encoded.meta.patches) == 2 * (layout == TILES)
        assert encoded.header.intra or layout != TILES or encoded.meta.spare is not None
        kept = frozenset(int(i) for i in np.flatnonzero(rng.random(3) > 0.4))
        _, state = decoder.decode(state, encoded.header, {i: encoded.payloads[i] for i in kept})
        sender = encoder.state_after(sender, encoded, kept)
        assert torch.equal(sender.packed, state.packed)
        assert torch.equal(sender.memory, state.memory)


def test_nothing_received_still_gives_a_frame():
    encoder, decoder = pair(96, 80)
    frames = clip(96, 80, 4)
    state = decoder.initial_state()
    for encoded, _, _ in encode(encoder, frames):
        output, state = decoder.decode(state, encoded.header, dict(enumerate(encoded.payloads)))
    output, after = decoder.decode(state, None, {}, time=1.5)
    assert output.used == frozenset() and not output.complete
    assert output.frame.time == 1.5 and after.number == state.number + 1
    assert decoder.decode(replace(state, number=(1 << 32) - 1), None, {})[1].number == 0
    assert psnr_yuv(output.frame, frames[-1]) > 15


def test_a_header_without_any_payload_is_a_frame_lost_whole():
    encoder, decoder = pair(96, 80)
    encoded, state, _ = encode(encoder, clip(96, 80, 3))[-1]
    output, after = decoder.decode(state, encoded.header, {})
    assert output.used == frozenset() and not output.complete and after.number == encoded.header.number
    assert np.array_equal(output.frame.y, decoder.decode(state, None, {})[0].frame.y)


def test_where_nothing_arrived_the_imputer_keeps_out():
    """The last motion goes on by itself; where something arrived, the network has its say."""
    frames, video = clip(136, 160, 5), VideoFormat(136, 160)
    encoder, decoder = pair(136, 160)
    plain = make_decoder("m", video, "cpu", "neighbours")
    encoded, state, _ = encode(encoder, frames, packets=2)[-1]
    nothing = [d.decode(state, None, {})[1] for d in (decoder, plain)]
    assert torch.equal(nothing[0].packed, nothing[1].packed)
    half = [d.decode(state, encoded.header, {0: encoded.payloads[0]})[1] for d in (decoder, plain)]
    assert not torch.equal(half[0].packed, half[1].packed)


def test_more_bits_give_a_better_picture():
    encoder, _ = pair(96, 80)
    frames = clip(96, 80, 3)
    results = []
    for q in (5, 25, 45):
        coded = encode(encoder, frames, q)
        quality = np.mean([psnr_yuv(f, encoder.picture(after)) for f, (_, _, after) in zip(frames, coded, strict=True)])
        results.append((sum(len(p) for e, _, _ in coded for p in e.payloads), quality))
    assert results == sorted(results)
    assert results[-1][1] - results[0][1] > 6


def test_mutated_truncated_and_random_packets_never_crash_nor_leave_the_range():
    """20,000 hostile payloads through entropy decoding."""
    encoder, decoder = pair(48, 48)
    coded = [e for e, _, _ in encode(encoder, clip(48, 48, 3), q=12, packets=2, side_copies=2, layout=INTERLEAVED)]
    rng = np.random.default_rng(2)
    refused = 0
    for round_ in range(20_000):
        encoded = coded[round_ % len(coded)]
        data = bytearray(encoded.payloads[round_ % 2])
        kind = round_ % 4
        if kind == 0:
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data = data[: rng.integers(len(data) + 1)]
        elif kind == 2:
            data = bytearray(rng.bytes(int(rng.integers(0, 80))))
        else:
            data[int(rng.integers(len(data))) :] = rng.bytes(8)
        result, read = decoder.parse(encoded.header, {round_ % 2: bytes(data)})
        refused += not read
        if result is not None:
            assert result.classes.max() < CLASSES
            assert np.abs(result.levels.astype(int)).max() <= MAX_LEVEL
    assert 500 < refused < 19_000  # the empty ones at least; most decode to something, as CRC guards them on the wire


def test_mutated_and_random_tiles_never_crash_nor_leave_the_range():
    """6,000 hostile payloads, each beside a sound one."""
    encoder, decoder = pair(128, 80)
    hints = {"q": 12, "packets": 2, "refresh": frozenset({1, 2})}
    coded = [e for e, _, _ in encode(encoder, clip(128, 80, 3), **hints)]
    assert [len(e.meta.patches) for e in coded] == [0, 2, 2]
    rng = np.random.default_rng(2)
    refused = 0
    for round_ in range(6_000):
        encoded = coded[round_ % len(coded)]
        data = bytearray(encoded.payloads[round_ % 2])
        if round_ % 3 == 0:
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        elif round_ % 3 == 1:
            data = bytearray(rng.bytes(int(rng.integers(0, 80))))
        else:
            data[int(rng.integers(len(data))) :] = rng.bytes(8)
        sound = encoded.payloads[1 - round_ % 2]
        result, read = decoder.parse(encoded.header, {round_ % 2: bytes(data), 1 - round_ % 2: sound})
        assert 1 - round_ % 2 in read
        refused += round_ % 2 not in read
        assert result.classes.max() < CLASSES
        assert np.abs(result.levels.astype(int)).max() <= MAX_LEVEL
    assert refused < 5_700


def test_damaged_frames_decode_to_a_picture_of_the_right_size():
    encoder, decoder = pair(64, 64)
    coded = encode(encoder, clip(64, 64, 3), packets=1)
    rng = np.random.default_rng(3)
    state = decoder.initial_state()
    for encoded, _, _ in coded * 5:
        data = bytearray(encoded.payloads[0])
        data[int(rng.integers(len(data)))] ^= 0xFF
        output, state = decoder.decode(state, encoded.header, {0: bytes(data)})
        assert output.frame.size == (64, 64)
        assert torch.isfinite(state.packed).all()


def test_packet_index_beyond_the_frame_is_refused():
    _, decoder = pair(64, 64)
    with pytest.raises(WireError):
        decoder.parse(FrameHeader(0, True, 30, 2), {2: b"\0"})


def test_a_tile_that_exceeds_a_packet_makes_no_more_packets_than_its_bytes_need():
    encoder, _ = pair(320, 256)
    flat, half = np.full((256, 320), 128, np.uint8), np.full((128, 160), 128, np.uint8)
    busy = flat.copy()
    busy[96:144, 96:144] = np.random.default_rng(0).integers(0, 256, (48, 48))
    encoded = encode(encoder, [Frame(flat, half, half), Frame(busy, half, half)], q=40, max_payload=300)[1][0]
    assert encoded.header.layout == INTERLEAVED and max(map(len, encoded.payloads)) <= 300
    assert encoded.header.packets <= 2 * sum(map(len, encoded.payloads)) / 300


def test_a_picture_whose_side_information_exceeds_a_packet_still_fits_the_mtu():
    encoder, decoder = pair(320, 256)
    rng = np.random.default_rng(0)
    noise = [
        Frame(
            rng.integers(108, 148, (256, 320), dtype=np.uint8),
            np.full((128, 160), 128, np.uint8),
            np.full((128, 160), 128, np.uint8),
        )
        for _ in range(2)
    ]
    encoded = encode(encoder, noise, q=12, max_payload=160)[1][0]
    assert max(map(len, encoded.payloads)) <= 160
    coded, read = decoder.parse(encoded.header, dict(enumerate(encoded.payloads)))
    assert len(read) == encoded.header.packets
    np.testing.assert_array_equal(coded.levels, encoded.meta.levels)


def test_a_frame_is_cut_to_fit_the_mtu():
    encoder, _ = pair(176, 144)
    encoded = encode(encoder, clip(176, 144, 1), q=55, max_payload=600)[0][0]
    assert encoded.header.packets > 2
    assert max(map(len, encoded.payloads)) <= 600


def test_interleaved_neighbours_never_share_a_packet():
    for packets in range(2, 17):
        lattice = packet_lattice(8, 8, packets, INTERLEAVED).reshape(8, 8, CHANNELS)
        assert (lattice[:, 1:] != lattice[:, :-1]).all()
        assert (lattice[..., 1:] != lattice[..., :-1]).all()
        if packets > 3:
            assert (lattice[1:] != lattice[:-1]).all()
            assert (lattice[1:, 1:] != lattice[:-1, :-1]).all()


@pytest.mark.parametrize("curve", range(len(CURVES)))
def test_progressive_packets_take_the_channels_in_order(curve):
    lattice = packet_lattice(2, 2, 4, PROGRESSIVE, curve)
    assert (np.diff(lattice.astype(int), axis=1) >= 0).all()
    assert lattice[0, 0] == 0 and lattice[0, -1] == 3


def test_progressive_packets_are_about_even_and_each_adds_quality():
    encoder, decoder = pair(176, 144)
    frame = clip(176, 144, 1)[0]
    encoded, _ = encoder.encode(
        encoder.initial_state(), frame, 0, 30, EncodeHints(True, 4, PROGRESSIVE, max_payload=1 << 20)
    )
    sizes = [len(p) for p in encoded.payloads]
    assert max(sizes) < 0.6 * sum(sizes)
    quality = []
    for count in (1, 2, 3, 4):
        kept = dict(enumerate(encoded.payloads[:count]))
        output, _ = decoder.decode(decoder.initial_state(), encoded.header, kept)
        quality.append(psnr_yuv(frame, output.frame))
    assert quality == sorted(quality) and quality[-1] > quality[0] + 1


def test_unknown_model_and_device_are_one_line_errors(tmp_path):
    with pytest.raises(ModelError, match="unknown model"):
        make_encoder("no-such", VideoFormat(64, 64))
    with pytest.raises(ModelError, match="no such weights"):
        make_encoder(str(tmp_path / "gone.safetensors"), VideoFormat(64, 64))
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not weights at all")
    with pytest.raises(ModelError, match="damaged"):
        make_encoder(str(damaged), VideoFormat(64, 64))
    with pytest.raises(ConfigError, match="device"):
        make_encoder("m", VideoFormat(64, 64), "abacus")


@pytest.mark.parametrize("change", ["threads", "memory"])
def test_peers_that_compute_differently_stay_together_over_300_frames(change):
    """A receiver with other thread counts, memory format and arithmetic (fp32 for bf16) stays within 0.1 dB."""
    width, height = 48, 48
    encoder, decoder = pair(width, height)
    if change == "memory":
        decoder._core.network = decoder._core.network.float().to(memory_format=torch.contiguous_format)
    before = torch.get_num_threads()
    frames = clip(width, height, 300)
    state, receiver, difference = encoder.initial_state(), decoder.initial_state(), []
    try:
        for number, frame in enumerate(frames):
            torch.set_num_threads(1)
            encoded, state = encoder.encode(state, frame, number, 30, EncodeHints(intra=number == 0))
            torch.set_num_threads(3 if change == "threads" else 1)
            output, receiver = decoder.decode(receiver, encoded.header, dict(enumerate(encoded.payloads)))
            difference.append(psnr_yuv(frame, encoder.picture(state)) - psnr_yuv(frame, output.frame))
    finally:
        torch.set_num_threads(before)
    assert abs(np.mean(difference[-50:])) < 0.1


def test_inter_branches_that_add_nothing_may_be_left_out():
    encoder, decoder = pair(96, 80)
    frames = clip(96, 80, 3)
    skipped = encode(encoder, frames)
    for branch in (encoder._core.network.g_c, encoder._core.network.g_s):
        torch.nn.init.zeros_(branch.tail.weight)
        torch.nn.init.zeros_(branch.tail.bias)
    encoder._core.idle = True
    without = encode(encoder, frames)
    encoder._core.idle = False
    run = encode(encoder, frames)
    assert [e.payloads for e, _, _ in without] == [e.payloads for e, _, _ in run]
    assert torch.equal(without[-1][2].packed, run[-1][2].packed)
    if decoder._core.idle:  # the shipped weights
        assert [e.payloads for e, _, _ in skipped] == [e.payloads for e, _, _ in run]
