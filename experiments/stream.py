"""One clip through one network: builds the session that lrae-send and lrae-recv would have, runs it, measures it."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from lrae.channel.config import LinkConfig
from lrae.channel.link import Link
from lrae.channel.loss import parse_loss
from lrae.channel.rate import parse_rate
from lrae.codec import make_decoder, make_encoder
from lrae.codec.types import LAYOUTS
from lrae.codec.wire import Config
from lrae.codec.wire.keys import NoKey
from lrae.experiments.clips import Clip
from lrae.experiments.metrics import psnr_yuv, ssim_db, ssim_y
from lrae.experiments.virtual import Outcome, VirtualSession
from lrae.receiver.session import ReceiverSession
from lrae.sender.congestion import AdaptiveRate, FixedRate
from lrae.sender.encoding import FrameEncoder
from lrae.sender.flow import Flow
from lrae.sender.main import LONGEST_QUEUE, QUEUE_SECONDS, parse_fec
from lrae.sender.pacer import Pacer
from lrae.sender.rate import RateControl
from lrae.sender.session import SenderSession

STALL = 0.2  # seconds between new pictures from which on people see a freeze
UDP_IP = 28  # bytes of IPv4 and UDP headers
SENT = ("data", "parity", "retransmit", "control")


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


@dataclass(frozen=True)
class StreamResult:
    """What a viewer saw and what it took. psnr, ssim_db: of the picture on screen against the one that should be there,
    frames that were skipped or never came included. whole: share of frames shown with all their packets. delays:
    seconds from capture to screen. frozen: share of the time in gaps of more than STALL between new pictures.
    kbps: of all datagrams to the receiver, UDP and IP headers included; shares: of that, by kind. feedback: bits back
    over bits there, headers included."""

    psnr: float
    ssim_db: float
    whole: float
    shown: int
    frames: int
    delay_p50: float
    delay_p95: float
    frozen: float
    longest_gap: float
    kbps: float
    shares: dict[str, float]
    feedback: float
    recovered: int
    replayed: int
    skipped: int
    clean: bool


def run_stream(clip: Clip, setup: Setup, network: Network, seed: int = 0) -> tuple[StreamResult, Outcome]:
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
    return measure(clip, outcome), outcome


def measure(clip: Clip, outcome: Outcome) -> StreamResult:
    """The figures of a run."""
    fps = float(clip.format.fps)
    on_screen = {outcome.sent[shown.number][0]: shown for shown in outcome.shown if shown.number in outcome.sent}
    psnr, ssim, last = [], [], None
    for index, frame in enumerate(clip.frames):
        last = on_screen.get(index, last)
        if last is not None:
            psnr.append(psnr_yuv(frame, last.decoded.frame))
            ssim.append(ssim_y(frame, last.decoded.frame))
    delays = [shown.delay for shown in outcome.shown]
    times = sorted(shown.time for shown in outcome.shown)
    gaps = np.diff(times) if len(times) > 1 else np.zeros(1)
    seconds = len(clip.frames) / fps
    there = {kind: outcome.sizes[kind, "bytes"] + UDP_IP * outcome.sizes[kind, "packets"] for kind in SENT}
    total = sum(there.values()) or 1
    back = outcome.sizes["feedback", "bytes"] + UDP_IP * outcome.sizes["feedback", "packets"]
    return StreamResult(
        psnr=float(np.mean(psnr)) if psnr else 0.0,
        ssim_db=ssim_db(float(np.mean(ssim))) if ssim else 0.0,
        whole=sum(shown.decoded.complete for shown in outcome.shown) / len(clip.frames),
        shown=len(outcome.shown),
        frames=len(clip.frames),
        delay_p50=float(np.percentile(delays, 50)) if delays else 0.0,
        delay_p95=float(np.percentile(delays, 95)) if delays else 0.0,
        frozen=float(gaps[gaps > STALL].sum()) / seconds,
        longest_gap=float(gaps.max()),
        kbps=total * 8e-3 / seconds,
        shares={kind: size / total for kind, size in there.items()},
        feedback=back / total,
        recovered=outcome.recovered,
        replayed=outcome.replayed,
        skipped=outcome.skipped,
        clean=outcome.clean,
    )

