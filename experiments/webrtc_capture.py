"""Ten seconds of the page of lrae-webrtc as an animated WebP: the loss goes to 40 % and everything is dropped once.

python -m lrae.experiments.webrtc_capture docs/webrtc.webp
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np

from lrae.cli import Parser, run_main
from lrae.errors import SinkError
from lrae.receiver.broadcast.site import serve_site
from lrae.sender.source import parse_fps, parse_size
from lrae.udp import run_loop
from lrae.webrtc.access import Access
from lrae.webrtc.browser import Tab, browse
from lrae.webrtc.clip import Clip
from lrae.webrtc.gateway import Gateway
from lrae.webrtc.loop import Loop
from lrae.webrtc.server import make_app

WINDOW = 1200, 960  # CSS pixels
SCALE = 2 / 3  # pixels of the recording per CSS pixel
MAX_BYTES = 3_000_000
QUALITIES = (70, 60, 50, 40, 30, 20, 10)  # of WebP: the best one that fits
WARM_UP = 8.0  # seconds of pictures before the recording: codecs load, rates settle
PATIENCE = 120.0  # seconds for the first picture
RAMP, LOSS = (1.5, 3.5), 40  # seconds in which the loss rises, percent
DROP = 6.5  # seconds; the button
MAX_FRAMES_PER_SECOND = 8
TICK = Fraction(1, 1000)

Recording = list[tuple[float, np.ndarray]]  # seconds since the start, RGB


def build_parser() -> argparse.ArgumentParser:
    """Every option."""
    parser = Parser(prog="webrtc_capture", description="Records the page of lrae-webrtc as an animated WebP.")
    add = parser.add_argument
    add("output", type=Path, metavar="FILE.webp")
    add("--input", default="sample:bigbuckbunny", help="what plays (default sample:bigbuckbunny)")
    # two cores shall codec, browser and recording share
    add("--size", type=parse_size, default=(448, 256), metavar="WxH", help="of the pictures (default 448x256)")
    add("--fps", type=parse_fps, default=Fraction(24), metavar="FPS", help="of the input (default 24)")
    add("--seconds", type=float, default=10.0, help="of the recording (default 10)")
    add("--situation", default="delay_ms=50", metavar="QUERY", help="at first, as in the page's URL (delay_ms=50)")
    add("--seed", type=int, default=1, help="of the losses (default 1)")
    return parser


async def act(tab: Tab) -> None:
    """What a visitor does meanwhile."""
    start, end = RAMP
    await asyncio.sleep(start)
    for percent in range(0, LOSS + 1, 2):
        await tab.js(
            f"(() => {{ const s = document.getElementById('loss'); s.value = {percent};"
            " s.dispatchEvent(new Event('input')); })()"
        )
        await asyncio.sleep((end - start) / (LOSS / 2))
    await asyncio.sleep(DROP - end)
    await tab.press("d")


async def record(tab: Tab, seconds: float) -> Recording:
    """Screenshots, as fast as they come."""
    width, height = WINDOW
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    frames: Recording = []
    loop = asyncio.get_running_loop()
    start = loop.time()
    while (at := loop.time() - start) < seconds:
        data = await tab.picture(format="jpeg", quality=95, optimizeForSpeed=True, clip=clip)
        with av.open(io.BytesIO(data)) as container:
            frames.append((at, next(container.decode(video=0)).to_ndarray(format="rgb24")))
        await asyncio.sleep(max(0.0, at + 1 / MAX_FRAMES_PER_SECOND - (loop.time() - start)))
    return frames


def webp(frames: Recording, quality: int) -> bytes:
    """An animated WebP that repeats for ever."""
    out = io.BytesIO()
    with av.open(out, "w", format="webp", options={"loop": "0"}) as container:
        stream = container.add_stream("libwebp_anim", rate=1000)
        stream.codec_context.time_base = TICK
        stream.height, stream.width = frames[0][1].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"quality": str(quality), "compression_level": "5", "preset": "picture"}
        for at, picture in frames:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts = round(1000 * (at - frames[0][0]))
            frame.time_base = TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


async def capture(args: argparse.Namespace) -> int:
    """Runs server and browser, records, writes the best file that fits."""
    clip = lambda size, show: Clip(args.input, size, args.fps, show)  # noqa: E731
    gateway = Gateway(clip, args.size, partial(Loop, seed=args.seed))
    try:
        site = serve_site(make_app(gateway, Access(None)), ("127.0.0.1", 0), None, "")
        async with site as bound, browse() as browser:
            tab = await browser.open()
            await tab.look(*WINDOW, ratio=SCALE)
            await tab.go(f"http://localhost:{bound[1]}/?{args.situation}")
            await tab.until("document.getElementById('lrae-state').dataset.state === 'whole'", PATIENCE)
            await asyncio.sleep(WARM_UP)
            doing = asyncio.create_task(act(tab))
            frames = await record(tab, args.seconds)
            doing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await doing
    finally:
        await gateway.close()
    for quality in QUALITIES:
        data = webp(frames, quality)
        if len(data) <= MAX_BYTES:
            break
    else:
        raise SinkError(f"{args.output}: {len(data)} bytes even at the lowest quality")
    args.output.write_bytes(data)
    print(f"{args.output}: {len(frames)} pictures, {len(data)} bytes, quality {quality}")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_main(lambda: run_loop(capture(build_parser().parse_args(argv))))


if __name__ == "__main__":
    raise SystemExit(main())
