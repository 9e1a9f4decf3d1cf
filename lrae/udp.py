"""The IO shell around a sans-IO session: feed it datagrams, send what it says, keep its one timer."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Coroutine, Hashable, Iterable
from typing import Any, Protocol

from lrae.cli import Address, format_address
from lrae.errors import ConfigError, LraeError

SOCKET_BUFFER = 4 << 20  # bytes asked for; the system may give less


class Session(Protocol):
    """What SessionPort drives. address: the peer's, None where the socket has only one."""

    def receive_datagram(self, data: bytes, address: Any, now: float) -> None: ...

    def datagrams_to_send(self, now: float) -> Iterable[tuple[bytes, Any]]: ...

    def get_timer(self) -> float | None: ...

    def handle_timer(self, now: float) -> None: ...


class SessionPort(asyncio.DatagramProtocol):
    """Drives a session over a socket. on_change: called after anything may have happened."""

    def __init__(self, session: Session, on_change: Callable[[], None]) -> None:
        self._session, self._on_change = session, on_change
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def open(self, sock: socket.socket) -> None:
        await self._loop.create_datagram_endpoint(lambda: self, sock=sock)
        self.pump()

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        if self._transport:
            self._transport.close()

    def pump(self) -> None:
        """Lets the session speak and re-arms its timer. To be called after every call into the session."""
        self._on_change()
        if self._transport is None or self._transport.is_closing():
            return
        for data, address in self._session.datagrams_to_send(self._loop.time()):
            self._transport.sendto(data, address)
        if self._timer:
            self._timer.cancel()
        at = self._session.get_timer()
        self._timer = None if at is None else self._loop.call_at(at, self._on_timer)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, address: Hashable) -> None:
        self._session.receive_datagram(data, address, self._loop.time())
        self.pump()

    def error_received(self, error: Exception) -> None:
        """Nobody listens yet, or the network is down for a moment: the session's own timers deal with it."""

    def _on_timer(self) -> None:
        self._timer = None
        self._session.handle_timer(self._loop.time())
        self.pump()


def open_socket(address: Address, listen: bool) -> socket.socket:
    """A UDP socket bound to `address` (listen) or connected to it. Raises ConfigError."""
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise ConfigError(f"cannot look up {address[0]}: {reason}") from None
    # of localhost, both sides must take the same one
    family, kind, protocol, _, resolved = min(found, key=lambda f: f[0] != socket.AF_INET)
    sock = socket.socket(family, kind, protocol)
    sock.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
    try:
        (sock.bind if listen else sock.connect)(resolved)
    except OSError as error:
        sock.close()
        action = "listen on" if listen else "send to"
        raise ConfigError(f"cannot {action} {format_address(address)}: {error.strerror}") from None
    return sock


def run_loop(program: Coroutine[Any, Any, int]) -> int:
    """Runs a program on uvloop where there is one. An error out of a TaskGroup comes out bare."""
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:  # there is none for Windows
        factory = None
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(program)
    except BaseExceptionGroup as group:
        raise next((e for e in _leaves(group) if isinstance(e, LraeError)), group) from None


def on_signal(handler: Callable[[], None]) -> None:
    """Calls handler at the first SIGINT or SIGTERM; the second acts as if there were no handler."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def first() -> None:
        for number in signals:
            loop.remove_signal_handler(number)
        handler()

    for number in signals:
        loop.add_signal_handler(number, first)


def _leaves(group: BaseExceptionGroup) -> Iterable[BaseException]:
    for error in group.exceptions:
        yield from _leaves(error) if isinstance(error, BaseExceptionGroup) else (error,)
