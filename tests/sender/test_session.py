"""sender/session: who is called when, what ends a stream, what feedback turns into."""

from __future__ import annotations

import itertools
import struct
import zlib
from fractions import Fraction

import pytest

from lrae.codec.types import EncodedFrame, FrameHeader, VideoFormat
from lrae.codec.wire import Bye, ByeCode, Config, DataPacket, Feedback, Hello, Stats, parse_packet
from lrae.sender.events import Connected, Disconnected, Ended, Notice, Refused
from lrae.sender.pacer import Pacer
from lrae.sender.session import BUSY_PATIENCE, KEEP_ALIVE, SILENCE, SenderSession

CONFIG = Config(7, VideoFormat(64, 48, Fraction(30)), "m", "0" * 16)


@pytest.fixture
def session():
    return SenderSession(CONFIG, Pacer(0, 0.0), 0.0)


def out(session, now):
    return [parse_packet(data) for data, _ in session.datagrams_to_send(now)]


def feed(session, packet, now):
    session.receive_datagram(bytes(packet), None, now)


def connect(session, now=0.0):
    feed(session, Feedback(7, intra_wanted=True), now)
    assert session.next_event() == Connected()
    assert session.take_news(now).intra_wanted
    out(session, now)


def frame(number, k=2):
    header = FrameHeader(number, number == 0, 30, k, 0, max(0, number - 1))
    return EncodedFrame(header, tuple(bytes([i]) for i in range(k)), 0)


def test_it_calls_with_hello_and_config_ever_more_slowly_until_it_is_heard(session):
    times, now = [], 0.0
    while now < 20:
        if packets := out(session, now):
            assert [type(p) for p in packets] == [Hello, Config] and packets[1] == CONFIG
            times.append(now)
        now = session.get_timer()
        session.handle_timer(now)
    gaps = [round(b - a, 6) for a, b in itertools.pairwise(times)]
    assert gaps[0] == pytest.approx(0.1) and gaps[-1] == pytest.approx(1.0)
    assert gaps == sorted(gaps)


def test_frames_before_the_connection_are_not_sent(session):
    session.send_frame(frame(0), 0.0, 0.0)
    out(session, 0.0)
    connect(session)
    assert out(session, 0.0) == []


def test_packets_of_a_frame_have_consecutive_sequence_numbers_and_its_capture_time(session):
    connect(session)
    session.send_frame(frame(0, 3), 1.5, 1.6)
    session.send_frame(frame(1), 1.5333, 1.6)
    packets = out(session, 1.6)
    assert all(isinstance(p, DataPacket) for p in packets)
    assert [p.sequence for p in packets] == list(range(5))
    assert [(p.header.number, p.index) for p in packets] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert packets[0].capture == 1_500_000


def test_each_confirmation_is_told_once_oldest_first(session):
    connect(session)
    for number in range(3):
        session.send_frame(frame(number), 0.0, 0.0)
    out(session, 0.0)
    for _ in range(2):
        feed(session, Feedback(7, newest=1, used=(0b01, 0b11)), 0.1)
    assert session.take_news(0.1).confirmed == ((0, frozenset({0, 1})), (1, frozenset({0})))
    assert session.take_news(0.1).confirmed == ()
    assert session.in_flight == 1


def test_round_trip_leaves_out_the_time_that_the_receiver_held_the_packet(session):
    connect(session)
    session.send_frame(frame(0), 0.0, 0.0)
    out(session, 1.0)
    feed(session, Feedback(7, sequence=1, received=2, hold=30_000), 1.1)
    assert session.rtt == pytest.approx(0.07)


def test_the_loss_estimate_follows_what_arrives(session):
    connect(session)
    received = 0
    for number in range(200):
        session.send_frame(frame(number), 0.0, 0.0)
        out(session, 0.0)
        received += 2 if number % 2 else 1
        feed(session, Feedback(7, sequence=2 * number + 1, received=received), 0.01)
    assert session.loss == pytest.approx(0.25, abs=0.03)


