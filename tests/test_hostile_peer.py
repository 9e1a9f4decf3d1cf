"""Whole sessions against strangers, forgers, replayers and hostile peers with the right key: silence and a counter."""

from __future__ import annotations

import asyncio
import gc
import random
import re
import socket
import tracemalloc
import zlib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.channel.config import LinkConfig
from lrae.channel.link import Link
from lrae.channel.loss import Bernoulli
from lrae.codec.types import FrameHeader, VideoFormat
from lrae.codec.wire import (
    HANDSHAKE,
    MTU,
    Alive,
    Bye,
    Config,
    DataPacket,
    Feedback,
    Hello,
    Kind,
    Parity,
    Stats,
    seal_packet,
)
from lrae.codec.wire.control import PADDING
from lrae.codec.wire.keys import NoKey, SharedKey, write_key
from lrae.codec.wire.serial import WRAP
from lrae.errors import WireError
from lrae.experiments.null_stream import NullFrames, decode_nothing, null_sender
from lrae.receiver import main as recv
from lrae.receiver.session import ReceiverSession
from lrae.sender.events import Ended
from lrae.sender.fec_fixed import FixedFec
from lrae.sender.pacer import Pacer

FPS, STEP = 30, 0.002
SECRET, OTHER = SharedKey(bytes(32)), SharedKey(b"\1" * 32)
BOTH = pytest.mark.parametrize("keys", [NoKey(), SECRET], ids=["no-key", "key"])
STREAM, HERE, THERE = 5, ("192.0.2.1", 1000), ("198.51.100.7", 2000)
MAX_BODY = MTU - 31


class World:
    """A sender at HERE, a receiver, 20 ms each way, and somebody at THERE who sees all and says what he likes.

    attack(world, data, up): called for each datagram that is sent, whether up to the receiver or down to the sender.
    """

    def __init__(self, keys, seconds=2.0, attack=None, receiver_keys=None, start=100.0):
        self.keys, self.frames, self.attack, self.now = keys, round(seconds * FPS), attack, start
        self.rng = random.Random(3)
        self.receiver = ReceiverSession(0.15, receiver_keys or keys, self.rng.randbytes)
        self.sender = null_sender(STREAM, keys, start, FixedFec("streaming", 0.25, 3), True)
        self.up, self.down = (Link(LinkConfig(delay_ms=20.0), seed, start) for seed in (1, 2))
        self.source, self.sent, self.at = NullFrames(self.rng, 3, 300), 0, None
        self.seen, self.events, self.address = Counter(), [], HERE
        self.to_stranger, self.waiting = [], []

    def later(self, data, address, up):
        """`data` comes to the receiver from `address`, or down to the sender, when a true datagram would."""
        self.waiting.append((self.now + 0.02, data, address, up))

    def run(self, seconds):
        end = self.now + seconds
        while self.now < end:
            self.step()
            self.now += STEP

    def step(self):
        now, sender, receiver = self.now, self.sender, self.receiver
        for _, data in self.down.receive(now):
            sender.receive_datagram(data, None, now)
        for _, data in self.up.receive(now):
            receiver.receive_datagram(data, self.address, now)
        while self.waiting and self.waiting[0][0] <= now:
            _, data, address, up = self.waiting.pop(0)
            (receiver if up else sender).receive_datagram(data, address, now)
        for session in (sender, receiver):
            timer = session.get_timer()
            if timer is not None and timer <= now:
                session.handle_timer(now)
        self.seen += decode_nothing(receiver, now)
        self.capture()
        while event := sender.next_event():
            self.events.append(event)
        for data, _ in sender.datagrams_to_send(now):
            self.up.send(data, now)
            if self.attack:
                self.attack(self, data, True)
        for data, address in receiver.datagrams_to_send(now):
            if address == self.address:
                self.down.send(data, now)
                if self.attack:
                    self.attack(self, data, False)
            else:
                self.to_stranger.append(data)

    def capture(self):
        if self.sender.connected and self.sent < self.frames:
            self.at = self.at or self.now
            if self.now >= self.at:
                intra = self.sender.take_news(self.now).intra_wanted
                self.sender.send_frame(self.source.next(intra), self.now, self.now)
                self.sent, self.at = self.sent + 1, self.at + 1 / FPS
                if self.sent == self.frames:
                    self.sender.finish(self.now)

    def assert_untouched(self):
        """The stream ran as if nobody else were there."""
        assert [e for e in self.events if isinstance(e, Ended)] == [Ended(True)]
        kinds = ("StreamStarted", "StreamEnded", "whole", "partial", "lost", "clean")
        assert [self.seen[k] for k in kinds] == [1, 1, self.frames, 0, 0, 1]


