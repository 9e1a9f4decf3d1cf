"""What strangers, other peers and damaged packets can do to a session: nothing."""

from __future__ import annotations

import random
from dataclasses import replace

from lrae.codec.wire import ByeCode
from lrae.codec.wire.keys import NoKey, SharedKey
from lrae.receiver.events import FrameDue, StreamStarted
from lrae.receiver.session import ReceiverSession
from lrae.sender.congestion import FixedRate
from lrae.sender.events import Connected, Ended
from lrae.sender.flow import Flow
from lrae.sender.pacer import Pacer
from lrae.sender.session import SenderSession


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


def recorded(w):
    """The datagrams of both ways, from now on."""
    corpus = []
    send_up, send_down = w.up.send, w.down.send
    w.up.send = lambda data, now: (corpus.append(data), send_up(data, now))
    w.down.send = lambda data, now: (corpus.append(data), send_down(data, now))
    return corpus


def test_twenty_thousand_mutated_datagrams_raise_nothing_on_either_side_and_are_counted(world, lossy):
    w = world(frames=60, up=lossy(0.1), down=lossy(0.1))
    corpus = recorded(w)
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


def test_intact_packets_in_any_order_from_anybody_raise_nothing_and_stay_bounded(world, lossy):
    """What a hostile peer with a right CRC can do: replay, reorder, mix streams, jump in numbers and time."""
    w = world(frames=60, up=lossy(0.1), down=lossy(0.1))
    corpus = recorded(w)
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


def test_with_a_key_everything_works_as_without_and_nothing_travels_in_clear(world, lossy):
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