def test_an_intra_wish_is_granted_once_per_round_trip(session):
    connect(session)
    wish = Feedback(7, intra_wanted=True)
    feed(session, wish, 0.1)
    assert not session.take_news(0.1).intra_wanted, "the one after connecting is on its way"
    feed(session, wish, 1.0)
    feed(session, wish, 1.01)
    assert session.take_news(1.02).intra_wanted
    feed(session, wish, 1.03)
    assert not session.take_news(1.03).intra_wanted


def test_silence_makes_it_call_again(session):
    connect(session)
    session.handle_timer(SILENCE)
    assert isinstance(session.next_event(), Disconnected)
    assert not session.connected
    assert CONFIG in out(session, SILENCE)


def test_a_receiver_that_does_not_know_the_stream_is_called_again(session):
    connect(session)
    feed(session, Hello(7, "receiver", "x"), 0.5)
    assert session.connected, "an answer to the first call that came late"
    feed(session, Hello(7, "receiver", "x"), 2.0)
    assert isinstance(session.next_event(), Disconnected)


def test_with_nothing_to_send_it_says_that_it_is_alive(session):
    connect(session)
    assert session.get_timer() == KEEP_ALIVE
    session.handle_timer(KEEP_ALIVE)
    assert out(session, KEEP_ALIVE) == [Hello(7, "sender", out_software())]


def out_software():
    from lrae.version import VERSION

    return f"lrae {VERSION}"


def test_a_busy_receiver_is_given_time_before_giving_up(session):
    busy = Bye(7, ByeCode.BUSY, "the receiver has another sender")
    feed(session, busy, 0.1)
    assert session.next_event() is None
    feed(session, busy, BUSY_PATIENCE)
    assert session.next_event() == Refused("the receiver has another sender")
    assert session.get_timer() is None


def test_another_version_is_noticed_once_and_garbage_is_not(session):
    body = bytes([0x24, 0, 7])
    other = body + struct.pack("!I", zlib.crc32(body))
    for data in (b"", b"garbage", other, other):
        session.receive_datagram(data, None, 0.0)
    notice = session.next_event()
    assert isinstance(notice, Notice) and "version 2" in notice.text
    assert session.next_event() is None
    assert session.counts == {"malformed": 2, "version": 2}


def test_the_end_waits_for_confirmations_and_then_for_the_answer(session):
    connect(session)
    session.send_frame(frame(0), 0.0, 0.0)
    out(session, 0.0)
    session.finish(0.01)
    assert out(session, 0.01) == []
    feed(session, Feedback(7, newest=0, used=(3,)), 0.05)
    assert out(session, 0.05) == [Bye(7, 0, "", 1)]
    feed(session, Stats(7, 1, 0, 0, 2, 0, 0), 0.06)
    feed(session, Bye(7, 0), 0.06)
    assert session.next_event() == Ended(True)
    assert session.peer_stats.frames == 1


def test_without_an_answer_it_repeats_the_end_for_a_while_and_leaves(session):
    connect(session)
    session.send_frame(frame(0), 0.0, 0.0)
    out(session, 0.0)
    session.finish(0.0)
    byes = 0
    while (now := session.get_timer()) is not None:
        session.handle_timer(now)
        byes += sum(isinstance(p, Bye) for p in out(session, now))
        assert now < 5
    assert byes >= 5
    assert session.next_event() == Ended(False)


def test_leaving_at_once_says_why(session):
    connect(session)
    session.stop("the sender was stopped", 1.0)
    assert out(session, 1.0)[0].reason == "the sender was stopped"


def test_frames_that_can_never_be_confirmed_do_not_count_as_in_flight_for_ever(session):
    connect(session)
    for number in range(100):
        session.send_frame(frame(number), 0.0, 0.0)
    feed(session, Feedback(7, newest=99, used=(3, 3)), 0.1)
    assert session.in_flight == 0
