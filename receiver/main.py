"""lrae-recv: what lrae-send sends, in a window, a file or a pipe."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import ipaddress
import math
from typing import TYPE_CHECKING

from lrae.cli import Parser, format_address, leave, parse_address, run_main
from lrae.codec.wire.keys import NoKey, read_key
from lrae.console import Display
from lrae.errors import ConfigError
from lrae.metrics import Metrics, served
from lrae.receiver.player import Player
from lrae.receiver.program import Program
from lrae.receiver.session import ReceiverSession
from lrae.receiver.sink import KINDS
from lrae.stats import StatsFile
from lrae.udp import open_socket, run_loop

if TYPE_CHECKING:
    from lrae.receiver.broadcast.view import WebView

WEB_NEEDS = ("aiortc", "aiohttp")


def build_parser() -> argparse.ArgumentParser:
    """Every option of the program."""
    parser = Parser(prog="lrae-recv", description="Receives a video from lrae-send; either may start first.")
    add = parser.add_argument
    add("--listen", default="127.0.0.1:8080", metavar="ADDRESS", help="PORT, HOST:PORT or [IPV6]:PORT")
    add("--output", action="append", metavar="OUT", help=f"{KINDS}; may be repeated (default null)")
    add("--webrtc", metavar="ADDRESS", help="show it to browsers, too: PORT or HOST:PORT of the page")
    add("--web-token", metavar="TOKEN", help="what browsers must put into the address; needed beyond this machine")
    add("--deadline", type=float, default=150, metavar="MS", help="wait so long for packets (default 150)")
    add("--model", help="name or file of weights (default: shipped ones that the sender names)")
    add("--device", default="auto", choices=("auto", "cpu", "cuda"), help="where to compute")
    add("--classifier", metavar="NAME", help="label what happens: shipped (actions), a file, or none (default none)")
    add("--labels", action="store_true", help="write the labels into the picture of window, mp4 and mkv")
    add("--key", metavar="FILE", help="key that the sender has too (lrae-keygen makes one); who lacks it gets silence")
    add("--insecure", action="store_true", help="listen beyond this machine without a key")
    add("--metrics", metavar="ADDRESS", help="serve Prometheus metrics at HOST:PORT")
    add("--stats", metavar="FILE", help="one JSON line per frame")
    add("--once", action="store_true", help="leave after the first stream")
    add("--quiet", action="store_true", help="print nothing but errors")
    return parser


async def receive(args: argparse.Namespace) -> int:
    """Puts the parts together and runs them; returns the exit code."""
    address = parse_address(args.listen)
    keys = read_key(args.key) if args.key else NoKey()
    sock = open_socket(address, listen=True)
    if not (args.key or args.insecure or ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback):
        sock.close()
        raise ConfigError(f"{format_address(address)} is open to strangers: give --key FILE, or --insecure")
    classifier = None if args.classifier == "none" else args.classifier
    view = make_view(args)
    screens = [view] if view else []
    player = Player(args.output or ["null"], args.model, args.device, classifier, args.labels, screens)
    with Display(args.quiet) as display:
        display.say(f"listening on {format_address(address)}")
        stats = StatsFile(args.stats)
        session = ReceiverSession(args.deadline / 1e3, keys)
        program = Program(session, player, args.deadline / 1e3, args.once, display, stats)
        try:
            async with served(args.metrics, Metrics("receiver", program.collect)), shown(view, args, program, display):
                return await program.run(sock)
        finally:
            stats.close()


def make_view(args: argparse.Namespace) -> WebView | None:
    """The page for browsers, if one is wanted. Raises ConfigError where its packages are missing."""
    if not args.webrtc:
        return None
    if not all(importlib.util.find_spec(name) for name in WEB_NEEDS):
        raise ConfigError("lrae-recv --webrtc needs aiortc and aiohttp: pip install 'lrae-vc[web]'")
    from lrae.receiver.broadcast.view import WebView

    return WebView(args.web_token)


@contextlib.asynccontextmanager
async def shown(view: WebView | None, args: argparse.Namespace, program: Program, display: Display):
    """Serves the page while the context lasts. Raises ConfigError."""
    if view is None:
        yield
        return
    view.describe = program.describe
    async with view.serve(parse_address(args.webrtc)) as bound:
        display.say(f"open http://{format_address(bound)}/{'?token=TOKEN' if args.web_token else ''}")
        yield


def _main(argv: list[str] | None) -> int:
    args = build_parser().parse_args(argv)
    if not (math.isfinite(args.deadline) and 1 <= args.deadline <= 60_000):
        raise ConfigError(f"--deadline {args.deadline:g} is not 1 to 60000 milliseconds")
    if args.labels and args.classifier in (None, "none"):
        raise ConfigError("--labels needs a classifier: --classifier actions")
    if args.web_token and not args.webrtc:
        raise ConfigError("--web-token is for --webrtc")
    return run_loop(receive(args))


def main(argv: list[str] | None = None) -> int:
    """Entry point of lrae-recv; returns the exit code. Without argv it is the whole process, and ends it."""
    code = run_main(_main, argv)
    return code if argv is not None else leave(code)
