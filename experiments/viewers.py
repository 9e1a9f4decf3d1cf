"""lrae-bench viewers: processor time that browsers cost whoever shows them a stream."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import itertools
import multiprocessing
import time
from fractions import Fraction
from pathlib import Path
from unittest import mock

from rich.console import Console
from rich.table import Table

from lrae.codec.types import Frame
from lrae.errors import ConfigError
from lrae.experiments.arguments import count, sizes
from lrae.sender.source import open_source

COUNTS = (0, 1, 4)  # viewers
FPS = 30
CLIP = "sample:bikes"
FRAMES = 90
SETTLE = 2.0  # seconds after the last viewer has come
PATIENCE = 60.0  # seconds for viewers to come
ELSEWHERE = multiprocessing.get_context("spawn")  # where viewers look: their time must not count


def add_command(commands: argparse._SubParsersAction) -> None:
    """`lrae-bench viewers`."""
    sub = commands.add_parser("viewers", help="processor time of browsers that look at a stream (lrae-recv --webrtc)")
    sub.add_argument("--seconds", type=count, default=10, help="of each measurement (default 10)")
    sub.add_argument("--sizes", type=sizes, default=((448, 256), (640, 360)), help="default 448x256,640x360")
    sub.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    sub.set_defaults(run=run, threads=None)


def run(args: argparse.Namespace, console: Console) -> dict:
    """Measure and print. ConfigError without the web extra."""
    if not all(importlib.util.find_spec(name) for name in ("aiortc", "aiohttp")):
        raise ConfigError("this needs aiortc and aiohttp: pip install 'lrae-vc[web]'")
    rows = [row for size in args.sizes for row in asyncio.run(measure(size, args.seconds))]
    table = Table(title=f"Viewers of {CLIP} at {FPS} frames a second", title_justify="left")
    for column in ("size", "viewers", "processor, % of a core", "more than none", "kbit/s", "frames/s", "queue, ms"):
        table.add_column(column, justify="right")
    for row in rows:
        figures = (row["cpu_percent"], row["more_percent"], row["kbps"], row["fps"], row["queue_ms"])
        table.add_row(row["size"], str(row["viewers"]), *(f"{figure:.1f}" for figure in figures))
    console.print(table)
    return {"viewers": rows}


async def measure(size: tuple[int, int], seconds: float) -> list[dict]:
    """A row for each of COUNTS: {"size", "viewers", "cpu_percent" (of this process, which feeds and shows),
    "more_percent" (than without viewers), "kbps" (of the encoded stream), "fps" (encoded), "queue_ms"}.

    Viewers are aiortc in a process of their own, whose time is not counted; they take packets and decode nothing.
    ConfigError if they do not come.
    """
    from aiohttp import web

    from lrae.receiver.broadcast import Broadcast, whep_routes
    from lrae.receiver.broadcast.site import serve_site

    source = open_source(CLIP, size=size, fps=Fraction(FPS), loop=True)
    frames = list(itertools.islice(source, FRAMES))
    source.close()
    broadcast = Broadcast(size, FPS)
    app = web.Application()
    app.add_routes(whep_routes(broadcast, None))
    rows: list[dict] = []
    async with serve_site(app, ("127.0.0.1", 0), None, "") as (host, port):
        feeding = asyncio.create_task(_feed(broadcast, frames))
        try:
            for viewers in COUNTS:
                end = ELSEWHERE.Event()
                looking = ELSEWHERE.Process(target=_look, args=(f"http://{host}:{port}", viewers, end), daemon=True)
                looking.start()
                try:
                    await _until(lambda viewers=viewers: broadcast.stats()["viewers"] == viewers)
                    await asyncio.sleep(SETTLE)
                    rows.append(await _row(broadcast, size, viewers, seconds))
                finally:
                    end.set()
                    await asyncio.get_running_loop().run_in_executor(None, looking.join)
                await _until(lambda: broadcast.stats()["viewers"] == 0)
        finally:
            feeding.cancel()
            await broadcast.close()
    for row in rows:
        row["more_percent"] = row["cpu_percent"] - rows[0]["cpu_percent"]
    return rows


async def _row(broadcast, size: tuple[int, int], viewers: int, seconds: float) -> dict:
    before, start, cpu = broadcast.stats(), time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    after, taken, cpu = broadcast.stats(), time.perf_counter() - start, time.process_time() - cpu
    return {
        "size": "x".join(map(str, size)),
        "viewers": viewers,
        "cpu_percent": 100 * cpu / taken,
        "kbps": (after["bytes"] - before["bytes"]) * 8e-3 / taken,
        "fps": (after["frames"] - before["frames"]) / taken,
        "queue_ms": after["queue_ms"] if viewers else 0.0,
    }


async def _feed(broadcast, frames: list[Frame]) -> None:
    """The clip forward and back, so that it has no cut."""
    start = time.perf_counter()
    for number, frame in enumerate(itertools.cycle([*frames, *frames[-2:0:-1]])):
        await asyncio.sleep(start + number / FPS - time.perf_counter())
        broadcast.show(frame, number / FPS)


async def _until(condition) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise ConfigError("the viewers did not come, or did not go") from None


class _NoDecoder:
    """So that viewers leave the machine to what is measured."""

    def decode(self, encoded) -> list:
        return []


def _look(url: str, viewers: int, end) -> None:
    """In a process of its own: viewers until `end` is set."""
    with mock.patch("aiortc.rtcrtpreceiver.get_decoder", lambda codec: _NoDecoder()):
        asyncio.run(_look_on(url, viewers, end))


async def _look_on(url: str, viewers: int, end) -> None:
    import aiohttp
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

    connections = [RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(viewers)]
    async with aiohttp.ClientSession(url) as http:
        for connection in connections:
            connection.addTransceiver("video", "recvonly")
            await connection.setLocalDescription(await connection.createOffer())
            offer, kind = connection.localDescription.sdp, {"Content-Type": "application/sdp"}
            response = await http.post("/whep", data=offer, headers=kind)
            await connection.setRemoteDescription(RTCSessionDescription(await response.text(), "answer"))
        await asyncio.get_running_loop().run_in_executor(None, end.wait)
    for connection in connections:
        await connection.close()
