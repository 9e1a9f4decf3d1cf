"""One clip through one network: builds the session that lrae-send and lrae-recv would have, and runs it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from lrae.channel.config import LinkConfig
from lrae.channel.link import Link
from lrae.channel.loss import parse_loss
from lrae.channel.rate import parse_rate
from lrae.codec import make_decoder, make_encoder
from lrae.codec.types import LAYOUTS
from lrae.codec.wire import Config
from lrae.codec.wire.keys import NoKey
from lrae.experiments.clips import Clip
from lrae.experiments.viewing import Viewing, view
from lrae.experiments.virtual import Outcome, VirtualSession
from lrae.receiver.session import ReceiverSession
from lrae.sender.congestion import AdaptiveRate, FixedRate
from lrae.sender.encoding import FrameEncoder
from lrae.sender.flow import Flow
from lrae.sender.main import LONGEST_QUEUE, QUEUE_SECONDS, parse_fec
from lrae.sender.pacer import Pacer
from lrae.sender.rate import RateControl
from lrae.sender.session import SenderSession


@dataclass(frozen=True)
class Network:
    """Both ways lose alike; only the way to the receiver has a limited rate. loss, rate: as parse_loss and parse_rate
    read them. rtt, jitter: seconds, both ways together; jitter as in LinkConfig, one way."""

    loss: str = "none"
    rtt: float = 0.04
    rate: str = "unlimited"
    jitter: float = 0.0
    queue_bytes: int = 64 * 1024


@dataclass(frozen=True)
class Setup:
    """What lrae-send and lrae-recv are told. bitrate: bit/s, None: auto. fec: as lrae-send --fec."""

    bitrate: int | None = 400_000
    fec: str = "auto"
    retransmit: bool = True
    layout: str = LAYOUTS[0]
    packets: int | None = None
    deadline: float = 0.15
    model: str = "m"
    encode_time: float = 0.025
    decode_time: float = 0.015


def viewing_delay(setup: Setup, network: Network) -> float:
    """Seconds from capture until a frame is due on screen: coding, the way there, the deadline (which counts from the
    earliest possible arrival) and decoding."""
    return setup.encode_time + network.rtt / 2 + setup.deadline + setup.decode_time


def run_stream(clip: Clip, setup: Setup, network: Network, seed: int = 0) -> tuple[Viewing, Outcome]:
    """Runs a clip in virtual time. Same arguments, same result (the codec's computing time is charged, not measured).

    Raises ConfigError, TraceError.
    """
    video, rng = clip.format, random.Random(f"{seed}:session")
    fps, pixels = float(video.fps), video.width * video.height
    encoder, decoder = make_encoder(setup.model, video), make_decoder(setup.model, video)
    adaptive = setup.bitrate is None
    controller = AdaptiveRate() if adaptive else FixedRate(setup.bitrate)
    pacer = Pacer(controller.rate, LONGEST_QUEUE if adaptive else QUEUE_SECONDS)
    flow = Flow(1, pacer, controller, parse_fec(setup.fec, setup.retransmit), setup.retransmit)
    layout = LAYOUTS.index(setup.layout)
    config = Config(1, video, "m", encoder.model_hash, packets=setup.packets or 0, layout=layout)
    rate = RateControl(controller.rate, fps, pixels)
    frames = FrameEncoder(encoder, rate, setup.packets, layout, seed=seed, worth=True)
    loss = parse_loss(network.loss)
    common = {"loss": loss, "delay_ms": network.rtt * 500, "jitter_ms": network.jitter * 1e3}
    up = Link(LinkConfig(**common, rate=parse_rate(network.rate), queue_bytes=network.queue_bytes), f"{seed}:up")
    session = VirtualSession(
        clip.frames,
        fps,
        SenderSession(config, flow, NoKey(), 0.0, rng.randbytes),
        frames,
        ReceiverSession(setup.deadline, NoKey(), rng.randbytes),
        decoder,
        up,
        Link(LinkConfig(**common), f"{seed}:down"),
        setup.deadline,
        setup.encode_time,
        setup.decode_time,
    )
    outcome = session.run()
    return view(clip, outcome, viewing_delay(setup, network))[0], outcome
