"""A headless Chromium, driven over its DevTools protocol: for the tests of the page, and for pictures of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp

from lrae.errors import LraeError

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # in containers there is none to be had
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--use-fake-device-for-media-stream",
    "--remote-debugging-port=0",
)
PATIENCE = 30.0  # seconds for a browser to start and to answer; machines are busy
MAX_MESSAGE = 64 << 20  # bytes; a screenshot is one message


class BrowserError(LraeError):
    """The browser does not start, answer, or do what it was told."""


def find_browser() -> str | None:
    """The path of a Chromium, None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """One tab of a browser. Commands are those of the DevTools protocol."""

    def __init__(self, send: Callable[..., Any], target: str, session: str) -> None:
        self._send, self._target, self._session = send, target, session
        self.log: list[str] = []  # what the page's console says

    async def call(self, method: str, **params: Any) -> dict:
        """A command; its result. Raises BrowserError."""
        return await self._send(method, params, self._session)

    async def js(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is waited for. Raises BrowserError with what it threw."""
        found = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise BrowserError(found["exceptionDetails"].get("exception", {}).get("description", "it threw"))
        return found["result"].get("value")

    async def until(self, expression: str, seconds: float = PATIENCE) -> Any:
        """Waits until an expression is true, and gives its value. Raises BrowserError when that takes too long."""
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            if value := await self.js(expression):
                return value
            await asyncio.sleep(0.1)
        raise BrowserError(f"not so in {seconds:g} s: {expression}; the console says: {' | '.join(self.log[-5:])}")

    async def go(self, url: str) -> None:
        """Loads a page."""
        found = await self.call("Page.navigate", url=url)
        if "errorText" in found:
            raise BrowserError(f"{url}: {found['errorText']}")
        await self.until("document.readyState === 'complete'")

    async def look(self, width: int, height: int, dark: bool = False, ratio: float = 1.0) -> None:
        """The size of the window in CSS pixels, the colour scheme, and device pixels per CSS pixel."""
        window = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": width < 700}
        await self.call("Emulation.setDeviceMetricsOverride", **window)
        await self.call("Emulation.setScrollbarsHidden", hidden=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def press(self, key: str) -> None:
        """A key with a letter, digit or sign on it."""
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def picture(self, whole: bool = False, **options: Any) -> bytes:
        """A PNG of the window, or of the whole page."""
        found = await self.call("Page.captureScreenshot", captureBeyondViewport=whole, **options)
        return base64.b64decode(found["data"])

    async def close(self) -> None:
        """As when a user closes it."""
        await self._send("Target.closeTarget", {"targetId": self._target})


class Browser:
    """Commands out, answers and events in, over one WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._ids = socket, itertools.count(1)
        self._answers: dict[int, asyncio.Future] = {}
        self._tabs: dict[str, Tab] = {}

    async def send(self, method: str, params: dict, session: str | None = None) -> dict:
        """A command; its result. Raises BrowserError."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json(message)
        try:
            async with asyncio.timeout(PATIENCE):
                return await answer
        except TimeoutError:
            raise BrowserError(f"{method}: no answer in {PATIENCE:g} s") from None
        finally:
            del self._answers[number]

    async def open(self) -> Tab:
        """An empty tab, in a context of its own: other tabs do not slow it down, nor share what they keep."""
        context = (await self.send("Target.createBrowserContext", {}))["browserContextId"]
        made = await self.send("Target.createTarget", {"url": "about:blank", "browserContextId": context})
        target = made["targetId"]
        session = (await self.send("Target.attachToTarget", {"targetId": target, "flatten": True}))["sessionId"]
        tab = self._tabs[session] = Tab(self.send, target, session)
        for domain in ("Page", "Runtime", "Log"):
            await tab.call(f"{domain}.enable")
        return tab

    async def allow_camera(self, origin: str, allowed: bool = True) -> None:
        """What a user would say when a page of `origin` asks; to be called before open()'s tab asks."""
        params = {"permission": {"name": "camera"}, "setting": "granted" if allowed else "denied", "origin": origin}
        await self.send("Browser.setPermission", params)

    async def read(self) -> None:
        """Takes in what comes until the browser goes."""
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
            self._take(json.loads(message.data))
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(BrowserError("the browser has gone"))

    def _take(self, message: dict) -> None:
        answer = self._answers.get(message.get("id"))
        if answer is not None and not answer.done():
            if "error" in message:
                answer.set_exception(BrowserError(message["error"].get("message", "refused")))
            else:
                answer.set_result(message["result"])
            return
        tab, params = self._tabs.get(message.get("sessionId")), message.get("params", {})
        if tab is None:
            return
        if message["method"] == "Runtime.consoleAPICalled":
            tab.log.append(" ".join(str(a.get("value", a.get("description", ""))) for a in params["args"]))
        elif message["method"] == "Log.entryAdded":
            tab.log.append(params["entry"]["text"])
        elif message["method"] == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            tab.log.append("uncaught " + details.get("exception", {}).get("description", details.get("text", "")))


@contextlib.asynccontextmanager
async def browse(camera: Path | None = None, ask: bool = False, program: str | None = None) -> AsyncIterator[Browser]:
    """A browser with an empty profile while the context lasts. camera: a y4m file that its camera shows in a loop.
    ask: nobody has allowed it the camera yet. Raises BrowserError where there is none, or it does not start.
    """
    program = program or find_browser()
    if program is None:
        raise BrowserError(f"no browser is installed: one of {', '.join(NAMES)}")
    flags = [*FLAGS, *([] if ask else ["--use-fake-ui-for-media-stream"])]
    flags += [f"--use-file-for-fake-video-capture={camera}"] if camera else []
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as home:
        process = await asyncio.create_subprocess_exec(
            program, *flags, f"--user-data-dir={home}", "about:blank", stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(PATIENCE):
                url = await _address(process.stderr)
            drain = asyncio.create_task(_drain(process.stderr))
            async with (
                aiohttp.ClientSession() as client,
                client.ws_connect(url, max_msg_size=MAX_MESSAGE) as socket,
            ):
                browser = Browser(socket)
                reader = asyncio.create_task(browser.read())
                try:
                    yield browser
                finally:
                    with contextlib.suppress(BrowserError, OSError):
                        await browser.send("Browser.close", {})
                    reader.cancel()
                    drain.cancel()
                    await asyncio.gather(reader, drain, return_exceptions=True)
        except TimeoutError:
            raise BrowserError(f"{program} did not start in {PATIENCE:g} s") from None
        finally:
            await _end(process)


async def _address(stderr: asyncio.StreamReader) -> str:
    """Where a browser that starts says it is reached."""
    while line := await stderr.readline():
        text = line.decode(errors="replace").strip()
        if text.startswith("DevTools listening on "):
            return text.rpartition(" ")[2]
    raise BrowserError("the browser ended before it was reached")


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(1 << 16):
        pass


async def _end(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(5):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
