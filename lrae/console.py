"""What a program shows while it runs: one live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.live import Live
from rich.text import Text

LIVE_EVERY, PLAIN_EVERY = 0.25, 5.0  # seconds


class Display:
    """All of it on stderr; quiet: nothing. A context manager. every: seconds between calls of status()."""

    def __init__(self, quiet: bool = False) -> None:
        console = Console(stderr=True)
        live = console.is_terminal and not quiet
        self._live = Live(console=console, refresh_per_second=8, transient=True) if live else None
        self._quiet = quiet
        self.every = LIVE_EVERY if live else PLAIN_EVERY

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def status(self, line: str) -> None:
        """How things stand; on a terminal it replaces the one before."""
        if self._live:
            self._live.update(Text(line, overflow="ellipsis", no_wrap=True))
        else:
            self.say(line)

    def say(self, line: str) -> None:
        """Something that happened; it stays."""
        if self._live:
            self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)
        elif not self._quiet:
            print(line, file=sys.stderr, flush=True)
