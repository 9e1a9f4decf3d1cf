"""Whole sessions whose datagrams are repeated, reflected, redirected or lost; counters and addresses that change."""

from __future__ import annotations

from collections import Counter

import pytest

from lrae.channel.config import LinkConfig
from lrae.channel.link import Link
from lrae.channel.loss import Bernoulli
from lrae.codec.wire import HANDSHAKE, Kind
from lrae.codec.wire.keys import SharedKey
from lrae.codec.wire.serial import WRAP
from lrae.experiments.null_stream import decode_nothing, null_sender
from lrae.sender.events import Ended

SECRET = SharedKey(bytes(32))
STEP, STREAM, HERE, THERE = 0.002, 5, ("192.0.2.1", 1000), ("198.51.100.7", 2000)


def test_every_datagram_said_twice_from_anywhere_is_taken_once(World, keys):
    def attack(world, data, up):
        world.later(data, HERE if world.rng.random() < 0.5 else THERE, up)

    world = World(keys, attack=attack)
    world.run(5)
    world.assert_untouched()
    doubled = world.receiver.counts + world.sender.counts
    assert doubled["replayed"] + doubled["duplicate"] + doubled["other-stream"] > 200


def test_with_a_key_what_is_replayed_later_is_refused(World):
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


def test_datagrams_reflected_to_who_sent_them_do_nothing(World):
    def attack(world, data, up):
        (world.sender if up else world.receiver).receive_datagram(data, HERE, world.now)

    world = World(SECRET, attack=attack)
    world.run(5)
    world.assert_untouched()
    assert set(world.sender.counts) <= {"key", "unexpected", "replayed", "other-stream"}
    assert world.sender.counts["key"] > 200


def test_an_old_handshake_begins_nothing_and_an_old_goodbye_ends_nothing(World, keys):
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


def test_a_dead_stream_cannot_be_kept_alive_by_its_old_config(World, keys):
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


def test_another_sender_with_a_good_token_is_told_to_wait_and_the_stream_goes_on(World, keys):
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


def test_answers_to_replayed_goodbyes_are_not_longer_than_their_cause_either(World):
    world, said = World(SECRET), []
    world.attack = lambda world, data, up: said.append(data) if up else None
    world.run(5)
    world.assert_untouched()
    for data in said:
        world.now += 0.15
        world.receiver.receive_datagram(data, THERE, world.now)
        out = [answer for answer, _ in world.receiver.datagrams_to_send(world.now)]
        assert sum(map(len, out)) <= len(data)


def test_counters_that_wrap_around_in_mid_stream_are_not_noticed(World, keys):
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


def test_with_a_key_the_sender_may_change_its_address_and_old_datagrams_do_not_bring_it_back(World):
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


@pytest.mark.parametrize("seconds", [0.5, 2.0, 3.5])
def test_after_an_outage_both_sides_know_each_other_still(World, keys, seconds):
    world = World(keys, seconds=8.0)
    world.run(2)
    dead = LinkConfig(loss=Bernoulli(1.0))
    links, world.up, world.down = (world.up, world.down), Link(dead, 1, world.now), Link(dead, 2, world.now)
    world.run(seconds)
    world.up, world.down = links
    world.run(10)
    assert [world.seen[k] for k in ("StreamStarted", "StreamEnded", "clean")] == [1, 1, 1]
    assert world.events[-1] == Ended(True)
