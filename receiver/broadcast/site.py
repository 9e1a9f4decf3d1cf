"""A small web server that is safe to leave open: who may reach it, headers of every answer, bounded connections."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from aiohttp import web

from lrae.cli import Address, format_address
from lrae.errors import ConfigError

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
TOKEN = re.compile(r"[A-Za-z0-9_.~-]{8,128}")  # goes into an address as it is
MAX_CONNECTIONS = 128
IDLE = 15.0  # seconds that a connection may stay without a request
GOODBYE = 2.0  # seconds that open requests get at the end


def check_token(token: str | None, option: str) -> None:
    """Raises ConfigError for one that is weak or does not fit into an address."""
    if token is not None and not TOKEN.fullmatch(token):
        raise ConfigError(f"{option}: 8 to 128 letters, digits, or any of - . _ ~")


@contextlib.asynccontextmanager
async def serve_site(app: web.Application, address: Address, token: str | None, option: str) -> AsyncIterator[Address]:
    """Serves `app` while the context lasts; gives the address it listens on. Raises ConfigError.

    Beyond this machine only with a token (option: how it is called on the command line), which the application's own
    routes must ask for.
    """
    check_token(token, option)
    sock = _listen(address)
    bound = sock.getsockname()[:2]
    local = ipaddress.ip_address(bound[0].partition("%")[0]).is_loopback
    if not local and token is None:
        sock.close()
        raise ConfigError(f"{format_address(address)} is open to strangers: give {option} TOKEN")
    app.on_response_prepare.append(_add_headers)
    if token is None:
        app.middlewares.append(_only_here)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=IDLE, shutdown_timeout=GOODBYE)
    await runner.setup()

    def connect() -> asyncio.BaseProtocol:
        return runner.server() if len(runner.server.connections) < MAX_CONNECTIONS else _Full()

    server = await asyncio.get_running_loop().create_server(connect, sock=sock, backlog=MAX_CONNECTIONS)
    try:
        yield bound
    finally:
        server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * GOODBYE):
                await runner.cleanup()


class _Full(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.abort()


@web.middleware
async def _only_here(request: web.Request, handler) -> web.StreamResponse:
    """A name of somebody else's that leads to this machine (DNS rebinding) must not make his page one of ours."""
    try:
        host = urlsplit(f"//{request.host}").hostname or ""
        known = host == "localhost" or ipaddress.ip_address(host)
    except ValueError:
        known = False
    if not known:
        return web.Response(status=403, text="this server is reached as localhost or by address\n")
    return await handler(request)


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def _listen(address: Address) -> socket.socket:
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise ConfigError(f"cannot look up {address[0]}: {reason}") from None
    family, kind, protocol, _, resolved = min(found, key=lambda f: f[0] != socket.AF_INET)
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(resolved)
    except OSError as error:
        sock.close()
        raise ConfigError(f"cannot listen on {format_address(address)}: {error.strerror}") from None
    return sock
