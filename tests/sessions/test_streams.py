"""Sender and receiver cores joined by simulated links under a fake clock: what a user relies on."""

from __future__ import annotations

import gc
import random
import tracemalloc
from dataclasses import replace

from lrae.channel.config import LinkConfig
from lrae.channel.link import Link
from lrae.channel.loss import Bernoulli
from lrae.codec.types import FrameHeader, VideoFormat
from lrae.codec.wire import Config, DataPacket, Hello, PlainEnvelope, parse_packet, seal_packet
from lrae.codec.wire.keys import NoKey
from lrae.codec.wire.serial import wrap
from lrae.receiver.session import ReceiverSession
from lrae.sender.events import Connected, Ended


def test_a_clean_link_shows_every_frame_exactly_and_both_sides_say_goodbye(world):
    w = world()
    w.run(4)
    assert w.exact() == list(range(60))
    assert w.ended == Ended(True)
    ended = w.streams[-1]
    assert (ended.clean, ended.stats.frames, ended.stats.partial, ended.stats.lost) == (True, 60, 0, 0)
    assert not w.receiver.counts and not w.sender.counts
    assert w.encoder.replayed == 0
    assert [e.header.intra for e, _ in w.sent] == [True] + 59 * [False]


def test_loss_on_both_ways_never_stops_the_stream_and_resync_makes_frames_exact_again(world, lossy):
    w = world(up=lossy(0.2), down=lossy(0.2), frames=150)
    w.run(9)
    assert w.ended == Ended(True)
    assert [r.number for r, _ in w.shown] == list(range(w.shown[0][0].number, 150))
    assert len(w.shown) >= 145
    assert w.encoder.replayed > 0
    assert any(r.header is None for r, _ in w.shown), "some frames were lost whole"
    assert w.encoder.reference.needs_intra is False
    assert abs(w.sender.flow.acks.loss - 0.2) < 0.12


def test_after_losses_have_been_told_the_next_complete_frames_are_exact(world, lossy):
    w = world(up=lossy(0.2), frames=90)
    w.run(1.5)
    w.up.config = replace(w.up.config, loss=Bernoulli(0.0))
    w.up = Link(LinkConfig(delay_ms=20.0), 1, start=w.now)
    w.run(4)
    assert w.exact()[-30:] == list(range(60, 90))


def test_reordering_duplication_and_damage_are_counted_and_do_no_harm(world):
    w = world(
        up=LinkConfig(delay_ms=20.0, reorder=0.2, reorder_ms=30.0, duplicate=0.2, corrupt=0.05),
        down=LinkConfig(delay_ms=20.0, reorder=0.2, reorder_ms=30.0, duplicate=0.2, corrupt=0.05),
        frames=150,
    )
    w.run(9)
    assert w.ended == Ended(True)
    assert w.receiver.counts["duplicate"] > 20
    assert w.receiver.counts["malformed"] > 2
    assert w.sender.counts["malformed"] > 2
    assert len(w.shown) >= 148
    assert max(w.delays) <= 0.152


def test_a_late_packet_teaches_the_receiver_to_wait_for_reordered_ones(world):
    w = world(up=LinkConfig(delay_ms=20.0, reorder=0.1, reorder_ms=60.0), frames=300)
    w.run(14)
    assert len(w.exact()) > 0.75 * 300


def test_frame_numbers_may_wrap_around(world, lossy):
    w = world(up=lossy(0.1), first_number=2**32 - 30, frames=90)
    w.run(6)
    assert w.ended == Ended(True)
    assert len(w.shown) >= 88
    assert w.exact()[-1] < 60


def test_a_receiver_may_start_long_after_the_sender(world):
    w = world(frames=30)
    w.run(5, receiver_is_up=False)
    assert not w.sent
    w.run(4)
    assert w.exact() == list(range(30))


def test_a_receiver_that_is_restarted_gets_an_intra_frame_and_goes_on(world):
    w = world(frames=150)
    w.run(2)
    w.restart_receiver()
    w.run(8)
    assert w.events[Connected] == 2
    assert sum(e.header.intra for e, _ in w.sent) == 2
    assert w.exact()[-1] == 149
    assert w.ended == Ended(True)


def test_an_outage_is_survived(world):
    w = world(frames=300)
    w.run(2)
    w.run(3.5, receiver_is_up=False)
    w.run(12)
    assert w.exact()[-30:] == list(range(270, 300))
    assert w.ended == Ended(True)


def test_a_sender_that_vanishes_ends_its_stream_and_the_next_one_is_taken(world):
    w = world(frames=300)
    w.run(2)
    shown = len(w.shown)
    w.start_sender(stream=6)
    w.frames = 30
    w.run(4)
    started, ended, second, end = w.streams
    assert not ended.clean and ended.stream is started and ended.stats.frames == shown
    assert second.config.stream == 6 and end.clean and end.stats.frames == 30


def test_feedback_that_never_comes_back_does_not_stop_a_started_stream_for_three_seconds(world, lossy):
    w = world(frames=60, down=LinkConfig())
    w.run(0.2)
    w.down = Link(lossy(1.0), 1, start=w.now)
    w.run(2.5)
    assert len(w.exact()) == 60


def test_the_same_seed_gives_the_same_stream(world, lossy):
    runs = []
    for _ in range(2):
        w = world(up=lossy(0.3), down=lossy(0.1))
        w.run(5)
        runs.append([(r.number, d.used, r.delay) for r, d in w.shown])
    assert runs[0] == runs[1]


def test_the_memory_of_a_receiver_is_flat_over_ten_thousand_frames():
    receiver, marks, envelope = ReceiverSession(0.15, NoKey()), [], PlainEnvelope()
    hello = Hello(5, "sender", "x", bytes(16), padding=bytes(96))
    receiver.receive_datagram(seal_packet(hello, envelope), "a", 0.0)
    ((answer, _),) = receiver.datagrams_to_send(0.0)
    token = parse_packet(envelope.unseal(answer)).token
    config = Config(5, VideoFormat(64, 48), "m", "0" * 16, token=token)
    receiver.receive_datagram(seal_packet(config, envelope), "a", 0.0)
    receiver.accept(receiver.next_event(), 0.0)
    rng = random.Random(1)
    tracemalloc.start()
    for number in range(10_001):
        now = number / 30
        header = FrameHeader(number, number == 0, 30, 2, 0, max(0, number - 1))
        for index in range(2):
            if number == 0 or rng.random() > 0.1:
                packet = DataPacket.single(5, wrap(number * 33_333), header, index, bytes(500))
                receiver.receive_datagram(seal_packet(packet, envelope), "a", now)
            else:
                envelope.counter += 1
        receiver.handle_timer(now)
        while event := receiver.next_event():
            receiver.decoded(event, frozenset(event.frame.payloads), now)
        receiver.datagrams_to_send(now)
        if number % 2000 == 0:
            gc.collect()
            marks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert receiver.stats.frames > 9_990
    assert max(marks[1:]) - min(marks[1:]) < 200_000, "bytes; keeping the packets would take 9 million"
