"""Which payloads share a datagram."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lrae.codec.types import EncodedFrame, FrameHeader
from lrae.codec.wire import Kind, PlainEnvelope, parse_packet
from lrae.codec.wire.data import ENTRY, DataPacket
from lrae.sender.bundling import bundle, entry_bytes
from lrae.sender.congestion import FixedRate
from lrae.sender.encoding import FrameEncoder
from lrae.sender.events import News
from lrae.sender.fec_fixed import FixedFec
from lrae.sender.flow import Flow
from lrae.sender.pacer import Pacer

SIZES = st.lists(st.integers(0, 1400), min_size=1, max_size=64)


def lengths(sizes, bundles):
    return [sum(sizes[index] + ENTRY for index in group) for group in bundles]


@given(SIZES, st.integers(0, 1300), st.integers(1, 64))
def test_every_payload_travels_once_and_the_room_holds(sizes, room, least):
    bundles = bundle(sizes, room, least)
    assert sorted(index for group in bundles for index in group) == list(range(len(sizes)))
    assert len(bundles) >= min(least, len(sizes))
    shared = [group for group in bundles if len(group) > 1]
    assert max(lengths(sizes, shared), default=0) <= room


@given(SIZES, st.integers(0, 1300), st.integers(1, 64))
def test_a_datagram_has_its_longest_payload_last_and_they_go_in_order(sizes, room, least):
    bundles = bundle(sizes, room, least)
    assert all(sizes[group[-1]] == max(sizes[index] for index in group) for group in bundles)
    assert [min(group) for group in bundles] == sorted(min(group) for group in bundles)


@given(SIZES, st.integers(300, 1300))
def test_there_is_no_datagram_too_many(sizes, room):
    """No two of them would fit one where all are fullest: first-fit leaves at most one of them less than half full."""
    small = [size % (room // 2) for size in sizes]
    needed = sum(size + ENTRY for size in small)
    assert len(bundle(small, room)) <= -(-2 * needed // room) + 1


def test_the_uneven_payloads_of_an_intra_frame_make_even_datagrams():
    sizes = np.clip(np.random.default_rng(1).lognormal(5.6, 0.6, 29), 48, 956).astype(int).tolist()
    found = lengths(sizes, bundle(sizes, 1150, 2))
    assert len(found) == -(-sum(size + ENTRY for size in sizes) // 1150)
    assert max(found) < 1.1 * np.mean(found)


def test_neighbours_and_halves_travel_apart_where_it_costs_little():
    bundles = bundle([200] * 12, 700, 2)
    assert len(bundles) == 4
    assert all(abs(a - b) not in (0, 1, 6) for group in bundles for a in group for b in group if a != b)


def test_two_payloads_share_a_datagram_only_if_one_is_enough():
    assert bundle([300, 400], 1150) == ((0, 1),)
    assert bundle([400, 300], 1150) == ((1, 0),)
    assert bundle([300, 400], 1150, 2) == ((0,), (1,))
    assert bundle([300, 900], 1150) == ((0,), (1,))


@given(st.lists(st.integers(0, 500), min_size=1, max_size=64), st.integers(500, 1150), st.integers(1, 3))
def test_the_bytes_reckoned_with_are_those_of_the_packets(sizes, room, least):
    header = FrameHeader(0, True, 30, len(sizes))
    encoded = EncodedFrame(header, tuple(map(bytes, sizes)), 0, bundles=bundle(sizes, room, least))
    made = [
        DataPacket(1, 0, header, number, tuple((index, encoded.payloads[index]) for index in group)).body()
        for number, group in enumerate(encoded.bundles)
    ]
    assert sum(map(len, made)) == sum(sizes) + entry_bytes(encoded.bundles) + 13 * len(made)


def test_a_frame_travels_in_its_bundles_and_parity_is_counted_by_them():
    payloads = tuple(bytes([index]) * (100 + index) for index in range(6))
    header = FrameHeader(0, True, 30, 6)
    encoded = EncodedFrame(header, payloads, 0, bundles=((0, 3), (1, 4), (2, 5)), worth=(1.0,) * 6)
    flow = Flow(1, Pacer(0, 0.0), FixedRate(0), FixedFec("block", 1 / 3), False)
    flow.restart(PlainEnvelope())
    flow.queue_frame(encoded, 0.0, 0.0)
    opened = [PlainEnvelope().unseal(flow.next_datagram(0.0)) for _ in range(4)]
    assert [o.kind for o in opened] == [Kind.DATA] * 3 + [Kind.PARITY]
    packets = [parse_packet(o) for o in opened]
    assert [packet.index for packet in packets[:3]] == [0, 1, 2]
    assert dict(pair for packet in packets[:3] for pair in packet.payloads) == dict(enumerate(payloads))
    assert packets[3].covered == (0b111,)


def bundled(codec, layout=0, packets=None, loss=0.0):
    encoder = FrameEncoder(codec, 30, packets, layout)
    return encoder, encoder.encode(codec.frame, News(loss=loss))


def test_datagrams_of_a_frame_follow_the_loss(fake_codec, small_format, picture):
    codec = fake_codec(small_format)
    codec.frame = picture(0)
    encoder, quiet = bundled(codec)
    assert len(quiet.bundles) < len(bundled(codec, loss=0.2)[1].bundles)
    sizes = [len(payload) for payload in quiet.payloads]
    assert encoder.size_bits(quiet) == 8 * (sum(sizes) + 2 * len(sizes) + 24 * len(quiet.bundles))


def test_other_layouts_and_a_number_of_packets_that_was_asked_for_are_not_bundled(fake_codec, small_format, picture):
    codec = fake_codec(small_format)
    codec.frame = picture(0)
    assert bundled(codec, layout=1)[1].bundles == bundled(codec, layout=2)[1].bundles == ()
    assert bundled(codec, packets=3)[1].bundles == ()
