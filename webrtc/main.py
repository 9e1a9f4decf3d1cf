"""lrae-webrtc: a page that shows the codec beside H.264 in a network that the viewer breaks."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import ipaddress
import socket
from functools import partial

from lrae.cli import Parser, format_address, parse_address, run_main
from lrae.console import Display
from lrae.errors import ConfigError
from lrae.sender.source import parse_fps, parse_size
from lrae.udp import on_signal, run_loop

NEEDED = ("aiortc", "aiohttp")
MODEL, DEVICE = "m", "auto"


def build_parser() -> argparse.ArgumentParser:
    """Every option of the program."""
    parser = Parser(
        prog="lrae-webrtc",
        description="Serves a page: a camera or clip through the codec, over a network with loss, beside H.264.",
    )
    add = parser.add_argument
    add("--listen", default="127.0.0.1:8090", metavar="ADDRESS", help="PORT, HOST:PORT or [IPV6]:PORT (default 8090)")
    add("--token", metavar="TOKEN", help="what viewers must put into the address; needed to listen beyond this machine")
    add("--input", default="sample", help="what plays without a camera, as lrae-send takes it (default sample)")
    add("--size", default="448x256", metavar="WxH", help="of the pictures (default 448x256)")
    add("--fps", metavar="FPS", help="drop or repeat frames of the input (default: its own, at most 30)")
    add("--model", default=MODEL, help="name of shipped weights or a file (default m)")
    add("--device", default=DEVICE, choices=("auto", "cpu", "cuda"), help="where to compute")
    add("--seed", type=int, default=0, help="of the losses (default 0)")
    add("--quiet", action="store_true", help="print nothing but errors")
    return parser


async def serve(args: argparse.Namespace) -> int:
    """Puts the parts together and runs them until a signal; returns the exit code."""
    from lrae.receiver.broadcast.site import check_token, serve_site
    from lrae.webrtc.access import Access
    from lrae.webrtc.clip import Clip
    from lrae.webrtc.gateway import Gateway
    from lrae.webrtc.loop import Loop, make_ends
    from lrae.webrtc.server import make_app

    address = parse_address(args.listen, allow_port_zero=True)
    check_token(args.token, "--token")
    with contextlib.suppress(ValueError):  # a name: serve_site() sees later, when everything is loaded
        if args.token is None and not ipaddress.ip_address(address[0].partition("%")[0]).is_loopback:
            raise ConfigError(f"{format_address(address)} is open to strangers: give --token TOKEN")
    access, size = Access(args.token), parse_size(args.size)
    if size[0] % 2 or size[1] % 2:
        raise ConfigError(f"--size {args.size}: both sides must be even")
    check_model(args.model, args.device)
    stop = asyncio.Event()
    on_signal(stop.set)
    fps = parse_fps(args.fps) if args.fps else None
    gateway = Gateway(
        lambda size, show: Clip(args.input, size, fps, show),
        size,
        partial(Loop, seed=args.seed, ends=partial(make_ends, model=args.model, device=args.device)),
    )
    try:
        async with serve_site(make_app(gateway, access), address, args.token, "--token") as bound:
            with Display(args.quiet) as display:
                for line in invitation(bound, access):
                    display.say(line)
                await stop.wait()
    finally:
        await gateway.close()
    return 0


def check_model(model: str, device: str) -> None:
    """Raises ModelError, ConfigError. Shipped weights on what is there are not looked at: that takes seconds, and the
    codec's own processes do it again."""
    if (model, device) != (MODEL, DEVICE):
        from lrae.codec.lrae import pick_device
        from lrae.models.store import load_model

        pick_device(device)
        load_model(model)


def invitation(bound: tuple[str, int], access) -> list[str]:
    """Where the page is, a line each."""
    here = socket.gethostname()
    host = {"127.0.0.1": "localhost", "0.0.0.0": here, "::": here}.get(bound[0], bound[0])
    page = f"http://{format_address((host, bound[1]))}/"
    if access.token is None:
        return [f"open {page}"]
    return [f"open {page}?token={access.token}", f"watch only: {page}?view=1&token={access.view_token}"]


def _main(argv: list[str] | None) -> int:
    args = build_parser().parse_args(argv)
    if not all(importlib.util.find_spec(name) for name in NEEDED):
        raise ConfigError("lrae-webrtc needs aiortc and aiohttp: pip install 'lrae-vc[web]'")
    return run_loop(serve(args))


def main(argv: list[str] | None = None) -> int:
    """Entry point of lrae-webrtc; returns the exit code."""
    return run_main(_main, argv)
