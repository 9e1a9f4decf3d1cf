"""A world of one sender, one receiver and two links under a fake clock, for tests of whole sessions."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from lrae.channel.config import LinkConfig
from lrae.channel.link import Link
from lrae.channel.loss import Bernoulli
from lrae.codec.wire import Config
from lrae.codec.wire.keys import NoKey
from lrae.receiver.events import FrameDue, StreamEnded, StreamStarted
from lrae.receiver.session import ReceiverSession
from lrae.sender.congestion import FixedRate
from lrae.sender.encoding import FrameEncoder
from lrae.sender.events import Ended
from lrae.sender.flow import Flow
from lrae.sender.pacer import Pacer
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


@pytest.fixture
def lossy():
    """lossy(loss, delay=20.0, …) -> LinkConfig, delay in milliseconds."""

    def make(loss, delay=20.0, **more):
        return LinkConfig(loss=Bernoulli(loss), delay_ms=delay, **more)

    return make