def damaged(data, rng):
    """One to three bytes after the first changed."""
    data = bytearray(data)
    for at in rng.sample(range(1, len(data)), min(3, len(data) - 1)):
        data[at] ^= rng.randrange(1, 256)
    return bytes(data)


def crc(head):
    return head + zlib.crc32(head).to_bytes(4)


def plain(packet):
    return seal_packet(packet, NoKey().handshake("sender"))


INTRA = FrameHeader(0, True, 30, 3)
DATA = DataPacket(STREAM, 0, INTRA, 0, b"x" * 300, 255)

# what anybody can do without the key: datagram and generator of random numbers -> datagram, and a reason that it gets
BY_ANYBODY = {
    "garbage": (lambda data, rng: rng.randbytes(rng.randrange(60)), "version"),
    "empty": (lambda data, rng: b"", "malformed"),
    "truncated": (lambda data, rng: data[: rng.randrange(len(data))], "malformed"),
    "longer": (lambda data, rng: data + rng.randbytes(9), "damage"),
    "oversized": (lambda data, rng: data[:3] + bytes(MTU), "malformed"),
    "damaged": (damaged, "damage"),
    "other version": (lambda data, rng: crc(b"\x31" + data[1:60]), "version"),
    "unknown type": (lambda data, rng: crc(b"\x2f" + data[1:60]), "malformed"),
    "bomb": (lambda data, rng: crc(b"\x25" + data[1:7] + b"\x91" * 1000), "damage"),
}
REASONS = {"malformed", "version", "key", "replayed", "unknown-stream", "other-stream", "unexpected"}


@BOTH
@pytest.mark.parametrize("name", BY_ANYBODY)
def test_nonsense_from_anybody_is_counted_and_changes_nothing(keys, name):
    make, reason = BY_ANYBODY[name]
    count = 0

    def attack(world, data, up):
        nonlocal count
        bad = make(data, world.rng)
        if up:
            world.receiver.receive_datagram(bad, THERE, world.now)
            world.receiver.receive_datagram(bad, HERE, world.now)
        else:
            world.sender.receive_datagram(bad, None, world.now)
        count += 2 if up else 1

    world = World(keys, attack=attack)
    world.run(5)
    counts = world.receiver.counts + world.sender.counts
    if reason == "damage" or (reason == "version" and name == "garbage" and not keys.secret):
        reason = "key" if keys.secret else "malformed"
    assert sum(counts.values()) == count > 300
    assert set(counts) <= REASONS and counts[reason] > 20
    world.assert_untouched()


@BOTH
def test_every_datagram_said_twice_from_anywhere_is_taken_once(keys):
    def attack(world, data, up):
        world.later(data, HERE if world.rng.random() < 0.5 else THERE, up)

    world = World(keys, attack=attack)
    world.run(5)
    world.assert_untouched()
    doubled = world.receiver.counts + world.sender.counts
    assert doubled["replayed"] + doubled["duplicate"] + doubled["other-stream"] > 200


def test_with_a_key_what_is_replayed_later_is_refused():
    kept = []

    def attack(world, data, up):
        if data[0] & 15 not in HANDSHAKE:
            kept.append((world.now, data, up))
        while kept and kept[0][0] < world.now - 0.5:
            _, old, up = kept.pop(0)
            (world.receiver if up else world.sender).receive_datagram(old, THERE, world.now)

    world = World(SECRET, attack=attack)
    world.run(5)
    world.assert_untouched()
    assert world.receiver.counts["replayed"] > 150 and world.sender.counts["replayed"] > 30
    assert not world.to_stranger, "feedback went to a stranger"


def test_datagrams_reflected_to_who_sent_them_do_nothing():
    def attack(world, data, up):
        (world.sender if up else world.receiver).receive_datagram(data, HERE, world.now)

    world = World(SECRET, attack=attack)
    world.run(5)
    world.assert_untouched()
    assert set(world.sender.counts) <= {"key", "unexpected", "replayed", "other-stream"}
    assert world.sender.counts["key"] > 200


@pytest.mark.parametrize(
    ("ours", "theirs"), [(SECRET, OTHER), (NoKey(), SECRET), (SECRET, NoKey())], ids=["other", "none", "not-expected"]
)
def test_a_wrong_key_gets_nothing_but_silence_and_a_counter(ours, theirs):
    answers, calls = [], []

    def attack(world, data, up):
        (calls if up else answers).append(data)

    world = World(ours, receiver_keys=theirs, attack=attack)
    world.run(10)
    assert len(calls) > 5 and not answers and not world.to_stranger
    assert world.receiver.counts == {"key" if theirs.secret else "malformed": len(calls)}
    assert not world.seen and not world.events


