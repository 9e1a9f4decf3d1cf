"""Who may watch and who may control: tokens, origins, and the headers of every answer."""

from __future__ import annotations

import hashlib
import hmac
import time

from aiohttp import web

from lrae.receiver.broadcast.site import HEADERS as SITE
from lrae.receiver.broadcast.whep import Flood, refuse, same_origin

HEADERS = {
    # beside what serve_site() forbids and allows: an icon, a camera
    "Content-Security-Policy": SITE["Content-Security-Policy"] + "; img-src 'self'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
CONTROL, VIEW = "control", "view"


class Access:
    """token: None where everybody who gets here may control. Another token, made from it, lets its bearer watch and
    nothing else."""

    def __init__(self, token: str | None) -> None:
        self.token = token
        self.view_token = None if token is None else hashlib.sha256(f"lrae view {token}".encode()).hexdigest()[:24]

    def role(self, request: web.Request) -> str | None:
        """What the sender of a request may do; None: nothing. `?view=1` gives control up."""
        role = CONTROL
        if self.token is not None:
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            given = given.strip() if scheme.lower() == "bearer" else request.query.get("token", "")
            given = given.encode("utf-8", "replace")
            if hmac.compare_digest(given, self.view_token.encode()):
                role = VIEW
            elif not hmac.compare_digest(given, self.token.encode()):
                return None
        return VIEW if request.query.get("view", "0") not in ("", "0") else role


def guard(access: Access):
    """A middleware: 403 to pages of other sites, 401 without a token to all but page and assets, 429 to who guesses."""
    guesses = Flood()

    @web.middleware
    async def check(request: web.Request, handler) -> web.StreamResponse:
        public = request.path == "/" or request.path.startswith("/static/")
        if not same_origin(request):
            return refuse(403, "pages of other sites may not ask")
        if not public and access.role(request) is None:
            if not guesses.take(request.remote or "", time.monotonic()):
                return refuse(429, "too many wrong tokens", Retry_After="1")
            return refuse(401, "a token is needed: ?token=…", WWW_Authenticate="Bearer")
        return await handler(request)

    return check


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """For Application.on_response_prepare, so that error pages have the headers, too."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
