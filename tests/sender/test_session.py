"""sender/session: who is called when, what ends a stream, what feedback turns into."""

from __future__ import annotations

import itertools
import struct
import zlib
from fractions import Fraction

import pytest

from lrae.codec.types import EncodedFrame, FrameHeader, VideoFormat
from lrae.codec.wire import (
    PROTOCOL_VERSION,
    Alive,
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
from lrae.sender.congestion import FixedRate
from lrae.sender.events import Connected, Disconnected, Ended, Notice, Refused
from lrae.sender.fec_fixed import FixedFec
from lrae.sender.flow import Flow
from lrae.sender.pacer import Pacer
from lrae.sender.retransmit import Retransmitter
from lrae.sender.session import BUSY_PATIENCE, DOUBT, KEEP_ALIVE, SILENCE, TOKEN_LASTS, SenderSession

CONFIG = Config(7, VideoFormat(64, 48, Fraction(30)), "m", "0" * 16)
TOKEN = b"t" * 16


def make_session(policy=None, retransmit=False):
    flow = Flow(7, Pacer(0, 0.0), FixedRate(0), policy, retransmit)
    return SenderSession(CONFIG, flow, NoKey(), 0.0, Nonces())


class Nonces:
    """Random bytes that can be told apart."""

    def __init__(self):
        self.count = 0

    def __call__(self, size):
        self.count += 1
        return bytes([self.count]) * size


@pytest.fixture
def session():
    return make_session()


def out(session, now):
    return [parse_packet(PlainEnvelope().unseal(data)) for data, _ in session.datagrams_to_send(now)]


def counters(session, now):
    return [PlainEnvelope().unseal(data).counter for data, _ in session.datagrams_to_send(now)]


def feed(session, packet, now):
    session.receive_datagram(seal_packet(packet, PlainEnvelope()), None, now)


def answer(session, hello, now, token=TOKEN):
    feed(session, Hello(7, "receiver", "x", hello.nonce, token, 150), now)


def report(newest, arrived=0, covered=None, **more):
    """Feedback on datagrams: `arrived` as a bitmap back from counter `newest`."""
    return Feedback(7, counter=newest, arrived=arrived, covered=covered or arrived.bit_length(), **more)


def connect(session, now=0.0):
    answer(session, next(p for p in out(session, now) if isinstance(p, Hello)), now)
    out(session, now)
    feed(session, Feedback(7, intra_wanted=True), now)
    assert session.next_event() == Connected()
    assert session.take_news(now).intra_wanted
    out(session, now)


def frame(number, k=2):
    header = FrameHeader(number, number == 0, 30, k, 0, max(0, number - 1))
    return EncodedFrame(header, tuple(bytes([i]) for i in range(k)), 0)


def test_it_calls_ever_more_slowly_until_it_is_answered(session):
    times, now = [], 0.0
    while now < 20:
        if packets := out(session, now):
            assert [type(p) for p in packets] == [Hello] and packets[0].role == "sender"
            times.append(now)
        now = session.get_timer()
        session.handle_timer(now)
    gaps = [round(b - a, 6) for a, b in itertools.pairwise(times)]
    assert gaps[0] == pytest.approx(0.1) and gaps[-1] == pytest.approx(1.0)
    assert gaps == sorted(gaps)


def test_a_token_is_shown_in_config_until_feedback_comes_or_it_has_grown_old(session):
    (hello,) = out(session, 0.0)
    answer(session, hello, 0.05)
    (config,) = out(session, 0.05)
    assert (config.token, config.nonce, config.model) == (TOKEN, hello.nonce, "m") and len(config.owner) == 16
    said, now = [], 0.05
    while now < TOKEN_LASTS + 2:
        now = session.get_timer()
        session.handle_timer(now)
        said += [(now, type(p)) for p in out(session, now)]
    assert {kind for at, kind in said if at < TOKEN_LASTS} == {Config}
    assert {kind for at, kind in said if at > TOKEN_LASTS + 0.1} == {Hello}
    feed(session, Feedback(7, intra_wanted=True), now)
    assert session.connected


def test_answers_to_other_calls_and_feedback_before_a_token_are_dropped(session):
    (hello,) = out(session, 0.0)
    feed(session, Feedback(7, intra_wanted=True), 0.0)
    feed(session, Hello(7, "receiver", "x", b"z" * 16, TOKEN), 0.0)
    assert not session.connected and out(session, 0.0) == []
    answer(session, hello, 0.1)
    answer(session, hello, 0.1, b"u" * 16)
    assert [p.token for p in out(session, 0.1)] == [TOKEN], "one answer is enough"
    assert session.counts == {"unexpected": 1, "replayed": 2}


def test_frames_before_the_connection_are_not_sent(session):
    session.send_frame(frame(0), 0.0, 0.0)
    connect(session)
    assert out(session, 0.0) == []


def test_packets_of_a_frame_go_in_order_with_its_capture_time(session):
    connect(session)
    session.send_frame(frame(0, 3), 1.5, 1.6)
    session.send_frame(frame(1), 1.5333, 1.6)
    packets = out(session, 1.6)
    assert all(isinstance(p, DataPacket) for p in packets)
    assert [(p.header.number, p.index) for p in packets] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert packets[0].capture == 1_500_000


def test_counters_rise_by_one_with_every_datagram_of_whatever_kind():
    session = make_session(FixedFec("block", 0.5))
    connect(session)
    seen = []
    for number in range(3):
        session.send_frame(frame(number), 0.0, 0.0)
        seen += counters(session, 0.0)
    session.handle_timer(KEEP_ALIVE)
    seen += counters(session, KEEP_ALIVE)
    assert seen == list(range(3 * 3 + 1))


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


def test_a_frame_of_which_more_has_arrived_since_is_told_again(session):
    connect(session)
    session.send_frame(frame(0), 0.0, 0.0)
    out(session, 0.0)
    for used in (0b01, 0b01, 0b11, 0b01):
        feed(session, Feedback(7, newest=0, used=(used,)), 0.1)
    assert session.take_news(0.1).confirmed == ((0, frozenset({0})), (0, frozenset({0, 1})))


def test_a_frame_of_which_all_is_reported_has_as_many_payloads_as_were_sent(session):
    connect(session)
    session.send_frame(frame(0), 0.0, 0.0)
    out(session, 0.0)
    for used in (0b10, WHOLE, WHOLE):
        feed(session, Feedback(7, newest=1, used=(WHOLE, used)), 0.1)
    assert session.take_news(0.1).confirmed == ((0, frozenset({1})), (0, frozenset({0, 1})))


def test_round_trip_leaves_out_the_time_that_the_receiver_held_the_packet(session):
    connect(session)
    session.send_frame(frame(0), 0.0, 0.0)
    out(session, 1.0)
    feed(session, report(1, 0b11, hold=60), 1.1)
    assert session.flow.acks.rtt == pytest.approx(0.07)


def test_the_loss_estimate_follows_what_arrives(session):
    connect(session)
    for number in range(200):
        session.send_frame(frame(number), number / 30, number / 30)
        out(session, number / 30)
        arrived = sum(1 << back for back in range(min(12, 2 * number + 2)) if (2 * number + 1 - back) % 4)
        feed(session, report(2 * number + 1, arrived, min(12, 2 * number + 2)), number / 30 + 0.01)
    assert session.flow.acks.loss == pytest.approx(0.25, abs=0.03)


def test_what_is_reported_of_datagrams_never_sent_is_ignored(session):
    connect(session)
    session.send_frame(frame(0), 0.0, 0.0)
    out(session, 0.0)
    feed(session, report(40_000, 0b11), 0.1)
    feed(session, report(70, 0b11), 0.1)
    feed(session, Feedback(7, newest=900, used=(3, 3)), 0.1)
    assert session.flow.acks.rtt is None and session.flow.acks.in_flight > 0
    assert session.take_news(0.1).confirmed == ()


def test_a_lost_packet_is_sent_again_once_and_only_while_it_can_be_in_time():
    session = make_session(retransmit=True)
    connect(session)
    said = []
    for number in range(40):
        at = number / 30
        session.send_frame(frame(number), at, at)
        said += out(session, at)
        if number == 20:
            continue
        newest = len(said) - 1
        lost = [i for i, p in enumerate(said) if i <= newest and (p.header.number, p.index) == (19, 1)][:1]
        covered = min(12, newest + 1)
        arrived = sum(1 << back for back in range(covered) if newest - back not in lost)
        feed(session, report(newest, arrived, covered, hold=0), at + 0.01)
        said += out(session, at + 0.01)
    again = [p for p in said if (p.header.number, p.index) == (19, 1)]
    assert len(again) == 2 and again[0] == again[1]


def test_retransmission_is_off_where_the_round_trip_is_long_and_on_where_it_is_short():
    assert Retransmitter.wait(None, 1 / 30, 0.15) == 0.0
    assert Retransmitter.wait(0.2, 1 / 30, 0.15) == 0.0
    assert 0.05 < Retransmitter.wait(0.02, 1 / 30, 0.15) < 0.15


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
    assert any(isinstance(p, Hello) for p in out(session, SILENCE))


def test_a_receiver_that_does_not_know_the_stream_is_asked_and_called_again_if_it_answers(session):
    connect(session)
    feed(session, Hello(7, "receiver", "x"), 0.5)
    assert out(session, 0.5) == [], "an answer to the first call that came late"
    feed(session, Hello(7, "receiver", "x"), 2.0)
    (hello,) = out(session, 2.0)
    assert session.connected, "whoever says so may lie"
    answer(session, hello, 2.1, b"u" * 16)
    assert isinstance(session.next_event(), Disconnected)
    assert [p.token for p in out(session, 2.1)] == [b"u" * 16]


def test_a_receiver_that_falls_silent_is_asked_whether_it_still_knows_us(session):
    connect(session)
    session.handle_timer(DOUBT)
    assert any(isinstance(p, Hello) for p in out(session, DOUBT))
    assert session.connected


def test_with_nothing_to_send_it_says_that_it_is_alive(session):
    connect(session)
    assert session.get_timer() == KEEP_ALIVE
    session.handle_timer(KEEP_ALIVE)
    assert out(session, KEEP_ALIVE) == [Alive(7)]


def test_a_busy_receiver_is_given_time_before_giving_up(session):
    answer(session, out(session, 0.0)[0], 0.0)
    busy = Bye(7, ByeCode.BUSY, TOKEN, "the receiver has another sender")
    feed(session, Bye(7, ByeCode.STOPPED, b"z" * 16, "forged or of another session"), 0.1)
    feed(session, busy, 0.1)
    assert session.next_event() is None
    feed(session, busy, BUSY_PATIENCE)
    assert session.next_event() == Refused("the receiver has another sender")
    assert session.get_timer() is None


def test_another_version_is_noticed_once_and_garbage_is_not(session):
    body = bytes([(PROTOCOL_VERSION + 1) << 4 | 4, 0, 7, 0, 0, 0, 0])
    other = body + struct.pack("!I", zlib.crc32(body))
    for data in (b"", b"garbage", other, other):
        session.receive_datagram(data, None, 0.0)
    notice = session.next_event()
    assert isinstance(notice, Notice) and f"version {PROTOCOL_VERSION + 1}" in notice.text
    assert session.next_event() is None
    assert session.counts == {"malformed": 2, "version": 2}


def test_the_end_waits_for_confirmations_and_then_for_the_answer(session):
    connect(session)
    session.send_frame(frame(0), 0.0, 0.0)
    out(session, 0.0)
    session.finish(0.01)
    assert out(session, 0.01) == []
    feed(session, Feedback(7, newest=0, used=(3,)), 0.05)
    assert out(session, 0.05) == [Bye(7, 0, TOKEN, "", 1)]
    feed(session, Stats(7, 1, 0, 0, 2, 0, 0), 0.06)
    feed(session, Bye(7, 0, TOKEN), 0.06)
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
