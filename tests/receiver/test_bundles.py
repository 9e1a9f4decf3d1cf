"""Packets of several payloads at the receiver."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from lrae.codec.fec import FecEncoder, Plan
from lrae.codec.types import FrameHeader, VideoFormat
from lrae.codec.wire import Config, DataPacket
from lrae.receiver.jitter import JitterBuffer
from lrae.receiver.reception import Reception

HEADER = FrameHeader(0, True, 30, 5)
PAYLOADS = {index: bytes([index]) * 10 for index in range(5)}
BUNDLES = ((0, 2), (1, 4), (3,))


def packet(number, group):
    return DataPacket(1, 0, HEADER, number, tuple((index, PAYLOADS[index]) for index in group))


def test_a_frame_is_complete_when_its_bundles_are():
    buffer = JitterBuffer(0.15)
    for number, group in enumerate(BUNDLES):
        assert buffer.pop(1.0) is None
        assert buffer.add(packet(number, group), 1.0, number) is None
    assert buffer.pop(1.0).payloads == PAYLOADS


def test_a_bundle_that_comes_twice_is_a_duplicate_and_one_with_news_is_not():
    buffer = JitterBuffer(0.15)
    assert buffer.add(packet(0, (0, 2)), 1.0, 0) is None
    assert buffer.add(packet(0, (0, 2)), 1.0, 1) == "duplicate"
    other = DataPacket(1, 0, HEADER, 1, ((2, b"other"), (3, PAYLOADS[3])))
    assert buffer.add(other, 1.0, 2) is None
    ready = buffer.pop(2.0)
    assert ready.payloads == {index: PAYLOADS[index] for index in (0, 2, 3)}


def test_a_late_bundle_mends_with_all_of_its_payloads():
    buffer = JitterBuffer(0.15)
    buffer.add(packet(0, BUNDLES[0]), 1.0, 0)
    buffer.add(packet(2, BUNDLES[2]), 1.0, 2)
    assert set(buffer.pop(1.16).payloads) == {0, 2, 3}
    assert buffer.add(packet(1, BUNDLES[1]), 1.17, 1) == "late"
    (mended,) = buffer.mend(1.2)
    assert mended.payloads == PAYLOADS


def test_parity_brings_a_bundle_back_as_a_whole():
    config = Config(1, VideoFormat(64, 48, Fraction(30)), "m", "0" * 16)
    counts = Counter()
    reception = Reception(config, 0.15, counts, 0.0)
    bodies = [packet(number, group).body() for number, group in enumerate(BUNDLES)]
    (parity,) = FecEncoder().add(0, bodies, Plan("block", 1))
    for number in (0, 2):
        reception.arrived(number, 1.0)
        reception.on_data(packet(number, BUNDLES[number]), bodies[number], number, 1.0)
    reception.on_parity(parity, 1.0)
    assert reception.recovered == 1 and not counts
    assert reception.pop(1.0).payloads == PAYLOADS
