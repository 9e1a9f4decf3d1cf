"""receiver/session: whom it answers and with what, and what it tells the sender about frames."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from fractions import Fraction

import pytest

from lrae.codec.types import FrameHeader, VideoFormat
from lrae.codec.wire import (
    PROTOCOL_VERSION,
    Bye,
    ByeCode,
    Config,
    DataPacket,
    Feedback,
    Hello,
    PlainEnvelope,
    Stats,
    parse_packet,
    seal_packet,
)
from lrae.codec.wire.feedback import WHOLE
from lrae.codec.wire.keys import NoKey
from lrae.receiver.events import FrameDue, FramesMended, Notice, StreamEnded, StreamStarted
from lrae.receiver.reception import MAX_UNDECIDED
from lrae.receiver.session import TAKEOVER, VANISHED, ReceiverSession

CONFIG = Config(7, VideoFormat(64, 48, Fraction(30)), "m", "0" * 16)


NONCE = b"n" * 16


@pytest.fixture
def session():
    return ReceiverSession(0.15, NoKey())


def out(session, now):
    return [(parse_packet(PlainEnvelope().unseal(d)), address) for d, address in session.datagrams_to_send(now)]


def feed(session, packet, now, address="a", counter=0):
    session.receive_datagram(seal_packet(packet, PlainEnvelope(counter)), address, now)


def call(session, now=0.0, address="a", config=CONFIG):
    """HELLO; the CONFIG that shows the token of the answer."""
    feed(session, Hello(config.stream, "sender", "x", NONCE, padding=bytes(96)), now, address)
    ((answer, to),) = [(p, to) for p, to in out(session, now) if isinstance(p, Hello)]
    assert to == address and answer.nonce == NONCE
    return replace(config, nonce=NONCE, token=answer.token)


def start(session, now=0.0, address="a"):
    config = call(session, now, address)
    feed(session, config, now, address)
    started = session.next_event()
    session.accept(started, now)
    out(session, now)
    return started


def data(number, index=0, k=1, stream=7):
    header = FrameHeader(number, number == 0, 30, k, 0, max(0, number - 1))
    return DataPacket.single(stream, number * 33_333, header, index, b"x")


def feedbacks(session, now):
    return [p for p, _ in out(session, now) if isinstance(p, Feedback)]


def test_a_config_with_a_token_starts_a_stream_and_is_answered_once_the_shell_is_ready(session):
    config = call(session)
    feed(session, config, 0.0)
    started = session.next_event()
    assert isinstance(started, StreamStarted) and started.config == config and started.address == "a"
    feed(session, config, 0.1)
    assert out(session, 0.1) == []
    session.accept(started, 0.2)
    assert feedbacks(session, 0.2) == [Feedback(7, intra_wanted=True)]
    feed(session, config, 0.25)
    assert len(feedbacks(session, 0.25)) == 1
    assert session.next_event() is None


def test_a_config_without_a_token_of_ours_for_that_address_starts_nothing(session):
    config = call(session)
    for address, false in (("b", config), ("a", CONFIG), ("a", replace(config, stream=8))):
        feed(session, false, 0.0, address)
    feed(session, config, 30.0)
    assert session.next_event() is None and out(session, 30.0) == []
    assert session.counts == {"token": 4}


def test_a_token_starts_one_stream_only(session):
    config = start(session).config
    feed(session, Bye(7, ByeCode.STOPPED, config.token, "leaving"), 1.0)
    assert isinstance(session.next_event(), StreamEnded)
    out(session, 1.0)
    feed(session, config, 1.1)
    assert out(session, 1.1) == [(Bye(7, ByeCode.END, config.token), "a")]
    assert session.next_event() is None


def test_no_answer_to_a_stranger_is_longer_than_what_it_answers(session):
    for size in range(97):
        packet = Hello(7, "sender", "", NONCE, padding=bytes(size))
        cause = seal_packet(packet, PlainEnvelope())
        session.receive_datagram(cause, "a", size)
        assert all(len(data) <= len(cause) for data, _ in session.datagrams_to_send(size))
    stray = seal_packet(data(0), PlainEnvelope())
    session.receive_datagram(stray, "a", 2000.0)
    assert all(len(data) <= len(stray) for data, _ in session.datagrams_to_send(2000.0))
    assert session.counts["amplification"] > 0


def test_feedback_names_the_payloads_of_a_frame_as_soon_as_it_goes_to_the_decoder(session):
    start(session)
    feed(session, data(0, 0, 2), 1.0, counter=4)
    feed(session, data(0, 1, 2), 1.0, counter=5)
    due = session.next_event()
    assert isinstance(due, FrameDue) and sorted(due.frame.payloads) == [0, 1]
    (told,) = feedbacks(session, 1.01)
    assert (told.newest, told.used, told.counter) == (0, (WHOLE,), 5)
    assert (told.arrival, told.hold) == (2000, 20)
    assert (told.covered, told.arrived, told.times) == (6, 0b11, (0,))
    assert not told.intra_wanted


def test_a_payload_that_the_decoder_refuses_makes_what_was_told_wrong_so_an_intra_frame_is_wanted(session):
    start(session)
    feed(session, data(0, 0, 2), 1.0)
    feed(session, data(0, 1, 2), 1.0, counter=1)
    session.decoded(session.next_event(), frozenset({1}), 1.01)
    (told,) = feedbacks(session, 1.02)
    assert told.intra_wanted and told.used == ()
    assert session.stats.partial == 1


def test_the_last_frames_are_repeated(session):
    start(session)
    for number in range(60):
        now = 1 + number / 30
        feed(session, data(number), now, counter=number)
        session.decoded(session.next_event(), frozenset({0}), now)
        told = feedbacks(session, now)[-1]
        assert told.newest == number and told.used == (WHOLE,) * min(16, number + 1)


def test_a_frame_decoded_again_is_reported_again(session):
    start(session)
    feed(session, replace(data(0, 0, 2), wait=0), 0.0, counter=0)
    feed(session, data(1), 0.03, counter=2)
    session.handle_timer(0.06)
    first, second = session.next_event(), session.next_event()
    session.decoded(first, frozenset({0}), 0.06)
    session.decoded(second, frozenset({0}), 0.06)
    assert feedbacks(session, 0.06)[-1].used == (WHOLE, 1)
    feed(session, data(0, 1, 2), 0.08, counter=1)
    mended = session.next_event()
    assert isinstance(mended, FramesMended) and sorted(mended.frames[0].payloads) == [0, 1]
    session.decoded_again(mended, {0: frozenset({0, 1}), 1: frozenset({0})}, 0.09)
    assert feedbacks(session, 0.09)[-1].used == (1, 3)


def test_waiting_for_an_intra_frame_it_asks_ten_times_a_second(session):
    start(session)
    asked = 0
    for ms in range(1000):
        feed(session, data(5 + ms // 33), ms / 1000)
        asked += sum(p.intra_wanted for p in feedbacks(session, ms / 1000))
    assert 9 <= asked <= 11
    assert session.counts["waiting-for-intra"] > 30


def test_data_of_an_unknown_stream_is_answered_with_hello_at_most_ten_times_a_second(session):
    long = replace(data(0, stream=9), payloads=((0, bytes(100)),))
    for ms in range(1000):
        feed(session, long, ms / 1000)
    answers = out(session, 1.0)
    assert {type(p) for p, _ in answers} == {Hello}
    assert 5 <= len(answers) <= 11
    assert session.counts == {"unknown-stream": 1000}


def test_a_second_sender_is_refused_and_its_packets_are_dropped(session):
    start(session)
    feed(session, data(0), 0.1)
    out(session, 0.1)
    config = call(session, 0.1, "b", replace(CONFIG, owner=b"o" * 16))
    feed(session, config, 0.1, "b")
    feed(session, data(1), 0.1, "b")
    busy = Bye(7, ByeCode.BUSY, config.token, "the receiver has another sender")
    assert (busy, "b") in out(session, 0.1)
    assert session.counts == {"busy": 1, "other-stream": 1}


def test_a_sender_takes_over_from_one_that_has_fallen_silent(session):
    started = start(session)
    session.handle_timer(TAKEOVER)
    out(session, TAKEOVER + 0.1)
    feed(session, call(session, TAKEOVER + 0.1, "b", replace(CONFIG, owner=b"o" * 16)), TAKEOVER + 0.1, "b")
    ended, second = session.next_event(), session.next_event()
    assert isinstance(ended, StreamEnded) and ended.stream is started and not ended.clean
    assert second.address == "b"


def test_the_same_sender_takes_its_stream_up_again_at_once(session):
    start(session)
    feed(session, call(session, 0.2, "b"), 0.2, "b")
    assert "called again" in session.next_event().reason
    assert session.next_event().address == "b"


def test_a_silent_sender_is_given_up_and_may_come_back(session):
    start(session)
    assert session.get_timer() <= VANISHED
    session.handle_timer(VANISHED)
    assert "silent" in session.next_event().reason
    assert session.get_timer() is None
    feed(session, call(session, 15.0), 15.0)
    assert isinstance(session.next_event(), StreamStarted)


def test_the_end_comes_when_every_frame_is_decoded_and_bye_is_answered_each_time(session):
    token = start(session).config.token
    feed(session, data(0), 0.0)
    due = session.next_event()
    feed(session, Bye(7, 0, bytes(16), "", 1), 0.05)
    assert session.counts == {"unexpected": 1}, "forged, or of another session"
    feed(session, Bye(7, 0, token, "", 1), 0.1)
    answers = [p for p, _ in out(session, 0.1)]
    assert Bye(7, 0, token) in answers and any(isinstance(p, Stats) for p in answers)
    assert session.next_event() is None, "a frame is still being decoded"
    session.decoded(due, frozenset({0}), 0.2)
    ended = session.next_event()
    assert ended.clean and ended.stats.frames == 1
    feed(session, Bye(7, 0, token, "", 1), 0.3)
    assert out(session, 0.3) == [(Bye(7, 0, token), "a")]
    feed(session, data(1), 0.4)
    assert session.counts["after-end"] == 1
    assert session.next_event() is None


def test_a_refusal_is_repeated_to_a_sender_that_asks_again_without_asking_the_shell_again(session):
    config = call(session)
    feed(session, config, 0.0)
    session.refuse(session.next_event(), ByeCode.MODEL, "no such model", 0.0)
    assert isinstance(session.next_event(), StreamEnded)
    out(session, 0.0)
    feed(session, config, 0.1)
    assert out(session, 0.1) == [(Bye(7, ByeCode.MODEL, config.token, "no such model"), "a")]
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
    body = bytes([(PROTOCOL_VERSION + 1) << 4 | 4, 0, 7, 0]) + bytes(100)
    for n in range(3):
        session.receive_datagram(body + struct.pack("!I", zlib.crc32(body)), "a", n * 0.01)
    notice = session.next_event()
    assert isinstance(notice, Notice) and f"version {PROTOCOL_VERSION + 1}" in notice.text
    assert session.next_event() is None
    assert [type(p) for p, _ in out(session, 0.1)] == [Hello]


def test_stop_tells_the_sender_and_ends_the_stream(session):
    token = start(session).config.token
    session.stop("the receiver was stopped", 1.0)
    assert (Bye(7, ByeCode.STOPPED, token, "the receiver was stopped"), "a") in out(session, 1.0)
    assert isinstance(session.next_event(), StreamEnded)
    session.stop("again", 1.1)
    assert session.next_event() is None
