"""receiver/jitter: frames come out in order, as soon as they can, at their deadline at the latest."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.codec.types import FrameHeader
from lrae.codec.wire import DataPacket
from lrae.codec.wire.serial import wrap
from lrae.receiver.jitter import (
    FLOWING,
    MAX_GAP,
    MEND_PAUSE,
    MEND_WITHIN,
    MENDABLE,
    OFFSET_WINDOW,
    REORDER_FLOOR,
    JitterBuffer,
    MinimumOffset,
)

K, INTERVAL = 2, 0.04


def packet(number, index, intra=None, k=K, first=0, wait=0, clock=0.0):
    """clock: seconds that the sender's clock is ahead."""
    intra = number == first if intra is None else intra
    header = FrameHeader(wrap(number), intra, 30, k, 0, 0 if intra else wrap(number - 1))
    capture = wrap(round(((number - first) * INTERVAL + clock) * 1e6))
    return DataPacket.single(1, capture, header, index, bytes([index]), wait)


def add(buffer, item, now):
    """As the datagram that carries it first."""
    return buffer.add(item, now, item.header.number * item.header.packets + item.index)


def drain(buffer, now):
    out = []
    while frame := buffer.pop(now):
        out.append((frame.number, tuple(sorted(frame.payloads))))
    return out


def test_a_complete_frame_comes_out_at_once():
    buffer = JitterBuffer(0.15)
    add(buffer, packet(0, 0), 1.0)
    assert drain(buffer, 1.0) == []
    add(buffer, packet(0, 1), 1.001)
    assert drain(buffer, 1.001) == [(0, (0, 1))]


def test_an_incomplete_frame_with_nothing_behind_it_comes_out_at_its_deadline():
    buffer = JitterBuffer(0.15)
    add(buffer, packet(0, 0), 1.0)
    assert buffer.due() == pytest.approx(1.15)
    assert drain(buffer, 1.149) == []
    assert drain(buffer, 1.1501) == [(0, (0,))]


def test_a_frame_whose_missing_packets_were_overtaken_does_not_wait_for_its_deadline():
    buffer = JitterBuffer(0.15)
    add(buffer, packet(0, 0), 1.0)
    add(buffer, packet(1, 0), 1.04)
    add(buffer, packet(1, 1), 1.04)
    assert buffer.due() == pytest.approx(1.04 + REORDER_FLOOR)
    assert drain(buffer, 1.04 + REORDER_FLOOR) == [(0, (0,)), (1, (0, 1))]


def test_a_frame_of_which_nothing_arrived_comes_out_empty_between_its_neighbours_in_time():
    buffer = JitterBuffer(0.15)
    for index in range(K):
        add(buffer, packet(0, index), 1.0)
        add(buffer, packet(2, index), 1.08)
    frames = [buffer.pop(2.0) for _ in range(3)]
    assert [(f.number, f.header is None) for f in frames] == [(0, False), (1, True), (2, False)]
    assert [f.capture for f in frames] == pytest.approx([0.0, INTERVAL, 2 * INTERVAL])


def test_late_packets_lengthen_the_wait_and_time_shortens_it_again():
    buffer = JitterBuffer(0.15)
    add(buffer, packet(0, 0), 1.0)
    add(buffer, packet(1, 0), 1.04)
    add(buffer, packet(1, 1), 1.04)
    assert len(drain(buffer, 1.06)) == 2
    assert add(buffer, packet(0, 1), 1.10) == "late"
    assert buffer.reorder == pytest.approx(1.5 * 0.06)
    for number in range(2, 1000):
        for index in range(K):
            add(buffer, packet(number, index), 1.0 + number * INTERVAL)
        drain(buffer, 1.0 + number * INTERVAL)
    assert buffer.reorder == REORDER_FLOOR


def test_duplicates_late_and_contradicting_packets_are_told_apart():
    buffer = JitterBuffer(0.15)
    assert add(buffer, packet(5, 0, intra=False), 1.0) == "waiting-for-intra"
    assert add(buffer, packet(6, 0, intra=True), 1.0) is None
    assert add(buffer, packet(6, 0, intra=True), 1.0) == "duplicate"
    assert add(buffer, packet(6, 1, intra=False), 1.0) == "contradiction"
    assert add(buffer, packet(6, 2, intra=True, k=3), 1.0) == "contradiction"
    assert add(buffer, packet(5, 0, intra=False), 1.0) == "late"
    drain(buffer, 2.0)
    assert add(buffer, packet(6, 0, intra=True), 2.0) == "duplicate"
    assert add(buffer, packet(6, 1, intra=True), 2.0) == "late"
    assert add(buffer, packet(10**6, 0, intra=True), 2.0) == "contradiction"


