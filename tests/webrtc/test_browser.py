"""The page in a real browser, with a fake camera, against the whole gateway: what a visitor does, and what he sees.

Pictures of the page are written to the folder that LRAE_SCREENSHOTS names.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
import warnings
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")

from lrae.codec.y4m import frame_bytes, header
from lrae.errors import SourceError
from lrae.receiver.broadcast.site import serve_site
from lrae.sender.source import open_source, parse_fps
from lrae.webrtc.access import Access
from lrae.webrtc.browser import BrowserError, browse, find_browser
from lrae.webrtc.clip import Clip
from lrae.webrtc.gateway import Gateway
from lrae.webrtc.loop import Loop
from lrae.webrtc.server import make_app

pytestmark = [
    pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed: apt install chromium"),
    pytest.mark.timeout(300),
]
SIZE, FPS = (192, 112), "15"
PANES = ("pane-source", "pane-lrae", "pane-h264")
DROP = 1.0  # seconds, as the button has it
RECOVERED = 0.5  # seconds after everything arrives again
PACE = 0.8  # of the frame rate: a machine that is slower says nothing about recovery
TRIES = 3  # presses of the button: the machine may be busy with other things
SUM = """(() => {{ const c = document.getElementById("{}"); if (!c.width) return 0;
  const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
  let s = 0; for (let i = 0; i < d.length; i += 5) s = (s * 31 + d[i]) % 1000000007; return s; }})()"""


@pytest.fixture(scope="module", autouse=True)
def _a_browser_that_starts():
    async def start():
        async with browse():
            pass

    try:
        asyncio.run(start())
    except BrowserError as error:
        pytest.skip(f"Chromium is there, but: {error}")


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """A y4m file for the fake camera: real footage where the samples are installed."""
    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    try:
        source = open_source("sample", size=(320, 180), fps=parse_fps(FPS))
    except SourceError:
        source = open_source(f"synthetic:320x180@{FPS}x60")
    with path.open("wb") as out:
        out.write(header(source.format))
        for frame in itertools.islice(source, 60):
            out.write(frame_bytes(frame))
    source.close()
    return path


class Visit:
    """A gateway; of its loop, all statistics with the times at which they came, and the times of drops."""

    def __init__(self, clip, make_loop):
        self.told, self.drops = [], []

        def listening(size, fps, situation, on_picture, on_stats):
            def told(stats):
                self.told.append((time.monotonic(), stats))
                on_stats(stats)

            def drop(seconds):
                self.drops.append(time.monotonic())
                really(seconds)

            loop = make_loop(size, fps, situation, on_picture, told)
            really, loop.drop = loop.drop, drop
            return loop

        self.gateway = Gateway(lambda size, show: Clip(clip, size, parse_fps(FPS), show), SIZE, listening)

    def serve(self, token=None, port=0):
        return serve_site(make_app(self.gateway, Access(token)), ("127.0.0.1", port), token, "--token")

    def recovery(self):
        """(seconds from the end of the last drop until LRAE shows a picture again that arrived, whether the machine
        kept pace before and since); None: not yet."""
        over = self.drops[-1] + DROP
        for at, stats in self.told:
            if at > over and stats["state"]["lrae"] in ("whole", "partial"):
                lately = [s["fps"] for t, s in self.told if self.drops[-1] - 1 < t <= at]
                return at - over, min(lately) > PACE * float(FPS)
        return None


async def advancing(tab, panes, seconds=30):
    """Waits until each of the panes shows another picture than now."""
    for pane in panes:
        before = await tab.js(SUM.format(pane))
        await tab.until(f"{SUM.format(pane)} !== {before}", seconds)


async def shoot(tab, name):
    if folder := os.environ.get("LRAE_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, f"{name}.png").write_bytes(await tab.picture())


def text(name):
    return f'document.getElementById("{name}").textContent'


async def slide(tab, name, value):
    slider = f'document.getElementById("{name}")'
    await tab.js(f'{slider}.value = {value}; {slider}.dispatchEvent(new Event("input"))')


def test_a_visitor_breaks_the_network_and_lrae_goes_on(footage, clip_file):
    async def test():
        visit = Visit(clip_file, partial(Loop, seed=1))
        try:
            async with visit.serve() as bound, browse(camera=footage) as browser:
                tab = await browser.open()
                url = f"http://localhost:{bound[1]}/"
                await look_around(tab, url)
                await lose(tab, visit)
                await watch_along(browser, visit, url)
                await drop(tab, visit)
                assert not [line for line in tab.log if "uncaught" in line or "Refused" in line], tab.log
        finally:
            await visit.gateway.close()

    asyncio.run(test())


async def look_around(tab, url):
    """Frames advance in all panes, from the clip and from the camera; there is a label."""
    await tab.look(1280, 1400)
    await tab.go(url)
    await tab.until(f'{text("link")} === "live"')
    await advancing(tab, PANES, 90)  # processes start, networks are loaded
    await tab.js('document.getElementById("camera").click()')
    await tab.until(f'{text("source-kind")} === "your camera"')
    await advancing(tab, PANES)
    await tab.until(f'{text("label-name")} !== "no label yet"', 60)
    await shoot(tab, "1-camera")


async def lose(tab, visit):
    """Losses show in the mosaic, and LRAE's picture still advances."""
    await slide(tab, "loss", 30)
    await tab.until('new URL(location).searchParams.get("loss") === "0.3"')
    await tab.until(f'/[1-9][0-9]* % lost for good/.test({text("mosaic-lrae-text")})')
    assert visit.gateway.situation.loss == 0.3
    await advancing(tab, PANES[:2])
    await shoot(tab, "2-loss")
    await slide(tab, "loss", 0)
    await tab.until('!new URL(location).searchParams.has("loss")')