def test_of_another_version_a_program_with_a_key_says_nothing_either():
    world = World(SECRET)
    for _ in range(100):
        world.receiver.receive_datagram(crc(b"\x31" + bytes(60)), THERE, world.now)
        world.sender.receive_datagram(crc(b"\x31" + bytes(60)), None, world.now)
    world.run(0.5)
    assert world.receiver.counts["version"] == 100 and not world.to_stranger
    assert "Notice" not in world.seen and not any(type(e).__name__ == "Notice" for e in world.events)


@BOTH
def test_an_old_handshake_begins_nothing_and_an_old_goodbye_ends_nothing(keys):
    first = World(keys)
    old = []
    first.attack = lambda world, data, up: old.append(data) if up and data[0] & 15 in HANDSHAKE else None
    first.run(5)
    first.assert_untouched()
    assert {data[0] & 15 for data in old} == {Kind.HELLO, Kind.CONFIG, Kind.BYE}

    second = World(keys, start=first.now, seconds=3.0)
    second.receiver = first.receiver
    second.seen = Counter()
    for address in (HERE, THERE):  # nothing runs, all of it comes again
        for data in old:
            second.receiver.receive_datagram(data, address, second.now)
    assert not decode_nothing(second.receiver, second.now)

    def attack(world, data, up):
        for again in old if up else ():
            world.receiver.receive_datagram(again, HERE, world.now)

    second.attack = attack
    second.run(6)
    assert second.seen["StreamStarted"] == 1 and second.seen["whole"] == second.frames and second.seen["clean"] == 1


@BOTH
def test_a_dead_stream_cannot_be_kept_alive_by_its_old_config(keys):
    world, old = World(keys), []
    world.attack = lambda world, data, up: old.append(data) if up and data[0] & 15 == Kind.CONFIG else None
    world.run(1)
    assert world.seen["StreamStarted"] == 1 and not world.seen["StreamEnded"]
    for _ in range(100):  # the sender is gone
        world.now += 0.1
        world.receiver.receive_datagram(old[0], THERE, world.now)
        world.receiver.handle_timer(world.now)
        world.receiver.datagrams_to_send(world.now)
    world.seen += decode_nothing(world.receiver, world.now)
    assert world.seen["StreamEnded"] == 1


@BOTH
def test_another_sender_with_a_good_token_is_told_to_wait_and_the_stream_goes_on(keys):
    world = World(keys, seconds=4.0)
    world.run(0.5)
    rival = null_sender(STREAM, keys, world.now)
    end, said = world.now + 2, []
    while world.now < end:
        world.step()
        if (timer := rival.get_timer()) is not None and timer <= world.now:
            rival.handle_timer(world.now)
        for data, _ in rival.datagrams_to_send(world.now):
            world.receiver.receive_datagram(data, THERE, world.now)
        for data, address in world.receiver.datagrams_to_send(world.now):
            if address == THERE:
                said.append(data)
                rival.receive_datagram(data, None, world.now)
            else:
                world.down.send(data, world.now)
        world.now += STEP
    world.run(4)
    assert world.receiver.counts["busy"] > 0 and rival.counts["busy"] > 0 and not rival.connected
    world.assert_untouched()


def answers(receiver, data, address, now):
    receiver.receive_datagram(data, address, now)
    return [answer for answer, _ in receiver.datagrams_to_send(now)]


def strangers_packets(keys):
    """What somebody without a token can say, with the key and without."""
    hand, session = keys.handshake("sender"), keys.session(bytes(16), bytes(16), STREAM, "sender")
    config = Config(STREAM, VideoFormat(448, 256), "m", "0" * 16)
    packets = [
        Hello(STREAM, "sender", "", bytes(16)),
        Hello(STREAM, "sender", "x" * 160, bytes(16)),
        Hello(STREAM, "sender", "lrae", bytes(16), padding=bytes(PADDING)),
        Hello(STREAM, "receiver", "lrae"),
        config,
        Bye(STREAM, 0),
        Bye(STREAM, 0, bytes(16), "x" * 160),
    ]
    yield from (seal_packet(packet, hand) for packet in packets)
    packets = DATA, Alive(STREAM), Stats(STREAM, *[0] * 6), Feedback(STREAM)
    yield from (seal_packet(packet, session) for packet in packets)
    yield session.seal(Kind.PARITY, STREAM, bytes(20))
    for size in (0, 1, 5, 7, 10, 20, 40, 100, 1180):
        yield crc(bytes([0x31]) + bytes(size))  # of another version
        yield crc(bytes([0x21]) + bytes(size))


