"""Who may watch and who may control: tokens, hosts, origins, and the headers of every answer."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from urllib.parse import urlsplit

from aiohttp import web

from lrae.errors import ConfigError

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
CONTROL, VIEW = "control", "view"
TOKEN = re.compile(r"[A-Za-z0-9_.~-]{8,128}")  # goes into an address as it is


def is_loopback(host: str) -> bool:
    """An address or name that only this machine reaches."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


class Access:
    """token: None on a loopback bind, where everybody is this machine's user. ConfigError: a weak or malformed one.

    A second token, made from the first, lets its bearer watch and nothing else.
    """

    def __init__(self, host: str, token: str | None) -> None:
        if token is None and not is_loopback(host):
            raise ConfigError(f"{host} is open to strangers: give --token TOKEN, which viewers put into the address")
        if token is not None and not TOKEN.fullmatch(token):
            raise ConfigError("--token: 8 to 128 letters, digits, or any of - . _ ~")
        self.token = token
        self.view_token = None if token is None else hashlib.sha256(f"lrae view {token}".encode()).hexdigest()[:24]
        # a loopback server answers to loopback names only: another name that leads here is someone's trick
        self._any_host = not is_loopback(host)

    def role(self, request: web.Request) -> str | None:
        """What the sender of a request may do; None: nothing. `?view=1` gives control up."""
        role = CONTROL
        if self.token is not None:
            given = request.query.get("token", "")
            scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
            given = (credentials.strip() if scheme.lower() == "bearer" else given).encode()
            if hmac.compare_digest(given, self.view_token.encode()):
                role = VIEW
            elif not hmac.compare_digest(given, self.token.encode()):
                return None
        return VIEW if request.query.get("view", "0") not in ("", "0") else role

    def same_site(self, request: web.Request) -> bool:
        """The request names this server, and no page of another site sent it."""
        try:
            host = urlsplit(f"//{request.host}").hostname or ""
            origin = request.headers.get("Origin")
            foreign = origin is not None and urlsplit(origin).netloc.lower() != request.host.lower()
        except ValueError:
            return False
        return not foreign and (self._any_host or is_loopback(host))


def guard(access: Access):
    """A middleware: headers on every answer; 403 to other sites, 401 without a token to all but page and assets."""

    @web.middleware
    async def check(request: web.Request, handler) -> web.StreamResponse:
        public = request.path == "/" or request.path.startswith("/static/")
        if not access.same_site(request):
            raise web.HTTPForbidden(text="This server is not reached by that name, or another site asked.\n")
        if not public and access.role(request) is None:
            raise web.HTTPUnauthorized(
                text="This server asks for a token: ?token=…\n", headers={"WWW-Authenticate": "Bearer"}
            )
        return await handler(request)

    return check


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """For Application.on_response_prepare, so that error pages have the headers too."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
