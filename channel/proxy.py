"""The UDP proxy: sockets and timers around two Links per client; what decides is all in lrae.channel.link.

A client's datagrams come in at the listening socket, pass the client's `up` link and leave to the target from
a socket of the client's own; what the target answers there passes the `down` link and leaves to the client.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, fields

from lrae.channel.config import ChannelConfig
from lrae.channel.link import Link, LinkCounts
from lrae.cli import Address, format_address
from lrae.errors import ConfigError
from lrae.udp import open_socket

MAX_CLIENTS = 64
_READS_PER_WAKEUP = 256
_MAX_DATAGRAM = 65536


class _Direction:
    """A link, the way out of it, and the timer that empties it."""

    def __init__(self, link: Link, loop: asyncio.AbstractEventLoop, send: Callable[[bytes], None]):
        self.link = link
        self._loop = loop
        self._send = send
        self._timer: asyncio.TimerHandle | None = None

    def feed(self, data: bytes) -> None:
        before = self.link.next_time()
        self.link.send(data, time.monotonic())
        if self.link.next_time() != before:
            self._empty()

    def _empty(self) -> None:
        for _, data in self.link.receive(time.monotonic()):
            self._send(data)
        self.close()
        due = self.link.next_time()
        if due is not None:
            # uvloop rounds to milliseconds: a shorter wait would come back early, again and again
            self._timer = self._loop.call_later(max(0.001, due - time.monotonic()), self._empty)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Client:
    def __init__(self, up: _Direction, down: _Direction, upstream: socket.socket):
        self.up, self.down, self.upstream = up, down, upstream


class Proxy:
    """UDP proxy between many clients and one target; each client has a channel of its own.

    The n-th client's links are seeded with (seed, n). At most max_clients are remembered: a new one takes the
    place of the one that has been silent longest. Replies go to the address that the client sent from.
    Call open() inside a running loop and close() when done; both may be called once.
    """

    def __init__(
        self,
        config: ChannelConfig,
        listen: Address,
        target: Address,
        seed: int = 0,
        max_clients: int = MAX_CLIENTS,
    ):
        self._config = config
        self._listen = listen
        self._target = target
        self._seed = seed
        self._max_clients = max_clients
        self._clients: OrderedDict[tuple, _Client] = OrderedDict()  # longest silent first
        self._served = 0
        self._gone = {"up": LinkCounts(), "down": LinkCounts()}  # what evicted clients had counted
        self._send_errors = 0

    def open(self) -> Address:
        """Binds and starts; returns the address listened on. Raises ConfigError (port in use, no host)."""
        self._loop = asyncio.get_running_loop()
        with open_socket(self._target, listen=False) as probe:  # looked up once, not for every client
            host, port = socket.getnameinfo(probe.getpeername(), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
        self._target = host, int(port)
        self._socket = open_socket(self._listen, listen=True)
        own = self._socket.getsockname()
        if own[1] == self._target[1] and own[0] in (self._target[0], "0.0.0.0", "::"):
            self._socket.close()
            raise ConfigError(f"cannot forward to {format_address(own)}: the proxy itself listens there")
        self._loop.add_reader(self._socket, self._read_clients)
        return own[:2]

    def close(self) -> None:
        """Stops and forgets what is in flight; counts() still answers."""
        while self._clients:
            self._evict()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def counts(self) -> dict:
        """clients: remembered now; served: in all; send_errors: datagrams that the system refused to send;
        up and down: LinkCounts of all clients together, and in_flight."""
        result = {"clients": len(self._clients), "served": self._served, "send_errors": self._send_errors}
        for name in ("up", "down"):
            links = [getattr(client, name).link for client in self._clients.values()]
            total = _sum([self._gone[name], *(link.counts for link in links)])
            result[name] = asdict(total) | {"in_flight": sum(link.in_flight for link in links)}
        return result

    def _read_clients(self) -> None:
        for _ in range(_READS_PER_WAKEUP):
            try:
                data, address = self._socket.recvfrom(_MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of an earlier send; says nothing about this socket
                continue
            client = self._clients.get(address) or self._admit(address)
            if client is None:
                continue
            self._clients.move_to_end(address)
            client.up.feed(data)

    def _admit(self, address: tuple) -> _Client | None:
        if len(self._clients) >= self._max_clients:
            self._evict()
        try:
            upstream = open_socket(self._target, listen=False)
        except (OSError, ConfigError):  # out of file descriptors, or no route
            self._send_errors += 1
            return None
        number, now = self._served, time.monotonic()
        self._served += 1
        up = Link(self._config.up, f"{self._seed}:{number}:up", now)
        down = Link(self._config.down, f"{self._seed}:{number}:down", now)
        client = _Client(
            _Direction(up, self._loop, lambda data: self._try(upstream.send, data)),
            _Direction(down, self._loop, lambda data: self._try(self._socket.sendto, data, address)),
            upstream,
        )
        self._clients[address] = client
        self._loop.add_reader(upstream, self._read_target, client)
        return client

    def _read_target(self, client: _Client) -> None:
        for _ in range(_READS_PER_WAKEUP):
            try:
                data = client.upstream.recv(_MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:  # nobody listens at the target (yet)
                continue
            client.down.feed(data)

    def _try(self, send: Callable, *args) -> None:
        """A datagram that the system does not take (buffer full, too large) is lost, and counted."""
        try:
            try:
                send(*args)
            except ConnectionRefusedError:  # reports an earlier datagram to nobody; this one was not sent
                send(*args)
        except OSError:
            self._send_errors += 1

    def _evict(self) -> None:
        _, client = self._clients.popitem(last=False)
        self._loop.remove_reader(client.upstream)
        client.upstream.close()
        for name in ("up", "down"):
            direction: _Direction = getattr(client, name)
            direction.close()
            self._gone[name] = _sum([self._gone[name], direction.link.counts])


def _sum(counts: list[LinkCounts]) -> LinkCounts:
    return LinkCounts(*(sum(getattr(c, field.name) for c in counts) for field in fields(LinkCounts)))
