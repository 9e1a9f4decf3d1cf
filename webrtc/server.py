"""The HTTP of lrae-webrtc: page, assets, WHEP, the camera's offer, the WebSocket."""

from __future__ import annotations

from importlib import resources

from aiohttp import web

from lrae.receiver.broadcast import whep_routes
from lrae.receiver.broadcast.whep import SDP, refuse
from lrae.webrtc.access import CONTROL, Access, add_headers, guard
from lrae.webrtc.camera import OfferRefused
from lrae.webrtc.gateway import Gateway

MAX_BODY = 64 << 10
WATCHING = "this page may watch, not control"
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def make_app(gateway: Gateway, access: Access) -> web.Application:
    """All routes, for serve_site(). The caller closes the gateway."""
    app = web.Application(middlewares=[guard(access)], client_max_size=MAX_BODY)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(lambda _: gateway.hub.close())
    assets = load_assets()

    async def page(_: web.Request) -> web.Response:
        return assets["index.html"]()

    async def static(request: web.Request) -> web.Response:
        make = assets.get(request.match_info["name"])
        return make() if make else refuse(404, "no such file")

    async def socket(request: web.Request) -> web.StreamResponse:
        return await gateway.hub.serve(request, access.role(request))

    async def who(request: web.Request) -> web.Response:
        return web.json_response({"role": access.role(request)})

    async def camera(request: web.Request) -> web.Response:
        if access.role(request) != CONTROL:
            return refuse(403, WATCHING)
        if request.content_type != SDP:
            return refuse(415, f"the offer must be {SDP}", Accept_Post=SDP)
        try:
            name, answer = await gateway.camera.answer((await request.read()).decode())
        except UnicodeDecodeError:
            return refuse(400, "the offer is not UTF-8 text")
        except OfferRefused as error:
            return refuse(error.status, str(error))
        return web.Response(status=201, text=answer, content_type=SDP, headers={"Location": f"/camera/{name}"})

    async def camera_off(request: web.Request) -> web.Response:
        if access.role(request) != CONTROL:
            return refuse(403, WATCHING)
        if not await gateway.camera.hang_up(request.match_info["name"]):
            return refuse(404, "no such camera")
        return web.Response()

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
