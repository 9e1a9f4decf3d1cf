"""lrae-send: a video to a receiver, over UDP."""

from __future__ import annotations

import argparse
import asyncio
import random
import re
from fractions import Fraction
from pathlib import Path

from lrae import codec
from lrae.cli import Parser, format_address, leave, parse_address, run_main
from lrae.codec.types import IMPUTE, LAYOUTS, MAX_PACKETS, Q_LEVELS
from lrae.codec.wire import DATA_HEADER, Config, payload_room
from lrae.codec.wire.keys import NoKey, read_key
from lrae.console import Display
from lrae.errors import ConfigError
from lrae.metrics import Metrics, served
from lrae.sender.congestion import AdaptiveRate, FixedRate
from lrae.sender.encoding import FrameEncoder
from lrae.sender.fec_fixed import FixedFec
from lrae.sender.fec_policy import AdaptiveFec
from lrae.sender.flow import FecPolicy, Flow
from lrae.sender.pacer import Pacer
from lrae.sender.program import Program
from lrae.sender.rate import RateControl
from lrae.sender.session import SenderSession
from lrae.sender.source import Source, open_source, parse_fps, parse_size
from lrae.stats import StatsFile
from lrae.udp import open_socket, run_loop

DEFAULT_BPP = 0.1  # bits per pixel where neither --bitrate nor --q is given
QUEUE_SECONDS = 0.1  # what the pacer may hold at most: well below a receiver's deadline
LONGEST_QUEUE = 1.0  # the same where the path's capacity is measured and must not be exceeded
FINEST_AUTO = 50  # q: finer than 48 dB nobody sees, and a link that stands still would hold that much more
MAX_PARITY = 200  # percent
STREAMING_WINDOW = 3  # frames


def build_parser() -> argparse.ArgumentParser:
    """Every option of the program."""
    parser = Parser(prog="lrae-send", description="Sends a video to lrae-recv with the learned codec.")
    add = parser.add_argument
    add("--input", required=True, help="file, camera index, URL, - (y4m on stdin), sample, synthetic:")
    add("--to", default="127.0.0.1:8080", metavar="ADDRESS", help="receiver (default 127.0.0.1:8080)")
    rates = f"bit/s of all datagrams (400k, 1.5M), or auto: what the path carries (default {DEFAULT_BPP} bit/pixel)"
    add("--bitrate", metavar="RATE", help=rates)
    add("--q", type=int, metavar="Q", help=f"fixed quality 0 to {Q_LEVELS - 1} instead of a bitrate")
    add("--size", metavar="WxH", help="scale the input")
    add("--fps", metavar="FPS", help="drop or repeat frames to this rate")
    add("--loop", action="store_true", help="start again at the end of the input")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--realtime", action="store_true", help="frames at their own pace (default)")
    pace.add_argument("--fast", action="store_true", help="as fast as encoder and receiver can")
    add("--model", default="m", help="name of shipped weights or a file (default m)")
    add("--device", default="auto", choices=("auto", "cpu", "cuda"), help="where to compute")
    add("--packets", type=int, metavar="K", help=f"packets per frame, 1 to {MAX_PACKETS}")
    add("--layout", default=LAYOUTS[0], choices=LAYOUTS, help="how latents are dealt to packets")
    add("--impute", default="full", choices=IMPUTE, help="what replaces lost parts (full); others are for comparisons")
    fec = "parity: auto (what pays), none, block:PERCENT, streaming:PERCENT of the packets (default auto)"
    add("--fec", default="auto", metavar="CODE", help=fec)
    add("--no-retransmit", action="store_true", help="never send lost packets again (else where they can be in time)")
    add("--key", metavar="FILE", help="key that the receiver has too (lrae-keygen makes one): encrypts and proves")
    add("--metrics", metavar="ADDRESS", help="serve Prometheus metrics at HOST:PORT")
    add("--stats", metavar="FILE", help="one JSON line per frame")
    add("--seed", type=int, help="of the stream id, for runs that can be repeated")
    add("--quiet", action="store_true", help="print nothing but errors")
    return parser