@BOTH
@pytest.mark.parametrize("running", [False, True])
def test_no_answer_to_a_stranger_is_longer_than_its_cause(keys, running):
    world = World(keys, seconds=10.0)
    if running:
        world.run(1)
    receiver, answered = world.receiver, 0
    receiver.datagrams_to_send(world.now)
    for data in strangers_packets(keys):
        world.now += 0.15  # beyond what limits the rate of some answers
        receiver.datagrams_to_send(world.now)
        receiver.receive_datagram(data, THERE, world.now)
        said = [d for d, address in receiver.datagrams_to_send(world.now) if address == THERE]
        assert sum(map(len, said)) <= len(data) and len(said) <= 1
        answered += len(said)
    assert answered >= 1 and receiver.counts["amplification"] >= 1


def test_answers_to_replayed_goodbyes_are_not_longer_than_their_cause_either():
    world, said = World(SECRET), []
    world.attack = lambda world, data, up: said.append(data) if up else None
    world.run(5)
    world.assert_untouched()
    for data in said:
        world.now += 0.15
        out = answers(world.receiver, data, THERE, world.now)
        assert sum(map(len, out)) <= len(data)


@BOTH
def test_counters_that_wrap_around_in_mid_stream_are_not_noticed(keys):
    class Late:
        """Sessions that have gone on for four thousand million datagrams."""

        secret, handshake = keys.secret, staticmethod(keys.handshake)

        @staticmethod
        def session(nonce, token, stream, role):
            envelope = keys.session(nonce, token, stream, role)
            envelope.counter = WRAP - 100 if role == "sender" else WRAP - 20
            return envelope

    world = World(Late)
    world.run(5)
    world.assert_untouched()
    assert not world.receiver.counts and not world.sender.counts
    assert world.sender.flow.acks.loss < 0.05


@BOTH
def test_floods_of_hellos_configs_and_strange_streams_leave_memory_where_it_was(keys):
    receiver, rng = ReceiverSession(0.15, keys), random.Random(1)
    hand = keys.handshake("sender")
    config = Config(0, VideoFormat(448, 256), "m", "0" * 16)

    def flood(count):
        for n in range(count):
            address = (f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}", rng.randrange(1 << 16))
            stream = rng.randrange(1 << 16)
            now = 100 + n * 1e-3
            packet = Hello(stream, "sender", "flood", rng.randbytes(16), padding=bytes(PADDING))
            for data in (
                seal_packet(packet, hand),
                hand.seal(Kind.CONFIG, stream, config.body()),
                hand.seal(Kind.BYE, stream, Bye(stream, 0, rng.randbytes(16)).body()),
                keys.session(b"", b"", stream, "sender").seal(Kind.DATA, stream, DATA.body()),
                crc(bytes([rng.randrange(48, 256)]) + rng.randbytes(12)),
            ):
                receiver.receive_datagram(data, address, now)
            if n % 50 == 0:
                receiver.datagrams_to_send(now)
                decode_nothing(receiver, now)

    flood(300)
    gc.collect()
    tracemalloc.start()
    flood(1500)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 150_000  # the datagrams that wait to be sent, and no more
    assert len(receiver.counts) < 12 and receiver.counts["token"] == 1800


