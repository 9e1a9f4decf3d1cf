"""The page of lrae-recv --webrtc in a real browser: the picture moves, and what is wrong is said."""

from __future__ import annotations

import asyncio

import pytest

from lrae.codec.types import VideoFormat
from lrae.receiver.broadcast.view import WebView
from lrae.webrtc.browser import browse, find_browser

pytestmark = [
    pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed: apt install chromium"),
    pytest.mark.timeout(200),
]
MESSAGE = 'document.getElementById("message").textContent'
ADVANCES = "(async () => { const at = video.currentTime; await new Promise((r) => setTimeout(r, 500));\
  return video.videoWidth === %d && video.currentTime > at })()"


class Showing:
    """A view that is served and shows pictures, 20 a second."""

    def __init__(self, flat, port=0, token=None, size=(64, 48)):
        self._flat, self._port, self.size = flat, port, size
        self.view = WebView(token)
        self.view.describe = lambda: "frame 7 | delay 150 ms"

    async def _feed(self):
        self.view.start(VideoFormat(*self.size))
        for number in range(100_000):
            self.view.write(self._flat(40 + 5 * (number % 30), number / 20, self.size))
            await asyncio.sleep(0.05)

    async def __aenter__(self):
        self._serving = self.view.serve(("127.0.0.1", self._port))
        bound = await self._serving.__aenter__()
        self._feeding = asyncio.create_task(self._feed())
        return bound

    async def __aexit__(self, *error):
        self._feeding.cancel()
        await self._serving.__aexit__(*error)


def test_a_browser_sees_the_stream_says_what_is_wrong_and_comes_back_by_itself(flat):
    async def test():
        async with browse() as browser:
            tab = await browser.open()
            async with Showing(flat) as (host, port):
                await tab.go(f"http://{host}:{port}/")
                await tab.until(ADVANCES % 64)
                await tab.until('document.getElementById("receiver").textContent.includes("frame 7")')
                await tab.until('document.getElementById("browser").textContent.includes("1 viewer")')
            await tab.until(f'{MESSAGE}.includes("does not answer")')
            async with Showing(flat, port, size=(96, 80)):
                await tab.until(ADVANCES % 96)
            async with Showing(flat, port, token="correct-horse"):
                await tab.until(f'{MESSAGE}.includes("asks for a token")')
                await tab.go(f"http://{host}:{port}/?token=correct-horse")
                await tab.until(ADVANCES % 64)

    asyncio.run(test())