def test_a_hole_too_wide_to_extrapolate_over_wants_an_intra_frame():
    buffer = JitterBuffer(0.15)
    for index in range(K):
        add(buffer, packet(0, index), 1.0)
    drain(buffer, 1.0)
    assert add(buffer, packet(1 + MAX_GAP, 0), 2.5) == "waiting-for-intra"
    assert buffer.wants_intra
    assert add(buffer, packet(50, 0, intra=True), 3.0) is None
    assert add(buffer, packet(50, 1, intra=True), 3.0) is None
    assert drain(buffer, 3.0) == [(50, (0, 1))]


def test_the_end_flushes_what_never_arrived_and_then_it_is_finished():
    buffer = JitterBuffer(0.15)
    for index in range(K):
        add(buffer, packet(0, index), 1.0)
    drain(buffer, 1.0)
    buffer.finish(3, 1.1)
    assert not buffer.finished
    assert drain(buffer, 1.2) == [(1, ()), (2, ())]
    assert buffer.finished


def test_not_in_real_time_the_deadline_counts_from_the_first_packet():
    buffer = JitterBuffer(0.15, realtime=False)
    for number, now in ((0, 1.0), (1, 3.0), (2, 9.0)):
        add(buffer, packet(number, 0), now)
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
        add(buffer, item, at)
    while frame := buffer.pop(clock + 1):
        out.append((frame, clock))
    numbers = [frame.number for frame, _ in out]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    for frame, at in out:
        assert frame.delay <= 0.1 + 0.152 or frame.header is None or at == clock


def test_a_frame_that_its_sender_sends_late_is_not_cut_while_its_packets_come_in():
    buffer = JitterBuffer(0.15)
    add(buffer, packet(0, 0), 1.0)
    add(buffer, packet(0, 1), 1.0)
    drain(buffer, 1.0)
    for index, now in enumerate((1.25, 1.26, 1.27)):
        add(buffer, packet(1, index, k=4), now)
        assert drain(buffer, now) == []
    assert buffer.due() == pytest.approx(1.27 + FLOWING)
    assert drain(buffer, 1.27 + FLOWING) == [(1, (0, 1, 2))]
    for now in (1.50, 1.54, 1.58, 1.62):
        add(buffer, packet(2, round((now - 1.5) * 25), k=9), now)
    assert buffer.due() == pytest.approx(1.65), "not for ever: its deadline counted from its first packet"


def test_an_overtaken_frame_waits_as_long_as_its_sender_may_repair_it():
    buffer = JitterBuffer(0.15)
    add(buffer, packet(0, 0, wait=25), 1.0)
    assert not buffer.incomplete
    for index in range(K):
        add(buffer, packet(1, index, wait=25), 1.04)
    assert buffer.incomplete
    assert buffer.due() == pytest.approx(1.04 + 0.05)
    assert drain(buffer, 1.08) == []
    assert buffer.add(packet(0, 1, wait=25), 1.081, 99) is None
    assert drain(buffer, 1.081) == [(0, (0, 1)), (1, (0, 1))]


def test_no_wait_goes_beyond_the_deadline():
    buffer = JitterBuffer(0.15)
    add(buffer, packet(0, 0, wait=255), 1.0)
    for index in range(K):
        add(buffer, packet(2, index, wait=255), 1.08)
    assert drain(buffer, 1.149) == []
    assert drain(buffer, 1.1501) == [(0, (0,))]
    assert buffer.due() == pytest.approx(1.15 + INTERVAL), "its own deadline, though nothing of it ever came"


def test_what_was_sent_again_or_brought_back_by_parity_teaches_nothing_about_reordering():
    for counter in (4, None):
        buffer = JitterBuffer(0.15)
        add(buffer, packet(0, 0), 1.0)
        add(buffer, packet(1, 0), 1.04)
        add(buffer, packet(1, 1), 1.04)
        assert drain(buffer, 1.06) == [(0, (0,)), (1, (0, 1))]
        assert buffer.add(packet(0, 1), 1.10, counter) == "late"
        assert buffer.reorder == REORDER_FLOOR


def released_without_its_last_packet(k=K):
    buffer = JitterBuffer(0.15)
    for index in range(k - 1):
        add(buffer, packet(0, index, k=k), 1.0)
    for index in range(k):
        add(buffer, packet(1, index, k=k), 1.04)
    out = [buffer.pop(1.06), buffer.pop(1.06)]
    assert buffer.due() is None
    return buffer, out


def test_a_late_packet_brings_its_frame_back_whole_and_leaves_what_was_handed_out():
    buffer, out = released_without_its_last_packet()
    assert buffer.mend(1.08) == ()
    assert add(buffer, packet(0, 1), 1.08) == "late"
    assert buffer.due() <= 1.08
    (mended,) = buffer.mend(1.08)
    assert (mended.number, mended.header, set(mended.payloads)) == (0, out[0].header, {0, 1})
    assert set(out[0].payloads) == {0}
    assert buffer.mend(1.2) == ()
    assert add(buffer, packet(0, 1), 1.09) == "duplicate"