def parse_bitrate(text: str) -> int:
    """ "400k", "1.5M", "400000" -> bit/s. Raises ConfigError."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([kM]?)", text)
    rate = int(Fraction(match[1]) * {"": 1, "k": 1000, "M": 1_000_000}[match[2]]) if match else 0
    if not 1000 <= rate <= 1_000_000_000:
        raise ConfigError(f"bitrate {text!r}: give bit/s from 1k to 1000M, such as 400k")
    return rate


def parse_fec(text: str, retransmit: bool = True) -> FecPolicy | None:
    """ "auto", "none", "block:25", "streaming:50". Raises ConfigError."""
    match = re.fullmatch(r"(block|streaming):([0-9]{1,3})%?", text)
    if match and 1 <= int(match[2]) <= MAX_PARITY:
        return FixedFec(match[1], int(match[2]) / 100, STREAMING_WINDOW if match[1] == "streaming" else 1)
    if text not in ("auto", "none"):
        raise ConfigError(f"--fec {text!r}: auto, none, block:PERCENT or streaming:PERCENT (1 to {MAX_PARITY})")
    return AdaptiveFec(retransmit) if text == "auto" else None


def check_numbers(args: argparse.Namespace) -> None:
    """Raises ConfigError for a number out of range or options that exclude each other."""
    if args.q is not None and not 0 <= args.q < Q_LEVELS:
        raise ConfigError(f"--q {args.q} is not 0 to {Q_LEVELS - 1}")
    if args.packets is not None and not 1 <= args.packets <= MAX_PACKETS:
        raise ConfigError(f"--packets {args.packets} is not 1 to {MAX_PACKETS}")
    parse_fec(args.fec)
    if args.q is not None and args.bitrate is not None:
        raise ConfigError("--q and --bitrate exclude each other")


async def send(args: argparse.Namespace, source: Source) -> int:
    """Puts the parts together and runs them; returns the exit code."""
    address, video, loop = parse_address(args.to), source.format, asyncio.get_running_loop()
    fps, pixels = float(video.fps), video.width * video.height
    rate = 0 if args.q is not None else round(DEFAULT_BPP * pixels * fps)
    adaptive = args.bitrate == "auto"
    rate = parse_bitrate(args.bitrate) if args.bitrate and not adaptive else rate
    controller = AdaptiveRate() if adaptive else FixedRate(rate)
    keys = read_key(args.key) if args.key else NoKey()
    codec.share_cores()
    encoder = codec.make_encoder(args.model, video, args.device, args.impute)
    name = re.sub(r"[^A-Za-z0-9_-]", "", Path(args.model).stem)[:32].lstrip("_-") or "file"
    stream = random.Random(args.seed).randrange(1 << 16)
    layout, live = LAYOUTS.index(args.layout), source.live or not args.fast
    hash_ = encoder.model_hash
    config = Config(
        stream,
        video,
        name,
        hash_,
        packets=args.packets or 0,
        layout=layout,
        bitrate=0 if adaptive else rate,
        realtime=live,
        impute=args.impute,
    )
    horizon = 0.0 if not live else LONGEST_QUEUE if adaptive else QUEUE_SECONDS if rate else 0.8 / fps
    retransmit = live and not args.no_retransmit
    policy = parse_fec(args.fec if live or args.fec != "auto" else "none", retransmit)
    flow = Flow(stream, Pacer(controller.rate, horizon), controller, policy, retransmit)
    session = SenderSession(config, flow, keys, loop.time())
    q = RateControl(controller.rate, fps, pixels) if rate or adaptive else args.q
    overhead = keys.session(b"", b"", stream, "sender").overhead
    frames = FrameEncoder(
        encoder,
        q,
        args.packets,
        layout,
        1 / fps if live else None,
        room=payload_room(overhead, parity=policy is not None),
        overhead=overhead + DATA_HEADER,
        worth=policy is not None or retransmit,
        finest=FINEST_AUTO if adaptive else Q_LEVELS - 1,
    )
    with Display(args.quiet) as display:
        for note in source.notes:
            display.say(note)
        display.say(f"{args.input}: {video.width}x{video.height} at {fps:.4g} fps")
        stats = StatsFile(args.stats)
        program = Program(session, frames, source, live, display, stats, format_address(address))
        try:
            async with served(args.metrics, Metrics("sender", program.collect)):
                return await program.run(open_socket(address, listen=False))
        finally:
            stats.close()


def _main(argv: list[str] | None) -> int:
    args = build_parser().parse_args(argv)
    check_numbers(args)
    size = parse_size(args.size) if args.size else None
    fps = parse_fps(args.fps) if args.fps else None
    source = open_source(args.input, size=size, fps=fps, loop=args.loop)
    return run_loop(send(args, source))


def main(argv: list[str] | None = None) -> int:
    """Entry point of lrae-send; returns the exit code. Without argv it is the whole process, and ends it."""
    code = run_main(_main, argv)
    return code if argv is not None else leave(code)
