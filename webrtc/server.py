"""The HTTP of lrae-webrtc: page, assets, WHEP, the camera's offer, the WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib import resources

from aiohttp import web

from lrae.cli import Address, format_address
from lrae.errors import ConfigError
from lrae.receiver.broadcast import whep_routes
from lrae.webrtc.access import CONTROL, Access, add_headers, guard
from lrae.webrtc.camera import OfferRefused
from lrae.webrtc.gateway import Gateway

MAX_BODY = 64 << 10
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
GOODBYE = 2.0  # seconds for open connections when the server stops


def make_app(gateway: Gateway, access: Access) -> web.Application:
    """All routes. The caller closes the gateway."""
    app = web.Application(middlewares=[guard(access)], client_max_size=MAX_BODY)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(lambda _: gateway.hub.close())
    assets = load_assets()

    async def page(_: web.Request) -> web.Response:
        return assets["index.html"]()

    async def static(request: web.Request) -> web.Response:
        make = assets.get(request.match_info["name"])
        if make is None:
            raise web.HTTPNotFound(text="There is no such file.\n")
        return make()

    async def socket(request: web.Request) -> web.StreamResponse:
        return await gateway.hub.serve(request, access.role(request))

    async def who(request: web.Request) -> web.Response:
        return web.json_response({"role": access.role(request)})

    def may_control(request: web.Request) -> None:
        if access.role(request) != CONTROL:
            raise web.HTTPForbidden(text="This page may watch, not control.\n")

    async def camera(request: web.Request) -> web.Response:
        may_control(request)
        if request.content_type != "application/sdp":
            raise web.HTTPUnsupportedMediaType(text="An offer is application/sdp.\n")
        try:
            sdp = (await request.read()).decode()
            name, answer = await gateway.camera.answer(sdp)
        except UnicodeDecodeError:
            raise web.HTTPBadRequest(text="An offer is text in UTF-8.\n") from None
        except OfferRefused as error:
            return web.Response(status=error.status, text=f"{error}\n")
        return web.Response(
            status=201, text=answer, content_type="application/sdp", headers={"Location": f"/camera/{name}"}
        )

    async def camera_off(request: web.Request) -> web.Response:
        may_control(request)
        if not await gateway.camera.hang_up(request.match_info["name"]):
            raise web.HTTPNotFound(text="There is no such camera.\n")
        return web.Response(status=200)

    app.add_routes(
        [
            web.get("/", page),
            web.get("/static/{name}", static),
            web.get("/access", who),
            web.get("/ws", socket),
            web.post("/camera", camera),
            web.delete("/camera/{name}", camera_off),
            *whep_routes(gateway.broadcast, None),  # the guard above has asked for the token
        ]
    )
    return app


def load_assets() -> dict:
    """Name -> function that makes a response, of every file of the page; nothing else can be asked for."""
    made = {}
    for file in resources.files("lrae.webrtc").joinpath("page").iterdir():
        kind = TYPES.get(file.name.rpartition(".")[2])
        if kind:
            made[file.name] = lambda body=file.read_bytes(), kind=kind: web.Response(
                body=body, content_type=kind, charset="utf-8"
            )
    return made


@contextlib.asynccontextmanager
async def serve(app: web.Application, address: Address) -> AsyncIterator[Address]:
    """Answers at `address` while the context lasts; gives the one it has (port 0: any). Raises ConfigError."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=GOODBYE, handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, *address, backlog=64)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(f"cannot listen on {format_address(address)}: {error.strerror or error}") from None
        yield runner.addresses[0][:2]
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * GOODBYE):
                await runner.cleanup()
