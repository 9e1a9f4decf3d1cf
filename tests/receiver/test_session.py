"""receiver/session: whom it answers and with what, and what it tells the sender about frames."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction

import pytest

from lrae.codec.types import FrameHeader, VideoFormat
from lrae.codec.wire import Bye, ByeCode, Config, DataPacket, Feedback, Hello, Stats, parse_packet
from lrae.receiver.events import FrameDue, Notice, StreamEnded, StreamStarted
from lrae.receiver.session import MAX_UNDECIDED, TAKEOVER, VANISHED, ReceiverSession

CONFIG = Config(7, VideoFormat(64, 48, Fraction(30)), "m", "0" * 16)


@pytest.fixture
def session():
    return ReceiverSession(0.15)


def out(session, now):
    return [(parse_packet(data), address) for data, address in session.datagrams_to_send(now)]


def feed(session, packet, now, address="a"):
    session.receive_datagram(bytes(packet), address, now)


def start(session, now=0.0):
    feed(session, CONFIG, now)
    started = session.next_event()
    session.accept(started, now)
    out(session, now)
    return started


def data(number, index=0, k=1, stream=7):
    header = FrameHeader(number, number == 0, 30, k, 0, max(0, number - 1))
    return DataPacket(stream, number * k + index, number * 33_333, header, index, b"x")


def feedbacks(session, now):
    return [p for p, _ in out(session, now) if isinstance(p, Feedback)]


def test_a_config_is_answered_with_hello_until_the_shell_is_ready_and_then_with_feedback(session):
    feed(session, CONFIG, 0.0)
    started = session.next_event()
    assert isinstance(started, StreamStarted) and started.config == CONFIG and started.address == "a"
    assert [type(p) for p, _ in out(session, 0.0)] == [Hello]
    feed(session, CONFIG, 0.1)
    assert [type(p) for p, _ in out(session, 0.1)] == [Hello]
    session.accept(started, 0.2)
    assert feedbacks(session, 0.2) == [Feedback(7, intra_wanted=True, arrival=0, hold=200_000)]
    feed(session, CONFIG, 0.25)
    assert len(feedbacks(session, 0.25)) == 1
    assert session.next_event() is None


def test_feedback_names_the_payloads_that_were_decoded_and_not_those_that_arrived(session):
    start(session)
    feed(session, data(0, 0, 2), 1.0)
    feed(session, data(0, 1, 2), 1.0)
    due = session.next_event()
    assert isinstance(due, FrameDue) and sorted(due.frame.payloads) == [0, 1]
    session.decoded(due, frozenset({1}), 1.01)
    (told,) = feedbacks(session, 1.01)
    assert (told.newest, told.used, told.received, told.sequence) == (0, (0b10,), 2, 1)
    assert (told.arrival, told.hold) == (1_000_000, 10_000)
    assert not told.intra_wanted
    assert session.stats.partial == 1


def test_the_last_sixteen_frames_are_repeated(session):
    start(session)
    for number in range(20):
        feed(session, data(number), number / 30)
        session.decoded(session.next_event(), frozenset({0}), number / 30)
        told = feedbacks(session, number / 30)[-1]
        assert told.newest == number and told.used == (1,) * min(16, number + 1)


def test_waiting_for_an_intra_frame_it_asks_ten_times_a_second(session):
    start(session)
    asked = 0
    for ms in range(1000):
        feed(session, data(5 + ms // 33), ms / 1000)
        asked += sum(p.intra_wanted for p in feedbacks(session, ms / 1000))
    assert 9 <= asked <= 11
    assert session.counts["waiting-for-intra"] > 30


def test_data_of_an_unknown_stream_is_answered_with_hello_at_most_ten_times_a_second(session):
    for ms in range(1000):
        feed(session, data(0, stream=9), ms / 1000)
    answers = out(session, 1.0)
    assert {type(p) for p, _ in answers} == {Hello}
    assert len(answers) <= 11
    assert session.counts == {"unknown-stream": 1000}


def test_a_second_sender_is_refused_and_its_packets_are_dropped(session):
    start(session)
    feed(session, data(0), 0.1)
    feed(session, CONFIG, 0.1, "b")
    feed(session, data(1), 0.1, "b")
    assert (Bye(7, ByeCode.BUSY, "the receiver has another sender"), "b") in out(session, 0.1)
    assert session.counts == {"busy": 1, "other-stream": 1}


def test_a_sender_takes_over_from_one_that_has_fallen_silent(session):
    started = start(session)
    feed(session, CONFIG, TAKEOVER + 0.1, "b")
    ended, second = session.next_event(), session.next_event()
    assert isinstance(ended, StreamEnded) and ended.stream is started and not ended.clean
    assert second.address == "b"


def test_a_silent_sender_is_given_up_and_may_come_back(session):
    start(session)
    assert session.get_timer() <= VANISHED
    session.handle_timer(VANISHED)
    assert "silent" in session.next_event().reason
    assert session.get_timer() is None
    feed(session, CONFIG, 9.0)
    assert isinstance(session.next_event(), StreamStarted)


def test_the_end_comes_when_every_frame_is_decoded_and_bye_is_answered_each_time(session):
    start(session)
    feed(session, data(0), 0.0)
    due = session.next_event()
    feed(session, Bye(7, 0, "", 1), 0.1)
    answers = [p for p, _ in out(session, 0.1)]
    assert Bye(7, 0) in answers and any(isinstance(p, Stats) for p in answers)
    assert session.next_event() is None, "a frame is still being decoded"
    session.decoded(due, frozenset({0}), 0.2)
    ended = session.next_event()
    assert ended.clean and ended.stats.frames == 1
    feed(session, Bye(7, 0, "", 1), 0.3)
    assert out(session, 0.3) == [(Bye(7, 0), "a")]
    feed(session, data(1), 0.4)
    assert session.counts["after-end"] == 1
    assert session.next_event() is None


def test_a_refusal_is_repeated_to_a_sender_that_asks_again_without_asking_the_shell_again(session):
    feed(session, CONFIG, 0.0)
    session.refuse(session.next_event(), ByeCode.MODEL, "no such model", 0.0)
    assert isinstance(session.next_event(), StreamEnded)
    out(session, 0.0)
    feed(session, CONFIG, 0.1)
    assert out(session, 0.1) == [(Bye(7, ByeCode.MODEL, "no such model"), "a")]
    assert session.next_event() is None


def test_a_decoder_that_falls_far_behind_skips_to_an_intra_frame(session):
    start(session)
    for number in range(MAX_UNDECIDED + 5):
        feed(session, data(number), number / 60)
    assert session.counts["overload"] == 5
    assert not any(p.intra_wanted for p in feedbacks(session, 1.5)), "not before it has caught up"
    due = []
    while event := session.next_event():
        due.append(event)
    assert len(due) == MAX_UNDECIDED
    for event in due:
        session.decoded(event, frozenset({0}), 2.0)
    assert feedbacks(session, 2.0)[-1].intra_wanted


def test_in_real_time_a_decoder_may_not_be_a_second_behind(session):
    start(session)
    for number in range(20):
        feed(session, data(number), number / 10)
    assert session.counts["overload"] > 5
    due = [event for event in iter(session.next_event, None)]
    for event in due:
        session.decoded(event, frozenset({0}), 2.0)
    assert feedbacks(session, 2.0)[-1].intra_wanted


def test_another_version_is_noticed_once_and_answered_in_ours(session):
    body = bytes([0x24, 0, 7])
    for n in range(3):
        session.receive_datagram(body + struct.pack("!I", zlib.crc32(body)), "a", n * 0.01)
    notice = session.next_event()
    assert isinstance(notice, Notice) and "version 2" in notice.text
    assert session.next_event() is None
    assert [type(p) for p, _ in out(session, 0.1)] == [Hello]


def test_stop_tells_the_sender_and_ends_the_stream(session):
    start(session)
    session.stop("the receiver was stopped", 1.0)
    assert (Bye(7, ByeCode.STOPPED, "the receiver was stopped"), "a") in out(session, 1.0)
    assert isinstance(session.next_event(), StreamEnded)
    session.stop("again", 1.1)
    assert session.next_event() is None
