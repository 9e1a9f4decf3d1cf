"""What lrae-recv --webrtc serves: a page, its status and the picture, for one receiver."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from importlib import resources

from aiohttp import web

from lrae.cli import Address
from lrae.codec.types import Frame, VideoFormat
from lrae.receiver.broadcast.broadcast import Broadcast
from lrae.receiver.broadcast.site import serve_site
from lrae.receiver.broadcast.whep import allowed, refuse, whep_routes

TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
SIZE, FPS = (448, 256), 30.0  # until a stream says otherwise


class WebView:
    """An output (lrae.receiver.sink.Screen) that browsers look at. Make it inside the event loop that serves it.

    describe: the receiver's status as one line; asked for each time that a page does.
    """

    wanted = True

    def __init__(self, token: str | None, option: str = "--web-token") -> None:
        self._token, self._option = token, option
        self._broadcast = Broadcast(SIZE, FPS)
        self.describe: Callable[[], str] = lambda: ""

    def start(self, video: VideoFormat) -> None:
        """A stream begins."""
        self._broadcast.expect(video)

    def write(self, frame: Frame, info: str = "") -> None:
        """Shows a picture to whoever looks, now."""
        self._broadcast.show(frame, frame.time)

    def close(self) -> None:
        """Nothing to finish: the server ends with its context."""

    @contextlib.asynccontextmanager
    async def serve(self, address: Address) -> AsyncIterator[Address]:
        """Serves page and picture while the context lasts; gives the address. Raises ConfigError."""
        try:
            async with serve_site(self._app(), address, self._token, self._option) as bound:
                yield bound
        finally:
            await self._broadcast.close()

    def _app(self) -> web.Application:
        app = web.Application()
        folder = resources.files("lrae.receiver.broadcast").joinpath("page")
        files = {f.name: f.read_bytes() for f in folder.iterdir() if f.name.rpartition(".")[2] in TYPES}

        async def asset(request: web.Request) -> web.Response:
            name = request.match_info.get("name", "index.html")
            if name not in files:
                return refuse(404, "no such file")
            kind = TYPES[name.rpartition(".")[2]]
            return web.Response(body=files[name], content_type=kind, charset="utf-8")

        async def status(request: web.Request) -> web.Response:
            if not allowed(request, self._token):
                return refuse(401, "a token is needed: Authorization: Bearer TOKEN", WWW_Authenticate="Bearer")
            return web.json_response({"line": self.describe(), **self._broadcast.stats()})

        app.add_routes([web.get("/", asset), web.get("/static/{name}", asset), web.get("/status", status)])
        app.add_routes(whep_routes(self._broadcast, self._token))
        return app