async def watch_along(browser, visit, url):
    """A second page watches without controls, and goes."""
    tab = await browser.open()
    await tab.go(url + "?view=1")
    await advancing(tab, PANES)
    assert visit.gateway.broadcast.stats()["viewers"] == 2
    assert await tab.js('getComputedStyle(document.getElementById("controls")).display') == "none"
    await tab.close()
    async with asyncio.timeout(30):
        while visit.gateway.broadcast.stats()["viewers"] != 1:
            await asyncio.sleep(0.1)


async def drop(tab, visit):
    """Everything is lost for a second; soon after it, LRAE shows what arrives."""
    for press in range(TRIES):
        await tab.until("!document.getElementById('drop').dataset.dropping")
        await tab.press("d")
        async with asyncio.timeout(30):
            while len(visit.drops) <= press:
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.6)
        await shoot(tab, f"3-dropped-{press}")
        async with asyncio.timeout(30):
            while visit.recovery() is None:
                await asyncio.sleep(0.05)
        await advancing(tab, PANES)
        await shoot(tab, f"4-recovered-{press}")
        seconds, kept_pace = visit.recovery()
        if seconds < RECOVERED:
            return
    if kept_pace:
        raise AssertionError(f"LRAE came back after {seconds:.2f} s")
    warnings.warn(f"LRAE came back after {seconds:.2f} s, but the machine was busy with other things", stacklevel=1)


def test_the_page_says_what_is_wrong_and_comes_back_by_itself(fake_loop, clip_file):
    async def test():
        visit = Visit(clip_file, fake_loop)
        try:
            async with browse(ask=True) as browser:
                tab = await browser.open()
                async with visit.serve() as bound:
                    url, port = f"http://localhost:{bound[1]}/", bound[1]
                    await browser.allow_camera(url, False)
                    await tab.go(url + "?loss=0.2&burst=3&imputer=0&layout=progressive&fec=off")
                    await advancing(tab, PANES)
                    situation = visit.gateway.situation  # as the link has it
                    assert (situation.loss, situation.burst, situation.imputer) == (0.2, 3, False)
                    assert (situation.layout, situation.fec) == ("progressive", "off")
                    await tab.js('document.getElementById("camera").click()')
                    await tab.until(f'{text("messages")}.includes("refused")')
                    await advancing(tab, PANES)
                await tab.until(f'{text("messages")}.includes("tries again by itself")')
                async with visit.serve(port=port):
                    await tab.until(f'{text("link")} === "live"')
                    assert await tab.js("new URL(location).searchParams.get('loss')") == "0.2"
                    await advancing(tab, PANES)
                async with visit.serve(token="correct-horse", port=port):
                    await tab.until(f'{text("messages")}.includes("asks for a token")')
                    await tab.go(url + "?token=correct-horse")
                    await advancing(tab, PANES)
                    assert "horse" not in await tab.js("location.href")
        finally:
            await visit.gateway.close()

    asyncio.run(test())
