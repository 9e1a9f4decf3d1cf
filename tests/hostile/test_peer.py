"""A sender or receiver that has the key and a token, and is hostile all the same."""

from __future__ import annotations

import gc
import random
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.codec.types import FrameHeader
from lrae.codec.wire import (
    HANDSHAKE,
    Alive,
    DataPacket,
    Feedback,
    Kind,
    Parity,
    seal_packet,
)
from lrae.codec.wire.feedback import WHOLE
from lrae.codec.wire.keys import SharedKey
from lrae.codec.wire.serial import WRAP
from lrae.experiments.null_stream import NullFrames, decode_nothing, null_sender
from lrae.receiver.session import ReceiverSession
from lrae.sender.pacer import Pacer

SECRET = SharedKey(bytes(32))
FPS, STREAM, HERE = 30, 5, ("192.0.2.1", 1000)


class Peer:
    """A receiver with a stream that somebody hostile has begun properly; say() seals for him."""

    def __init__(self, keys=SECRET):
        self.now = 100.0
        self.receiver = ReceiverSession(0.15, keys)
        self.sender = null_sender(STREAM, keys, self.now)
        while not self.sender.connected:
            self.now += 0.05
            self.sender.handle_timer(self.now)
            for data, _ in self.sender.datagrams_to_send(self.now):
                self.receiver.receive_datagram(data, HERE, self.now)
            decode_nothing(self.receiver, self.now)
            for data, _ in self.receiver.datagrams_to_send(self.now):
                self.sender.receive_datagram(data, None, self.now)
        self.envelopes = self.sender.flow._envelope, self.receiver._envelope

    def say(self, kind, body):
        self.receiver.receive_datagram(self.envelopes[0].seal(kind, STREAM, body), HERE, self.now)

    def answer(self, packet):
        """The hostile one is the receiver."""
        self.sender.receive_datagram(seal_packet(packet, self.envelopes[1]), None, self.now)

    def pass_time(self, seconds=0.0):
        """Timers and events; a timer that asks for the same moment for ever would hang a program."""
        self.now += seconds
        for session in (self.sender, self.receiver):
            for _ in range(100):
                decode_nothing(self.receiver, self.now)
                session.datagrams_to_send(self.now)
                if (timer := session.get_timer()) is None or timer > self.now:
                    break
                session.handle_timer(self.now)
            else:
                raise AssertionError(f"{type(session).__name__} never comes to rest")


u32s, numbers = st.integers(0, WRAP - 1), st.one_of(st.integers(0, 40), st.integers(0, WRAP - 1))


@st.composite
def hostile_data(draw):
    number, k = draw(numbers), draw(st.integers(1, 64))
    intra = draw(st.booleans())
    reference = 0 if intra else (number - draw(st.integers(1, 255))) % WRAP
    header = FrameHeader(number, intra, draw(st.integers(0, 63)), k, draw(st.integers(0, 2)), reference)
    index = draw(st.integers(0, k - 1))
    others = draw(st.lists(st.integers(0, k - 1).filter(lambda other: other != index), max_size=3, unique=True))
    payloads = tuple((which, draw(st.binary(max_size=40))) for which in (*others, index))
    packet = DataPacket(STREAM, draw(u32s), header, index, payloads, draw(st.integers(0, 255)))
    return Kind.DATA, packet.body()


@st.composite
def hostile_parity(draw):
    code = draw(st.integers(0, 1))
    frames = draw(st.integers(1, 8 if code else 1))
    covered = [draw(st.integers(0, 2**8 - 1)) for _ in range(frames - 1)] + [draw(st.integers(1, 2**8 - 1))]
    packets = sum(map(int.bit_count, covered))
    row = draw(st.integers(0, 3))
    base = draw(st.integers(0, 191)) if code else draw(st.integers(row + 1, min(64, 255 - packets)))
    payload = draw(st.binary(min_size=2, max_size=60))
    return Kind.PARITY, Parity(draw(numbers), code, row, base, tuple(covered), payload).body()


IN_SESSION = sorted(set(Kind) - HANDSHAKE)
noise = st.tuples(st.sampled_from(IN_SESSION), st.binary(max_size=60))
pauses = st.sampled_from([0.0, 0.0, 0.001, 0.03, 0.2, 2.0])


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(st.one_of(hostile_data(), hostile_parity(), noise), pauses), max_size=60))
def test_whatever_a_sender_with_the_key_says_the_receiver_stands(said):
    peer = Peer()
    for (kind, body), pause in said:
        peer.say(kind, body)
        peer.pass_time(pause)
    peer.pass_time(30.0)
    assert peer.receiver.get_timer() is None, "the stream has ended"


@st.composite
def hostile_feedback(draw):
    covered = draw(st.integers(0, 255))
    arrived = draw(st.integers(0, 2**covered - 1)) | 1 if covered else 0
    times = st.lists(st.integers(-(2**33), 2**33), max_size=min(40, max(0, arrived.bit_count() - 1)))
    near = st.one_of(st.integers(0, 300), st.integers(0, 2**16 - 1))
    return Feedback(
        STREAM, draw(st.booleans()), draw(near), draw(st.integers(0, 2**16 - 1)),
        draw(st.integers(0, 2**16 - 1)), draw(st.one_of(st.integers(0, 99), st.integers(0, 2**16 - 1))),
        tuple(draw(st.lists(st.integers(WHOLE, 2**64 - 1), max_size=16))), covered, arrived, tuple(draw(times)),
    )  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(hostile_feedback(), pauses), max_size=30))
