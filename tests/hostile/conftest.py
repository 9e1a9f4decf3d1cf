"""What the tests against strangers and replayers share: a world in virtual time with somebody who sees everything."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from lrae.channel.config import LinkConfig
from lrae.channel.link import Link
from lrae.codec.wire.keys import NoKey, SharedKey
from lrae.experiments.null_stream import NullFrames, decode_nothing, null_sender
from lrae.receiver.session import ReceiverSession
from lrae.sender.events import Ended
from lrae.sender.fec_fixed import FixedFec

FPS, STEP, STREAM = 30, 0.002, 5
HERE = ("192.0.2.1", 1000)


@pytest.fixture(params=[NoKey(), SharedKey(bytes(32))], ids=["no-key", "key"])
def keys(request):
    return request.param


class _World:
    """A sender at HERE, a receiver, 20 ms each way, and somebody elsewhere who sees all and says what he likes.

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


@pytest.fixture(name="World")
def _make_world():
    return _World
