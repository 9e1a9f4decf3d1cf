"""receiver/jitter: frames come out in order, as soon as they can, at their deadline at the latest."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.codec.types import FrameHeader
from lrae.codec.wire import DataPacket
from lrae.codec.wire.serial import wrap
from lrae.receiver.jitter import FLOWING, MAX_GAP, REORDER_FLOOR, JitterBuffer, MinimumOffset

K, INTERVAL = 2, 0.04


def packet(number, index, intra=None, k=K, first=0):
    intra = number == first if intra is None else intra
    header = FrameHeader(wrap(number), intra, 30, k, 0, 0 if intra else wrap(number - 1))
    capture = wrap(round((number - first) * INTERVAL * 1e6))
    return DataPacket(1, wrap(number * k + index), capture, header, index, bytes([index]))


def drain(buffer, now):
    out = []
    while frame := buffer.pop(now):
        out.append((frame.number, tuple(sorted(frame.payloads))))
    return out


def test_a_complete_frame_comes_out_at_once():
    buffer = JitterBuffer(0.15)
    buffer.add(packet(0, 0), 1.0)
    assert drain(buffer, 1.0) == []
    buffer.add(packet(0, 1), 1.001)
    assert drain(buffer, 1.001) == [(0, (0, 1))]


def test_an_incomplete_frame_with_nothing_behind_it_comes_out_at_its_deadline():
    buffer = JitterBuffer(0.15)
    buffer.add(packet(0, 0), 1.0)
    assert buffer.due() == pytest.approx(1.15)
    assert drain(buffer, 1.149) == []
    assert drain(buffer, 1.1501) == [(0, (0,))]


def test_a_frame_whose_missing_packets_were_overtaken_does_not_wait_for_its_deadline():
    buffer = JitterBuffer(0.15)
    buffer.add(packet(0, 0), 1.0)
    buffer.add(packet(1, 0), 1.04)
    buffer.add(packet(1, 1), 1.04)
    assert buffer.due() == pytest.approx(1.04 + REORDER_FLOOR)
    assert drain(buffer, 1.04 + REORDER_FLOOR) == [(0, (0,)), (1, (0, 1))]


def test_a_frame_of_which_nothing_arrived_comes_out_empty_between_its_neighbours_in_time():
    buffer = JitterBuffer(0.15)
    for index in range(K):
        buffer.add(packet(0, index), 1.0)
        buffer.add(packet(2, index), 1.08)
    frames = [buffer.pop(2.0) for _ in range(3)]
    assert [(f.number, f.header is None) for f in frames] == [(0, False), (1, True), (2, False)]
    assert [f.capture for f in frames] == pytest.approx([0.0, INTERVAL, 2 * INTERVAL])


def test_late_packets_lengthen_the_wait_and_time_shortens_it_again():
    buffer = JitterBuffer(0.15)
    buffer.add(packet(0, 0), 1.0)
    buffer.add(packet(1, 0), 1.04)
    buffer.add(packet(1, 1), 1.04)
    assert len(drain(buffer, 1.06)) == 2
    assert buffer.add(packet(0, 1), 1.10) == "late"
    assert buffer.reorder == pytest.approx(1.5 * 0.06)
    for number in range(2, 1000):
        for index in range(K):
            buffer.add(packet(number, index), 1.0 + number * INTERVAL)
        drain(buffer, 1.0 + number * INTERVAL)
    assert buffer.reorder == REORDER_FLOOR


def test_duplicates_late_and_contradicting_packets_are_told_apart():
    buffer = JitterBuffer(0.15)
    assert buffer.add(packet(5, 0, intra=False), 1.0) == "waiting-for-intra"
    assert buffer.add(packet(6, 0, intra=True), 1.0) is None
    assert buffer.add(packet(6, 0, intra=True), 1.0) == "duplicate"
    assert buffer.add(packet(6, 1, intra=False), 1.0) == "contradiction"
    assert buffer.add(packet(6, 2, intra=True, k=3), 1.0) == "contradiction"
    assert buffer.add(packet(5, 0, intra=False), 1.0) == "late"
    drain(buffer, 2.0)
    assert buffer.add(packet(6, 0, intra=True), 2.0) == "duplicate"
    assert buffer.add(packet(6, 1, intra=True), 2.0) == "late"
    assert buffer.add(packet(10**6, 0, intra=True), 2.0) == "contradiction"


def test_a_hole_too_wide_to_extrapolate_over_wants_an_intra_frame():
    buffer = JitterBuffer(0.15)
    for index in range(K):
        buffer.add(packet(0, index), 1.0)
    drain(buffer, 1.0)
    assert buffer.add(packet(1 + MAX_GAP, 0), 2.5) == "waiting-for-intra"
    assert buffer.wants_intra
    assert buffer.add(packet(50, 0, intra=True), 3.0) is None
    assert buffer.add(packet(50, 1, intra=True), 3.0) is None
    assert drain(buffer, 3.0) == [(50, (0, 1))]


def test_the_end_flushes_what_never_arrived_and_then_it_is_finished():
    buffer = JitterBuffer(0.15)
    for index in range(K):
        buffer.add(packet(0, index), 1.0)
    drain(buffer, 1.0)
    buffer.finish(3, 1.1)
    assert not buffer.finished
    assert drain(buffer, 1.2) == [(1, ()), (2, ())]
    assert buffer.finished


def test_not_in_real_time_the_deadline_counts_from_the_first_packet():
    buffer = JitterBuffer(0.15, realtime=False)
    for number, now in ((0, 1.0), (1, 3.0), (2, 9.0)):
        buffer.add(packet(number, 0), now)
        assert drain(buffer, now + 0.14) == []
        assert drain(buffer, now + 0.151) == [(number, (0,))]


def test_the_least_offset_forgets_what_is_older_than_ten_seconds():
    least = MinimumOffset()
    least.add(-5.0, 0.0)
    for second in range(1, 11):
        least.add(3.0, float(second))
    assert least.value == 3.0


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 10**6), st.sampled_from([0, 2**32 - 10]))
def test_whatever_is_lost_or_reordered_numbers_rise_by_one_and_no_frame_waits_for_ever(loss, seed, first):
    rng = random.Random(seed)
    arrivals = []
    for number in range(first, first + 25):
        for index in range(K):
            if number == first or rng.random() < 0.7:
                at = 1.0 + (number - first) * INTERVAL + (0 if number == first else rng.random() * 0.1)
                arrivals.append((at, packet(number, index, first=first)))
    buffer, out, clock = JitterBuffer(0.15), [], 1.0
    for at, item in sorted(arrivals, key=lambda pair: pair[0]):
        while clock < at:
            clock = min(at, clock + 0.001)
            while frame := buffer.pop(clock):
                out.append((frame, clock))
        buffer.add(item, at)
    while frame := buffer.pop(clock + 1):
        out.append((frame, clock))
    numbers = [frame.number for frame, _ in out]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    for frame, at in out:
        assert frame.delay <= 0.1 + 0.152 or frame.header is None or at == clock


def test_a_frame_that_its_sender_sends_late_is_not_cut_while_its_packets_come_in():
    buffer = JitterBuffer(0.15)
    buffer.add(packet(0, 0), 1.0)
    buffer.add(packet(0, 1), 1.0)
    drain(buffer, 1.0)
    for index, now in enumerate((1.25, 1.26, 1.27)):
        buffer.add(packet(1, index, k=4), now)
        assert drain(buffer, now) == []
    assert buffer.due() == pytest.approx(1.27 + FLOWING)
    assert drain(buffer, 1.27 + FLOWING) == [(1, (0, 1, 2))]
    for now in (1.50, 1.54, 1.58, 1.62):
        buffer.add(packet(2, round((now - 1.5) * 25), k=9), now)
    assert buffer.due() == pytest.approx(1.65), "not for ever: its deadline counted from its first packet"