def test_with_a_key_the_sender_may_change_its_address_and_old_datagrams_do_not_bring_it_back():
    moved, old = ("192.0.2.99", 4242), []

    def attack(world, data, up):
        if up:
            old.append(data)
            if world.address == moved:  # the first half of the stream comes again from where it was
                world.receiver.receive_datagram(old[len(old) // 2], HERE, world.now)

    world = World(SECRET, attack=attack)
    world.run(1)
    world.address = moved
    world.run(4)
    world.assert_untouched()
    assert world.sender.flow.acks.loss < 0.05


def test_a_datagram_that_was_overtaken_on_the_old_path_does_not_bring_the_old_address_back():
    peer, moved = Peer(), ("192.0.2.99", 4242)
    first, second = (peer.envelopes[0].seal(Kind.ALIVE, STREAM, Alive(STREAM).body()) for _ in range(2))
    peer.receiver.datagrams_to_send(peer.now)
    peer.receiver.receive_datagram(second, moved, peer.now)
    peer.receiver.receive_datagram(first, HERE, peer.now)
    peer.now += 1.0
    assert {address for _, address in peer.receiver.datagrams_to_send(peer.now)} == {moved}
    assert not peer.receiver.counts


@BOTH
@pytest.mark.parametrize("seconds", [0.5, 2.0, 3.5])
def test_after_an_outage_both_sides_know_each_other_still(keys, seconds):
    world = World(keys, seconds=8.0)
    world.run(2)
    dead = LinkConfig(loss=Bernoulli(1.0))
    links, world.up, world.down = (world.up, world.down), Link(dead, 1, world.now), Link(dead, 2, world.now)
    world.run(seconds)
    world.up, world.down = links
    world.run(10)
    assert [world.seen[k] for k in ("StreamStarted", "StreamEnded", "clean")] == [1, 1, 1]
    assert world.events[-1] == Ended(True)


def test_without_a_key_a_session_belongs_to_its_address():
    world = World(NoKey())
    world.run(1)
    envelope = NoKey().session(b"", b"", STREAM, "sender")
    envelope.counter = 10_000
    for n in range(50):
        forged = seal_packet(DataPacket(STREAM, n, FrameHeader(1000 + n, True, 30, 1), 0, b"x"), envelope)
        world.receiver.receive_datagram(forged, THERE, world.now)
    world.run(4)
    world.assert_untouched()
    assert world.receiver.counts["other-stream"] == 50


# peers that have the key and a token, and are hostile all the same


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
    packet = DataPacket(STREAM, draw(u32s), header, index, draw(st.binary(max_size=40)), draw(st.integers(0, 255)))
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
        tuple(draw(st.lists(st.integers(0, 2**64 - 1), max_size=16))), covered, arrived, tuple(draw(times)),
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
                peer.say(Kind.DATA, DataPacket(STREAM, rng.randrange(WRAP), header, index, bytes(900), 255).body())
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


@BOTH
def test_twenty_thousand_forged_datagrams_are_all_counted_and_raise_nothing(keys):
    world, rng = World(keys, seconds=60.0), random.Random(5)
    world.run(0.5)
    kinds, total = list(Kind), 0
    forged = OTHER if keys.secret else keys
    envelopes = forged.handshake("sender"), forged.session(bytes(16), bytes(16), STREAM, "sender")
    before = sum(world.receiver.counts.values())
    for _ in range(20_000):
        kind = rng.choice(kinds)
        body = rng.randbytes(rng.randrange(60))
        data = envelopes[kind not in HANDSHAKE].seal(kind, rng.randrange(1 << 16), body)
        world.receiver.receive_datagram(data, THERE, world.now)
        total += 1
    assert sum(world.receiver.counts.values()) - before == total
    assert world.receiver.counts["key" if keys.secret else "malformed"] > 0
    world.run(0.5)
    assert world.seen["StreamEnded"] == 0 and world.seen["partial"] == world.seen["lost"] == 0


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.sampled_from([NoKey(), SECRET]))
def test_no_envelope_raises_anything_but_wire_errors(data, keys):
    for envelope in (keys.handshake("sender"), keys.session(bytes(16), bytes(16), 1, "receiver")):
        try:
            envelope.unseal(data)
        except WireError as error:
            assert error.reason in {"malformed", "version", "key", "replayed"}


def test_the_security_page_names_every_reason_under_which_datagrams_are_counted():
    root = Path(__file__).parents[1]
    text = "".join(
        (root / name).read_text()
        for name in ("receiver/session.py", "receiver/reception.py", "receiver/jitter.py", "sender/session.py",
                     "codec/wire/envelope.py", "lrae/errors.py")
    )  # fmt: skip
    found = set(re.findall(r'(?:return|reason =|_counts\[|counts\[) ?"([a-z-]+)"', text))
    page = (root / "docs" / "security.md").read_text()
    listed = re.findall(r"^\| `([a-z-]+)` \| (?:both|sender|receiver) \|", page, re.M)
    assert len(found) > 15 and found == set(listed)


def test_without_a_key_a_receiver_listens_on_loopback_only_unless_told(capsys, tmp_path):
    write_key(tmp_path / "key")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert recv.main(["--listen", f"0.0.0.0:{port}"]) == 1
    said = capsys.readouterr().err
    assert "--key" in said and "--insecure" in said and said.count("\n") == 1

    async def listens(*options):
        task = asyncio.create_task(recv.receive(recv.build_parser().parse_args([*options, "--quiet"])))
        done, _ = await asyncio.wait([task], timeout=0.3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return not done

    for options in (
        [f"0.0.0.0:{port}", "--insecure"],
        [f"0.0.0.0:{port}", "--key", str(tmp_path / "key")],
        [f"127.0.0.1:{port}"],
        [f"localhost:{port}"],
    ):
        assert asyncio.run(listens("--listen", *options)), options
