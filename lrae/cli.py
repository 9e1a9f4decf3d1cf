"""What every program shares on its command line: addresses, and errors as one line and exit code 1."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from lrae.errors import ConfigError, LraeError

Address = tuple[str, int]


def parse_address(text: str, default_host: str = "127.0.0.1", allow_port_zero: bool = False) -> Address:
    """`8080`, `:8080`, `HOST:PORT` or `[IPV6]:PORT` -> (host, port); the host is not looked up.

    default_host stands in where the text has only a port. Port 0 ("any free port") only if asked.
    Raises ConfigError on anything else.
    """
    text = text.strip()
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or not rest.startswith(":") or ":" not in host:
            raise ConfigError(f"malformed address {text!r}: an IPv6 address is written [::1]:PORT")
        port_text = rest[1:]
    elif text.count(":") > 1:
        raise ConfigError(f"malformed address {text!r}: an IPv6 address is written [::1]:PORT")
    elif ":" in text:
        host, _, port_text = text.partition(":")
        host = host or default_host
    else:
        host, port_text = default_host, text
    if not (port_text.isascii() and port_text.isdigit() and len(port_text) <= 5):
        raise ConfigError(f"malformed address {text!r}: expected PORT, HOST:PORT or [IPV6]:PORT")
    if any(c.isspace() or c in "[]/@" for c in host):
        raise ConfigError(f"malformed address {text!r}: {host!r} is not a host name")
    port = int(port_text)
    if port > 65535 or (port == 0 and not allow_port_zero):
        raise ConfigError(f"malformed address {text!r}: a port is 1 to 65535")
    return host, port


def format_address(address: Sequence[object]) -> str:
    """(host, port, …) as `HOST:PORT`, an IPv6 host in brackets; the inverse of parse_address."""
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints are ConfigErrors, so that run_main prints them in one line."""

    def error(self, message: str):
        raise ConfigError(f"{message} (see {self.prog} --help)")


def leave(code: int) -> NoReturn:
    """Ends the process now. To be called by a program that has finished all its work and waits for no thread: taking an
    interpreter apart in which torch and compiled loops are loaded takes seconds."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def run_main(main: Callable[..., int | None], *args) -> int:
    """Calls main(*args) and returns the exit code of the program.

    LraeError: its text on stderr as one line `error: …`, code 1. KeyboardInterrupt that main did not handle:
    130. A reader that closed our stdout (`| head`) is not an error worth a traceback: code 1.
    Otherwise main's own code, None as 0. Real bugs keep their traceback.
    """
    try:
        return main(*args) or 0
    except LraeError as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the interpreter flushes stdout once more at exit; let that go nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
