"""Sender and receiver cores joined by simulated links under a fake clock: what a user relies on."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from lrae.channel.config import LinkConfig
from lrae.channel.link import Link
from lrae.channel.loss import Bernoulli
from lrae.codec.types import PROGRESSIVE, FrameHeader, VideoFormat
from lrae.codec.wire import ByeCode, Config, DataPacket, Hello, PlainEnvelope, parse_packet, seal_packet
from lrae.codec.wire.keys import NoKey, SharedKey
from lrae.codec.wire.serial import wrap
from lrae.receiver.events import FrameDue, StreamEnded, StreamStarted
from lrae.receiver.session import ReceiverSession
from lrae.sender.congestion import FixedRate
from lrae.sender.encoding import FrameEncoder
from lrae.sender.events import Connected, Ended
from lrae.sender.fec_fixed import FixedFec
from lrae.sender.flow import Flow
from lrae.sender.pacer import Pacer
from lrae.sender.rate import RateControl
from lrae.sender.session import SenderSession

FPS = 30


class World:
    """One sender, one receiver, two links; time passes in steps of a millisecond."""

    def __init__(self, codec, video, picture, up=None, down=None, frames=60, **options):
        self.codec, self.video, self.picture = codec, video, picture
        self.frames, self.now = frames, 100.0
        self.up, self.down = Link(up or LinkConfig(), 1), Link(down or LinkConfig(), 2)
        self.config = Config(options.get("stream", 5), video, "m", codec.model_hash)
        self.rng = random.Random(7)
        self.keys = options.pop("keys", NoKey())
        self.policy, self.retransmit = options.pop("policy", None), options.pop("retransmit", False)
        self.receiver = ReceiverSession(0.15, self.keys, self.rng.randbytes)
        self.shown, self.delays, self.events, self.streams = [], [], Counter(), []
        self.ended = None
        self.start_sender(**options)

    def start_sender(self, first_number=0, stream=5):
        self.config = replace(self.config, stream=stream)
        flow = Flow(stream, Pacer(0, 0.8 / FPS), FixedRate(0), self.policy, self.retransmit)
        self.sender = SenderSession(self.config, flow, self.keys, self.now, self.rng.randbytes)
        self.encoder = FrameEncoder(self.codec(self.video), 30, first_number=first_number)
        self.sent, self.next_frame = [], None

    def restart_receiver(self):
        self.receiver = ReceiverSession(0.15, self.keys, self.rng.randbytes)

    def run(self, seconds, receiver_is_up=True):
        end = self.now + seconds
        while self.now < end:
            self._step(receiver_is_up)
            self.now += 0.001

    def _step(self, receiver_is_up):
        now, sender, receiver = self.now, self.sender, self.receiver
        for _, data in self.down.receive(now):
            sender.receive_datagram(data, None, now)
        for _, data in self.up.receive(now):
            if receiver_is_up:
                receiver.receive_datagram(data, "sender", now)
        for session in (sender, receiver):
            timer = session.get_timer()
            if timer is not None and timer <= now and (session is sender or receiver_is_up):
                session.handle_timer(now)
        while event := receiver.next_event():
            self._on_receiver(event)
        self._capture()
        while event := sender.next_event():
            self.events[type(event)] += 1
            if isinstance(event, Ended):
                self.ended = event
        for data, _ in sender.datagrams_to_send(now):
            self.up.send(data, now)
        for data, _ in receiver.datagrams_to_send(now) if receiver_is_up else ():
            self.down.send(data, now)

    def _capture(self):
        if not self.sender.connected or len(self.sent) >= self.frames:
            return
        if self.next_frame is None:
            self.next_frame = self.now
        if self.now >= self.next_frame:
            frame = self.picture(len(self.sent))
            encoded = self.encoder.encode(frame, self.sender.take_news(self.now))
            self.sender.send_frame(encoded, self.now, self.now)
            self.sent.append((encoded, frame))
            self.next_frame += 1 / FPS
            if len(self.sent) == self.frames:
                self.sender.finish(self.now)

    def _on_receiver(self, event):
        if isinstance(event, StreamStarted):
            self.streams.append(event)
            self.decoder = self.codec(self.video)
            self.state = self.decoder.initial_state()
            self.receiver.accept(event, self.now)
        elif isinstance(event, FrameDue):
            ready = event.frame
            decoded, self.state = self.decoder.decode(self.state, ready.header, ready.payloads)
            self.receiver.decoded(event, decoded.used, self.now)
            self.shown.append((ready, decoded))
            self.delays.append(ready.delay)
        elif isinstance(event, StreamEnded):
            self.streams.append(event)

    def exact(self):
        """Numbers of the frames that were shown exactly as captured."""
        pictures = {e.header.number: f.y for e, f in self.sent}
        return [
            r.header.number
            for r, d in self.shown
            if r.header and np.array_equal(d.frame.y, pictures[r.header.number])
        ]


@pytest.fixture
def world(fake_codec, small_format, picture):
    return lambda **options: World(fake_codec, small_format, picture, **options)


def lossy(loss, delay=20.0, **more):
    return LinkConfig(loss=Bernoulli(loss), delay_ms=delay, **more)


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


def test_loss_on_both_ways_never_stops_the_stream_and_resync_makes_frames_exact_again(world):
    w = world(up=lossy(0.2), down=lossy(0.2), frames=150)
    w.run(9)
    assert w.ended == Ended(True)
    assert [r.number for r, _ in w.shown] == list(range(w.shown[0][0].number, 150))
    assert len(w.shown) >= 145
    assert w.encoder.replayed > 0
    assert any(r.header is None for r, _ in w.shown), "some frames were lost whole"
    assert w.encoder.reference.needs_intra is False
    assert abs(w.sender.flow.acks.loss - 0.2) < 0.12


def test_after_losses_have_been_told_the_next_complete_frames_are_exact(world):
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


def test_frame_numbers_may_wrap_around(world):
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


def test_feedback_that_never_comes_back_does_not_stop_a_started_stream_for_three_seconds(world):
    w = world(frames=60, down=LinkConfig())
    w.run(0.2)
    w.down = Link(lossy(1.0), 1, start=w.now)
    w.run(2.5)
    assert len(w.exact()) == 60


def test_the_same_seed_gives_the_same_stream(world):
    runs = []
    for _ in range(2):
        w = world(up=lossy(0.3), down=lossy(0.1))
        w.run(5)
        runs.append([(r.number, d.used, r.delay) for r, d in w.shown])
    assert runs[0] == runs[1]


def test_a_second_sender_is_told_that_the_receiver_is_busy(world, small_format):
    w = world(frames=150)
    w.run(1)
    config = replace(w.config, stream=9)
    flow = Flow(9, Pacer(0, 0), FixedRate(0), None, False)
    second = SenderSession(config, flow, NoKey(), w.now)
    for _ in range(5000):
        w.run(0.001)
        for data, _ in second.datagrams_to_send(w.now):
            w.receiver.receive_datagram(data, "other", w.now)
        for data, address in w.receiver.datagrams_to_send(w.now):
            second.receive_datagram(data, None, w.now) if address == "other" else w.down.send(data, w.now)
        if second.get_timer() is not None and second.get_timer() <= w.now:
            second.handle_timer(w.now)
    assert "another sender" in second.next_event().reason
    assert w.receiver.counts["busy"] > 3
    assert w.exact() == list(range(150))


def test_a_refusal_reaches_the_sender_with_its_reason(world):
    w = world()
    w._on_receiver = lambda event: isinstance(event, StreamStarted) and w.receiver.refuse(
        event, ByeCode.MODEL, "no such model", w.now
    )
    w.run(0.5)
    assert w.sender.get_timer() is None
    assert w.sent == []


def test_twenty_thousand_mutated_datagrams_raise_nothing_on_either_side_and_are_counted(world):
    w = world(frames=60, up=lossy(0.1), down=lossy(0.1))
    corpus = []
    send_up, send_down = w.up.send, w.down.send
    w.up.send = lambda data, now: (corpus.append(data), send_up(data, now))
    w.down.send = lambda data, now: (corpus.append(data), send_down(data, now))
    w.run(1.5)
    rng = random.Random(3)
    before = sum(w.receiver.counts.values()), sum(w.sender.counts.values())
    for _ in range(20_000):
        data = bytearray(rng.choice(corpus))
        kind = rng.randrange(3)
        if kind == 0:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data = data[: rng.randrange(len(data))]
        else:
            data = bytearray(rng.randbytes(rng.randrange(1500)))
        w.receiver.receive_datagram(bytes(data), rng.choice(("sender", "other")), w.now)
        w.sender.receive_datagram(bytes(data), None, w.now)
    assert sum(w.receiver.counts.values()) - before[0] == 20_000
    assert sum(w.sender.counts.values()) - before[1] == 20_000
    w.run(4)
    assert w.ended == Ended(True)


def test_intact_packets_in_any_order_from_anybody_raise_nothing_and_stay_bounded(world):
    """What a hostile peer with a right CRC can do: replay, reorder, mix streams, jump in numbers and time."""
    w = world(frames=60, up=lossy(0.1), down=lossy(0.1))
    corpus = []
    send_up, send_down = w.up.send, w.down.send
    w.up.send = lambda data, now: (corpus.append(data), send_up(data, now))
    w.down.send = lambda data, now: (corpus.append(data), send_down(data, now))
    w.run(3)
    rng = random.Random(4)
    receiver, now = ReceiverSession(0.15, NoKey()), 0.0
    sender = SenderSession(w.config, Flow(5, Pacer(0, 0.02), FixedRate(0), None, True), NoKey(), 0.0)
    due = []
    for _ in range(20_000):
        now += rng.choice((0.0, 0.0, 0.001, 0.1))
        data = rng.choice(corpus)
        receiver.receive_datagram(data, rng.choice("ab"), now)
        sender.receive_datagram(data, None, now)
        if rng.random() < 0.1:
            receiver.handle_timer(now)
            sender.handle_timer(now)
        while event := receiver.next_event():
            if isinstance(event, StreamStarted):
                receiver.accept(event, now)
            elif isinstance(event, FrameDue):
                due.append(event)
        while due and rng.random() < 0.7:
            event = due.pop(0)
            receiver.decoded(event, frozenset(event.frame.payloads), now)
        sender.take_news(now)
        assert len(receiver.datagrams_to_send(now)) <= 256
        sender.datagrams_to_send(now)
        assert len(due) <= 200


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


def test_with_a_key_everything_works_as_without_and_nothing_travels_in_clear(world):
    w = world(keys=SharedKey(bytes(range(32))), up=lossy(0.1), down=lossy(0.1), frames=90)
    seen, send_up = [], w.up.send
    w.up.send = lambda data, now: (seen.append(data), send_up(data, now))
    w.run(6)
    assert w.ended == Ended(True)
    assert len(w.shown) >= 88
    payloads = [p[:24] for e, _ in w.sent for p in e.payloads if len(p) > 32]
    assert payloads and not any(p in data for p in payloads[:20] for data in seen)


def test_a_wrong_key_gets_nothing_but_silence_and_a_counter(world):
    w = world(keys=SharedKey(bytes(range(32))))
    w.receiver = ReceiverSession(0.15, SharedKey(bytes(32)))
    answers, send_down = [], w.down.send
    w.down.send = lambda data, now: (answers.append(data), send_down(data, now))
    w.run(5)
    assert not answers and not w.sent and not w.streams
    assert w.receiver.counts["key"] > 5 and set(w.receiver.counts) == {"key"}


def test_block_parity_makes_frames_whole_that_loss_has_damaged(world):
    whole = {}
    for name, policy in (("none", None), ("block", FixedFec("block", 1.0))):
        w = world(up=lossy(0.15), frames=120, policy=policy)
        w.run(7)
        assert w.ended == Ended(True)
        whole[name] = sum(d.complete for _, d in w.shown)
    assert whole["block"] > 110 > whole["none"] + 20
    assert w.receiver.stats.recovered > 20


def test_streaming_parity_repairs_bursts_in_time(world):
    w = world(up=lossy(0.15), frames=120, policy=FixedFec("streaming", 0.5, 3))
    w.run(7)
    assert w.ended == Ended(True)
    assert sum(d.complete for _, d in w.shown) > 100
    assert max(w.delays) <= 0.152


def test_what_is_lost_is_sent_again_where_the_round_trip_allows_it(world):
    near = world(up=lossy(0.15, delay=10.0), down=LinkConfig(delay_ms=10.0), frames=120, retransmit=True)
    near.run(7)
    assert near.sender.flow.sent["retransmit", "packets"] > 10
    assert sum(d.complete for _, d in near.shown) > 105
    assert max(near.delays) <= 0.152
    far = world(up=lossy(0.15, delay=100.0), down=LinkConfig(delay_ms=100.0), frames=120, retransmit=True)
    far.run(8)
    assert far.sender.flow.sent["retransmit", "packets"] == 0


def test_a_sender_whose_address_changes_goes_on_with_a_key_at_once_and_without_after_a_new_call(world):
    for keys, calls in ((SharedKey(bytes(32)), 1), (NoKey(), 2)):
        w = world(keys=keys, frames=150)
        w.run(2)
        receive = w.receiver.receive_datagram
        w.receiver.receive_datagram = lambda data, address, now, receive=receive: receive(data, "moved", now)
        w.run(8)
        assert w.events[Connected] == calls
        assert w.exact()[-1] == 149
        assert w.ended == Ended(True)


def test_a_frame_whose_tail_was_cut_off_is_whole_when_the_rest_is_here(world):
    w = world(frames=60)
    rate = RateControl(30 * 8 * 650, FPS, 32 * 16)
    w.encoder = FrameEncoder(w.codec(w.video), rate, layout=PROGRESSIVE)
    w.run(4)
    assert w.ended == Ended(True)
    assert w.encoder.cut > 30
    assert len(w.shown) == 60 and max(w.delays) < 0.06, "nothing is waited for that was not sent"
    assert w.encoder.replayed == 0
    assert {len(d.used) for r, d in w.shown if not r.header.intra} <= {1, 2, 3}
