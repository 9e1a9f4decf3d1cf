"""lrae-bench wire: microseconds of computing that a DATA packet costs on either side, without codec and sockets, and
how much faster than real time a whole session runs in virtual time."""

from __future__ import annotations

import argparse
import random
from fractions import Fraction
from pathlib import Path
from statistics import median
from time import thread_time

import numpy as np
from rich.console import Console
from rich.table import Table

from lrae.codec.types import Frame, FrameHeader, VideoFormat
from lrae.codec.wire import DataPacket, Envelope, Kind, parse_packet
from lrae.codec.wire.keys import Keys, NoKey, SharedKey
from lrae.experiments.arguments import count
from lrae.experiments.clips import Clip
from lrae.experiments.null_stream import (
    FPS,
    PACKETS,
    PAYLOAD,
    NullDecoder,
    NullEncoder,
    NullFrames,
    decode_nothing,
    null_sender,
)
from lrae.experiments.stream import Network, Setup, join
from lrae.receiver.session import ReceiverSession
from lrae.sender.congestion import FixedRate

CHUNKS = 20  # a figure is the median over so many runs in a row
WARM_UP = 50  # frames
RATE = 400_000  # bit/s of the session in virtual time,
VIRTUAL_PACKETS, VIRTUAL_PAYLOAD = 2, 600  # and its packets of a frame, bytes of each: 0.7 of that, for parity as well
NETWORKS = {"no loss": Network(rtt=0.1), "10 % lost": Network("10%", 0.1)}
FORMAT = VideoFormat(64, 48, Fraction(FPS))
KEYS = {"no key": NoKey(), "key": SharedKey(bytes(range(32)))}


def add_command(commands: argparse._SubParsersAction) -> None:
    """`lrae-bench wire`."""
    sub = commands.add_parser("wire", help="microseconds a packet: seal, open, parse, route")
    sub.add_argument("--frames", type=count, default=3000, help=f"of {PACKETS} packets each (default 3000)")
    sub.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    sub.set_defaults(run=run, threads=None)


def run(args: argparse.Namespace, console: Console) -> dict:
    """Measure and print."""
    result = measure(args.frames)
    title = f"Microseconds a packet of {PAYLOAD} bytes payload (median of {CHUNKS} runs)"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in result["us_per_packet"]:
        table.add_column(name, justify="right")
    labels = {
        "seal": "seal",
        "open_parse": "open and parse",
        "sender": "sender session, all: pace, seal, reports",
        "receiver": "receiver session, all: open, parse, route, order, report",
    }
    for key, label in labels.items():
        table.add_row(label, *(f"{us[key]:.1f}" for us in result["us_per_packet"].values()))
    console.print(table)
    for kind, speed in result["virtual_session"].items():
        console.print(f"virtual session, {kind}: {speed:.0f} × real time")
    return result


def measure(frames: int) -> dict:
    """{"us_per_packet": {"no key" | "key": {"seal", "open_parse", "sender", "receiver"}}}, "virtual_session": {network:
    seconds of stream that a second of computing gets through}, and the sizes."""
    us = {}
    for name, keys in KEYS.items():
        seal, opened = envelope_seconds(keys, frames * PACKETS)
        sender, receiver = session_seconds(keys, frames)
        us[name] = {"seal": seal, "open_parse": opened, "sender": sender, "receiver": receiver}
    return {
        "us_per_packet": {name: {k: 1e6 * v for k, v in row.items()} for name, row in us.items()},
        "virtual_session": {kind: virtual_speed(network, frames) for kind, network in NETWORKS.items()},
        "payload": PAYLOAD,
        "packets": PACKETS,
        "frames": frames,
    }


def envelope_seconds(keys: Keys, packets: int) -> tuple[float, float]:
    """(seal, open and parse): seconds a DATA packet."""
    near: Envelope = keys.session(bytes(16), bytes(16), 1, "sender")
    far: Envelope = keys.session(bytes(16), bytes(16), 1, "receiver")
    packet = DataPacket.single(1, 0, FrameHeader(1, True, 32, PACKETS), 0, random.Random(1).randbytes(PAYLOAD))
    each = max(1, packets // CHUNKS)
    times: list[tuple[float, float]] = []
    for _ in range(CHUNKS):
        start = thread_time()
        sealed = [near.seal(Kind.DATA, 1, packet.body()) for _ in range(each)]
        middle = thread_time()
        for data in sealed:
            parse_packet(far.unseal(data))
        times.append((middle - start, thread_time() - middle))
    return tuple(median(side) / each for side in zip(*times, strict=True))


def session_seconds(keys: Keys, frames: int) -> tuple[float, float]:
    """(sender, receiver): seconds that the session cores take for a DATA packet, reports and all; nothing is lost."""
    sender, receiver = null_sender(1, keys, 0.0), ReceiverSession(0.15, keys)
    source = NullFrames(random.Random(1))
    spent: list[tuple[float, float]] = []
    now = 0.0
    while source.number < frames + WARM_UP:
        now += 1 / FPS
        start = thread_time()
        sender.handle_timer(now)
        if sender.connected:
            sender.send_frame(source.next(sender.take_news(now).intra_wanted), now, now)
        up = sender.datagrams_to_send(now)
        middle = thread_time()
        for data, _ in up:
            receiver.receive_datagram(data, "sender", now)
        receiver.handle_timer(now)
        decode_nothing(receiver, now)
        down = receiver.datagrams_to_send(now)
        end = thread_time()
        for data, _ in down:
            sender.receive_datagram(data, None, now)
        while sender.next_event():
            pass
        spent.append((middle - start + thread_time() - end, end - middle))
    return tuple(_per_packet(side) for side in zip(*spent[-frames:], strict=True))


def virtual_speed(network: Network, frames: int) -> float:
    """Seconds of stream for each second of computing, of a session as lrae-send and lrae-recv have it, parity,
    retransmission, jitter buffer and reports included, at 400 kbit/s."""
    grey = np.full((FORMAT.height, FORMAT.width), 128, np.uint8)
    picture = Frame(grey, grey[::2, ::2], grey[::2, ::2])
    clip, setup = Clip("nothing", FORMAT, (picture,) * frames), Setup(RATE)
    encoder = NullEncoder(random.Random(1), VIRTUAL_PACKETS, VIRTUAL_PAYLOAD)
    start = thread_time()
    join(clip, setup, network, 0, FixedRate(RATE), encoder, NullDecoder(picture))
    return frames / FPS / (thread_time() - start)


def _per_packet(frames: tuple[float, ...]) -> float:
    """Seconds a packet: the median over runs of frames in a row."""
    each = max(1, len(frames) // CHUNKS)
    runs = [frames[at : at + each] for at in range(0, len(frames), each)]
    return median(sum(run) / len(run) for run in runs) / PACKETS
