"""From decoded frames to the outputs, each at its time: one task and one thread, beside decoding."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lrae.codec.types import VideoFormat
from lrae.receiver.events import FrameDue
from lrae.receiver.player import Player, Shown
from lrae.receiver.playout import PlayoutClock

MAX_HELD = 32  # frames that wait for their time; more make the decoder wait, until the session drops frames


class Presenter:
    """Shows frames in order. on_shown(due, shown, now): called after each.

    deadline: seconds, as in PlayoutClock. Outputs are opened, written and closed in a thread of their own.
    """

    def __init__(self, player: Player, deadline: float, on_shown: Callable[[FrameDue, Shown, float], None]) -> None:
        self._player, self._deadline, self._on_shown = player, deadline, on_shown
        self._loop = asyncio.get_running_loop()
        self._worker = ThreadPoolExecutor(1, "outputs")
        self._held: asyncio.Queue[tuple[float, FrameDue, Shown]] = asyncio.Queue(MAX_HELD)
        self._clock = PlayoutClock(deadline)

    async def start(self, video: VideoFormat, realtime: bool) -> None:
        """A stream begins. Raises SinkError."""
        self._clock = PlayoutClock(self._deadline, realtime)
        await self._loop.run_in_executor(self._worker, self._player.open, video)

    async def put(self, due: FrameDue, shown: Shown) -> None:
        """Takes a frame that has just been decoded; waits while too many are held."""
        earliest = due.time - due.frame.delay
        at = self._clock.show_at(due.frame.capture, earliest, self._loop.time())
        await self._held.put((at, due, shown))

    async def run(self) -> None:
        """Shows frames until it is cancelled. Raises SinkError."""
        while True:
            at, due, shown = await self._held.get()
            await asyncio.sleep(at - self._loop.time())
            await self._loop.run_in_executor(self._worker, self._player.show, shown)
            self._on_shown(due, shown, self._loop.time())
            self._held.task_done()

    async def drained(self) -> None:
        """Waits until everything has been shown; run() must be at work."""
        await self._held.join()

    async def close(self) -> None:
        """Finishes the outputs. Raises SinkError."""
        try:
            await self._loop.run_in_executor(self._worker, self._player.close)
        finally:
            self._worker.shutdown()
