"""The WebSockets of the pages: statistics out, newest first; controls in, bounded and checked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from lrae.errors import LraeError

MAX_PAGES = 32
MAX_MESSAGE = 4096  # bytes that a page may say at once
MAX_PER_SECOND = 50  # messages of one page
PER_SECOND = 15  # statistics to each page
RECENT = 16  # frames whose packets go along with one message
WAITING = 3  # messages that wait for a slow page; the oldest is dropped
PATIENCE = 5.0  # seconds for a page to take a message
PING = 10.0  # seconds between signs of life


class Page:
    """One open page. role: control or view."""

    def __init__(self, socket: web.WebSocketResponse, role: str) -> None:
        self.id, self.role = secrets.token_urlsafe(8), role
        self._socket = socket
        self._waiting: deque[str] = deque(maxlen=WAITING)
        self._news = asyncio.Event()

    def say(self, text: str) -> None:
        """Returns at once; the oldest of too many is dropped."""
        self._waiting.append(text)
        self._news.set()

    async def write(self) -> None:
        """Sends what is said until the page does not take it any more."""
        with contextlib.suppress(OSError, RuntimeError):  # gone, or too slow
            while not self._socket.closed:
                await self._news.wait()
                self._news.clear()
                while self._waiting:
                    async with asyncio.timeout(PATIENCE):
                        await self._socket.send_str(self._waiting.popleft())


class Hub:
    """All open pages. control(page, message): called with each message of a page that may control; LraeError: its
    text goes back to the page. hello(page): what a new page is told first."""

    def __init__(self, hello: Callable[[Page], dict], control: Callable[[Page, dict], None]) -> None:
        self._hello, self._control = hello, control
        self._pages: dict[str, Page] = {}
        self._sockets: set[web.WebSocketResponse] = set()
        self._recent: deque[list] = deque(maxlen=RECENT)
        self._next = 0.0

    def __len__(self) -> int:
        return len(self._pages)

    async def serve(self, request: web.Request, role: str) -> web.StreamResponse:
        """Answers a request for a WebSocket and stays until it closes. 503: too many are open."""
        if len(self._sockets) >= MAX_PAGES:
            raise web.HTTPServiceUnavailable(text="Too many pages are open.\n", headers={"Retry-After": "5"})
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE, heartbeat=PING, timeout=1.0, compress=False)
        self._sockets.add(socket)
        writer = None
        try:
            await socket.prepare(request)
            page = Page(socket, role)
            page.say(dump({"hello": self._hello(page)}))
            self._pages[page.id] = page
            writer = asyncio.create_task(page.write())
            writer.add_done_callback(lambda _: request.transport and request.transport.abort())
            await self._read(page, socket)
        finally:
            self._sockets.discard(socket)
            if writer is not None:
                self._pages.pop(page.id, None)
                writer.cancel()
        return socket

    async def _read(self, page: Page, socket: web.WebSocketResponse) -> None:
        second, count = 0, 0
        async for message in socket:
            now = int(time.monotonic())
            second, count = now, count + 1 if now == second else 1
            if message.type is not WSMsgType.TEXT or count > MAX_PER_SECOND:
                await socket.close(code=1008, message=b"too many messages, or not text")
                return
            try:
                self._control(page, parse(message.data))
            except (LraeError, ValueError) as error:
                page.say(dump({"error": " ".join(str(error).split())[:300]}))

    def publish(self, stats: dict, now: float) -> None:
        """Statistics of a display instant: to all pages, at most 15 times a second; the packets of frames between go
        along with the next as `recent`: [frame, codes of LRAE, codes of H.264] each."""
        packets = stats.get("packets", {})
        self._recent.append([stats.get("frame"), packets.get("lrae"), packets.get("h264")])
        if now < self._next:
            return
        self._next = max(self._next, now - 0.5 / PER_SECOND) + 1 / PER_SECOND
        recent = [list(entry) for entry in self._recent]
        self._recent.clear()
        if self._pages:
            self.tell({"stats": {**stats, "recent": recent}})

    def tell(self, message: dict) -> None:
        """Says it to all pages."""
        text = dump(message)
        for page in self._pages.values():
            page.say(text)

    async def close(self) -> None:
        """Every page is told that the server goes."""
        for socket in list(self._sockets):
            with contextlib.suppress(OSError, RuntimeError):
                await socket.close(code=1001, message=b"the server stops")


def parse(text: str) -> dict[str, Any]:
    """A JSON object. ValueError, one line: it is none."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("a message is one JSON object") from error
    if not isinstance(message, dict):
        raise ValueError("a message is one JSON object")
    return message


def dump(message: Any) -> str:
    """JSON that browsers read: what is not finite becomes null."""
    return json.dumps(_finite(message), separators=(",", ":"), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
