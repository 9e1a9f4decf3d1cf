"""One clip through one network: builds the session that lrae-send and lrae-recv would have, and runs it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from lrae.channel.config import LinkConfig
from lrae.channel.link import Link
from lrae.channel.loss import parse_loss
from lrae.channel.pings import Pings, read_pings
from lrae.channel.rate import parse_rate
from lrae.codec import conventional, make_decoder, make_encoder
from lrae.codec.api import Decoder, Encoder
from lrae.codec.types import LAYOUTS, EncodedFrame, VideoFormat
from lrae.codec.wire import Config, payload_room
from lrae.codec.wire.keys import NoKey
from lrae.experiments.clips import Clip
from lrae.experiments.viewing import Viewing, view
from lrae.experiments.virtual import Outcome, VirtualSession
from lrae.receiver.session import ReceiverSession
from lrae.sender.congestion import AdaptiveRate, FixedRate, RateController
from lrae.sender.conventional import ConventionalFrameEncoder
from lrae.sender.encoding import FrameEncoder
from lrae.sender.flow import Flow
from lrae.sender.main import LONGEST_QUEUE, QUEUE_SECONDS, parse_fec
from lrae.sender.pacer import Pacer
from lrae.sender.rate import RateControl
from lrae.sender.session import SenderSession

LRAE = "lrae"  # the codec's name beside those of the conventional ones
MakeEncoder = Callable[[str, VideoFormat, float, int], Any]  # as conventional.make_encoder


@dataclass(frozen=True)
class Network:
    """Both ways lose alike; only the way to the receiver has a limited rate. loss, rate: as parse_loss and parse_rate
    read them. rtt, jitter: seconds, both ways together; jitter as in LinkConfig, one way. pings: file of recorded round
    trips that come on top of rtt, "none": without."""

    loss: str = "none"
    rtt: float = 0.04
    rate: str = "unlimited"
    jitter: float = 0.0
    queue_bytes: int = 64 * 1024
    pings: str = "none"

    def recorded(self) -> Pings | None:
        """The round trips of the file. TraceError."""
        return None if self.pings == "none" else read_pings(self.pings)


@dataclass(frozen=True)
class Setup:
    """What lrae-send and lrae-recv are told. bitrate: bit/s, None: auto. fec: as lrae-send --fec. udp_ip: the bitrate
    holds the headers of UDP and IP, too.

    encode_time, decode_time: seconds that a frame is charged. replay_time: seconds of a frame that the sender decodes
    again to follow the receiver; they delay its frames, and it forgoes what it has no time for. None: they are free.
    codec: lrae or one of lrae.codec.conventional.NAMES; model, layout and packets concern lrae alone.
    """

    bitrate: int | None = 400_000
    fec: str = "auto"
    retransmit: bool = True
    layout: str = LAYOUTS[0]
    packets: int | None = None
    deadline: float = 0.15
    model: str = "m"
    encode_time: float = 0.025
    decode_time: float = 0.015
    replay_time: float | None = None
    codec: str = LRAE
    udp_ip: bool = False


def viewing_delay(setup: Setup, network: Network) -> float:
    """Seconds from capture until a frame is due on screen: coding, the way there, the deadline (which counts from the
    earliest possible arrival) and decoding. Of recorded round trips, the way there is half their median. TraceError."""
    pings = network.recorded()
    way = network.rtt / 2 + (median(pings.rtts_ms) / 2e3 if pings else 0.0)
    return setup.encode_time + way + setup.deadline + setup.decode_time


def run_stream(clip: Clip, setup: Setup, network: Network, seed: int = 0) -> tuple[Viewing, Outcome]:
    """The figures of a session, and what happened. Same arguments, same result. Raises ConfigError, TraceError."""
    outcome = play(clip, setup, network, seed)
    return view(clip, outcome, viewing_delay(setup, network))[0], outcome


def play(
    clip: Clip, setup: Setup, network: Network, seed: int = 0, make: MakeEncoder = conventional.make_encoder
) -> Outcome:
    """Runs a clip in virtual time. Same arguments, same result (the codec's computing time is charged, not measured).

    make: of conventional encoders. Raises ConfigError, TraceError.
    """
    controller = AdaptiveRate() if setup.bitrate is None else FixedRate(setup.bitrate)
    if setup.codec == LRAE:
        frames, decoder, computed = lrae_ends(setup, clip.format, controller.rate, seed)
    else:
        frames, decoder, computed = *conventional_ends(setup, clip.format, controller.rate, make), None
    return join(clip, setup, network, seed, controller, frames, decoder, computed)


def join(
    clip: Clip,
    setup: Setup,
    network: Network,
    seed: int,
    controller: RateController,
    frames: Any,
    decoder: Decoder,
    computed: Callable[[], float] | None = None,
) -> Outcome:
    """Runs a clip from an encoder, frames, to a decoder. computed: as VirtualSession takes it. Raises TraceError."""
    video, rng, adaptive = clip.format, random.Random(f"{seed}:session"), setup.bitrate is None
    pacer = Pacer(controller.rate, LONGEST_QUEUE if adaptive else QUEUE_SECONDS)
    flow = Flow(1, pacer, controller, parse_fec(setup.fec, setup.retransmit), setup.retransmit, setup.udp_ip)
    layout = LAYOUTS.index(setup.layout)
    name = "m" if setup.codec == LRAE else setup.codec
    config = Config(1, video, name, decoder.model_hash, packets=setup.packets or 0, layout=layout)
    loss = parse_loss(network.loss)
    common = {"loss": loss, "delay_ms": network.rtt * 500, "jitter_ms": network.jitter * 1e3}
    common["pings"] = network.recorded()
    up = Link(LinkConfig(**common, rate=parse_rate(network.rate), queue_bytes=network.queue_bytes), f"{seed}:up")
    session = VirtualSession(
        clip.frames,
        float(video.fps),
        SenderSession(config, flow, NoKey(), 0.0, rng.randbytes),
        frames,
        ReceiverSession(setup.deadline, NoKey(), rng.randbytes),
        decoder,
        up,
        Link(LinkConfig(**common), f"{seed}:down"),
        setup.deadline,
        setup.encode_time,
        setup.decode_time,
        computed=computed,
    )
    return session.run()


def lrae_ends(
    setup: Setup, video: VideoFormat, bitrate: float, seed: int
) -> tuple[FrameEncoder, Decoder, Callable[[], float] | None]:
    """(encoder, decoder, seconds computed so far) of a session at bit/s."""
    encoder, decoder = make_encoder(setup.model, video), make_decoder(setup.model, video)
    fps, layout = float(video.fps), LAYOUTS.index(setup.layout)
    rate = RateControl(bitrate, fps, video.width * video.height)
    if setup.replay_time is None:
        return FrameEncoder(encoder, rate, setup.packets, layout, seed=seed, worth=True), decoder, None
    charged = ChargedEncoder(encoder, setup.encode_time, setup.replay_time)
    clock = charged.computed
    # what is charged is the same for every q, so a coarser one would not save any
    frames = FrameEncoder(charged, rate, setup.packets, layout, 1 / fps, clock, seed=seed, worth=True, coarsen=False)
    return frames, decoder, clock


def conventional_ends(
    setup: Setup, video: VideoFormat, bitrate: float, make: MakeEncoder
) -> tuple[ConventionalFrameEncoder, Decoder]:
    """(encoder, decoder) of a session at bit/s."""
    room = payload_room()
    encoder = make(setup.codec, video, bitrate, room)
    return ConventionalFrameEncoder(encoder, bitrate, room=room), conventional.make_decoder(setup.codec, video)


class ChargedEncoder:
    """An Encoder on a clock of its own, on which every frame takes as long as it is said to.

    encode_time, replay_time: seconds of encode() and state_after().
    """

    def __init__(self, encoder: Encoder, encode_time: float, replay_time: float) -> None:
        self._encoder, self._encode_time, self._replay_time = encoder, encode_time, replay_time
        self._computed = 0.0

    def computed(self) -> float:
        """Seconds so far."""
        return self._computed

    def encode(self, *args: Any) -> tuple[EncodedFrame, Any]:
        """As Encoder says."""
        self._computed += self._encode_time
        return self._encoder.encode(*args)

    def state_after(self, *args: Any) -> Any:
        """As Encoder says."""
        self._computed += self._replay_time
        return self._encoder.state_after(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)