def test_whatever_a_receiver_with_the_key_reports_the_sender_stands(reports):
    peer, frames = Peer(), NullFrames(random.Random(1), 2, 50)
    for report, pause in reports:
        if peer.sender.connected:
            peer.sender.send_frame(frames.next(peer.sender.take_news(peer.now).intra_wanted), peer.now, peer.now)
        peer.pass_time(pause)
        peer.answer(report)
        acks = peer.sender.flow.acks
        assert acks.rtt is None or 0 <= acks.rtt < 1e6
        assert 0 <= acks.loss <= 1 and acks.in_flight >= 0
    peer.sender.finish(peer.now)
    for _ in range(8):
        peer.pass_time(1.0)
    assert peer.sender.get_timer() is None, "the sender has left"


def test_reports_of_loss_that_never_was_do_not_make_a_sender_say_everything_again():
    peer, frames = Peer(), NullFrames(random.Random(1), 4, 1000)
    for _ in range(300):
        peer.pass_time(1 / FPS)
        peer.sender.send_frame(frames.next(peer.sender.take_news(peer.now).intra_wanted), peer.now, peer.now)
        peer.sender.datagrams_to_send(peer.now)
        newest = peer.sender.flow._envelope.counter - 1
        peer.answer(Feedback(STREAM, counter=newest % 2**16, newest=0, covered=1, arrived=1))
    sent = peer.sender.flow.sent
    assert sent["retransmit", "bytes"] <= 0.25 * sent["data", "bytes"]


def test_a_sender_whose_rate_hardly_lets_a_packet_pass_comes_to_rest_between_two():
    peer, frames = Peer(), NullFrames(random.Random(1), 2, 1100)
    peer.sender.flow._pacer = Pacer(1000.0, 5.0)
    peer.sender.send_frame(frames.next(True), peer.now, peer.now)
    for _ in range(200):
        peer.pass_time(0.01)
        assert peer.sender.flow.queued <= 3


def grown_by(run):
    """Bytes that are still there after run(100) and another run(600)."""
    run(100)
    gc.collect()
    tracemalloc.start()
    run(600)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return grown


def test_a_hostile_sender_does_not_make_the_receiver_grow():
    peer, rng = Peer(), random.Random(1)
    bits = lambda: rng.randrange(1, 256)  # noqa: E731

    def run(count):
        for _ in range(count):
            number = rng.choice([rng.randrange(WRAP), rng.randrange(64)])
            header = FrameHeader(number, True, 30, 64)
            for index in range(4):
                packet = DataPacket.single(STREAM, rng.randrange(WRAP), header, index, bytes(900), 255)
                peer.say(Kind.DATA, packet.body())
            parity = Parity(number, 1, rng.randrange(64), rng.randrange(192), (bits(), bits(), bits()), bytes(900))
            peer.say(Kind.PARITY, parity.body())
            peer.pass_time(rng.choice([0.0, 0.01]))

    assert grown_by(run) < 1_000_000  # 64 frames and 64 parities at most, not 600


def test_a_hostile_receiver_does_not_make_the_sender_grow():
    peer, rng, frames = Peer(), random.Random(1), NullFrames(random.Random(1), 2, 500)

    def run(count):
        for _ in range(count):
            peer.sender.send_frame(frames.next(peer.sender.take_news(peer.now).intra_wanted), peer.now, peer.now)
            peer.pass_time(0.01)
            used = tuple(rng.randrange(1 << 64) for _ in range(16))
            counter, covered = rng.choice([rng.randrange(1 << 16), rng.randrange(5000)]), 255
            arrived = rng.getrandbits(covered) | 1
            times = tuple(rng.randrange(-(1 << 33), 1 << 33) for _ in range(60))
            peer.answer(
                Feedback(STREAM, rng.random() < 0.5, counter, rng.randrange(1 << 16), 0, rng.randrange(1 << 16), used,
                         covered, arrived, times)
            )  # fmt: skip

    assert grown_by(run) < 1_000_000  # 4096 datagrams and their times at most


def test_a_datagram_that_was_overtaken_on_the_old_path_does_not_bring_the_old_address_back():
    peer, moved = Peer(), ("192.0.2.99", 4242)
    first, second = (peer.envelopes[0].seal(Kind.ALIVE, STREAM, Alive(STREAM).body()) for _ in range(2))
    peer.receiver.datagrams_to_send(peer.now)
    peer.receiver.receive_datagram(second, moved, peer.now)
    peer.receiver.receive_datagram(first, HERE, peer.now)
    peer.now += 1.0
    assert {address for _, address in peer.receiver.datagrams_to_send(peer.now)} == {moved}
    assert not peer.receiver.counts