def test_several_late_packets_of_a_frame_that_stays_incomplete_mend_it_once():
    buffer = JitterBuffer(0.15)
    add(buffer, packet(0, 0, k=5), 1.0)
    for index in range(5):
        add(buffer, packet(1, index, k=5), 1.04)
    assert len(drain(buffer, 1.06)) == 2
    for index, now in ((1, 1.07), (2, 1.075)):
        assert add(buffer, packet(0, index, k=5), now) == "late"
        assert buffer.mend(now) == ()
    assert buffer.due() == pytest.approx(1.075 + MEND_PAUSE)
    (mended,) = buffer.mend(1.075 + MEND_PAUSE)
    assert set(mended.payloads) == {0, 1, 2}


def test_a_frame_given_up_for_lost_is_mended_with_the_header_that_it_turned_out_to_have():
    buffer = JitterBuffer(0.15)
    for number in (0, 2):
        for index in range(K):
            add(buffer, packet(number, index), 1.0 + number * INTERVAL)
    assert [number for number, _ in drain(buffer, 1.1)] == [0, 1, 2]
    assert add(buffer, packet(1, 0), 1.11) == "late"
    assert add(buffer, packet(1, 1, k=3), 1.11) == "contradiction"
    assert add(buffer, packet(1, 1), 1.112) == "late"
    (mended,) = buffer.mend(1.112)
    assert (mended.number, mended.header.number, mended.payloads) == (1, 1, {0: b"\0", 1: b"\1"})


def test_what_was_released_too_long_ago_or_before_an_intra_frame_was_wanted_is_not_mended():
    buffer, _ = released_without_its_last_packet()
    assert add(buffer, packet(0, 1), 1.06 + MEND_WITHIN + 0.001) == "late"
    assert buffer.mend(9.0) == ()
    buffer, _ = released_without_its_last_packet()
    for number in range(2, MENDABLE + 1):
        for index in range(K):
            add(buffer, packet(number, index), 1.07)
    drain(buffer, 1.07)
    assert add(buffer, packet(0, 1), 1.08) == "late"
    assert buffer.mend(9.0) == ()
    buffer, _ = released_without_its_last_packet()
    add(buffer, packet(0, 1), 1.08)
    buffer.reset()
    assert buffer.mend(9.0) == () and buffer.due() is None


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-200e-6, 200e-6),
    st.sampled_from([0.0, -10.0, 10.0]),
    st.sampled_from([0.0, 0.1]),
    st.integers(0, 10**6),
)
def test_skewed_clocks_a_clock_that_jumps_and_a_path_that_grows_longer_never_stall_and_are_soon_forgotten(
    skew, jump, longer, seed
):
    rng = random.Random(seed)
    buffer, out, at = JitterBuffer(0.15), [], 20.0
    for number in range(900):
        true = number * INTERVAL
        clock = true * skew + (jump if true > at else 0.0) + 100.0
        now = 1000.0 + true + 0.02 + (longer if true > at else 0.0) + rng.expovariate(200)
        while (due := buffer.due()) is not None and due <= now:
            out.append((due, buffer.pop(due)))
        for index in range(K):
            if number == 0 or rng.random() < 0.9:
                add(buffer, packet(number, index, clock=clock), now)
        while frame := buffer.pop(now):
            out.append((now, frame))
    arrived = {frame.number: time - 1000.0 - frame.number * INTERVAL for time, frame in out}
    assert max(arrived.values()) <= 0.02 + longer + 0.15 + 0.2, "no frame waits for long"
    settled = [f.delay for _, f in out if f.number * INTERVAL > at + 2 * OFFSET_WINDOW + 1]
    assert len(settled) > 50
    assert min(settled) < 0.01 and max(settled) <= 0.16


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_whatever_times_waits_and_counters_a_sender_claims_no_frame_waits_longer_than_the_deadline(seed, realtime):
    rng = random.Random(seed)
    buffer, now, first, tick = JitterBuffer(0.15, realtime), 1.0, {}, 1e-3

    def check(at):
        while frame := buffer.pop(at):
            since = min(arrived for number, arrived in first.items() if number >= frame.number)
            assert at <= since + 0.15 + tick + 1e-6
            assert frame.delay >= 0
        assert len(buffer._pending) <= MAX_GAP
        for mended in buffer.mend(at):
            assert mended.number < (buffer.next or 0)

    for number in range(40):
        for index in range(K):
            if number == 0 or rng.random() < 0.6:
                end, now = now + rng.expovariate(20), now + tick
                while (due := buffer.due()) is not None and due <= end:
                    now = max(now, due)
                    check(now)
                now = max(now, end)
                seen = max(0, number - rng.choice((0, 0, 0, 1, 3)))
                item = replace(packet(seen, index, wait=rng.choice((0, 20, 255))), capture=rng.getrandbits(32))
                first.setdefault(seen, now)
                buffer.add(item, now, rng.choice((None, number * K + index, rng.getrandbits(20))))
                check(now)
