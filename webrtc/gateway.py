"""Joins the parts: clip or camera into the loop, its three pictures to the viewers, its statistics to the pages."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from lrae.codec.types import Frame
from lrae.errors import ConfigError
from lrae.receiver.broadcast import Broadcast
from lrae.version import VERSION
from lrae.webrtc.camera import Camera
from lrae.webrtc.clip import Clip
from lrae.webrtc.framing import side_by_side
from lrae.webrtc.hub import Hub, Page
from lrae.webrtc.situation import PRESETS, Situation, parse

IDLE = 5.0  # seconds after the last page or viewer has gone until the source stands still
WATCH = 1.0  # seconds between looks at who is there
MAX_DROP = 5.0  # seconds that one press of the button can drop
VIDEO_BITRATE = 6_000_000  # of the video to viewers, bit/s


class Gateway:
    """make_loop(size, fps, situation, on_picture, on_stats) gives what webrtc/loop.py's Loop is. To be made and used in
    the event loop; pictures and statistics come from any thread."""

    def __init__(self, clip: Callable[..., Clip], size: tuple[int, int], make_loop: Callable[..., Any]) -> None:
        self.size = size
        self.situation = Situation()
        self._event_loop = asyncio.get_running_loop()
        self._wants_camera = False
        self._id = secrets.token_urlsafe(8)  # tells pages that this is another server than before
        self.clip = clip(size, self._from_clip)
        self.fps = float(self.clip.fps)
        width, height = size
        self.broadcast = Broadcast((3 * width, height), self.fps, VIDEO_BITRATE)
        self.broadcast.expect(replace(self.clip.format, width=3 * width))
        self.hub = Hub(self._hello, self._control)
        self.camera = Camera(size, self._from_camera, self._camera_gone)
        self.loop = make_loop(size, self.fps, self.situation, self._pictures, self._stats)
        self._watch = asyncio.create_task(self._watch_viewers())

    # frames in, from threads

    def _from_clip(self, frame: Frame, now: float) -> None:
        if not self._wants_camera:
            self.loop.offer(replace(frame, time=now), now)

    def _from_camera(self, frame: Frame, now: float) -> None:
        if self._wants_camera:
            self.loop.offer(frame, now)

    # pictures and statistics out, from threads

    def _pictures(self, pictures: Any) -> None:
        three = side_by_side((pictures.source, pictures.lrae, pictures.conventional))
        self.broadcast.show(three, pictures.time)

    def _stats(self, stats: dict) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has gone
            self._event_loop.call_soon_threadsafe(self._publish, stats)

    def _publish(self, stats: dict) -> None:
        now = self._event_loop.time()
        own = {"source": self._source(), "pages": len(self.hub), "broadcast": self.broadcast.stats()}
        self.hub.publish({**stats, **own}, now)

    # pages

    def _source(self) -> str:
        return "camera" if self._wants_camera else "sample"

    def _problem(self) -> str:
        """Why something has stopped for good, "" if nothing has."""
        return self.clip.problem or getattr(self.loop, "problem", "")

    def _hello(self, page: Page) -> dict:
        self.clip.play(True)  # at once; the watch below only looks now and then
        return {
            "server": self._id,
            "role": page.role,
            "version": VERSION,
            "size": list(self.size),
            "fps": self.fps,
            "source": self._source(),
            "input": self.clip.name,
            "problem": self._problem(),
            "situation": asdict(self.situation),
            "presets": {name: asdict(preset) for name, preset in PRESETS.items()},
        }

    def _control(self, page: Page, message: dict) -> None:
        if page.role != "control":
            raise ConfigError("this page may watch, not control")
        if unknown := set(message) - {"set", "drop", "source"}:
            raise ConfigError(f"unknown: {', '.join(sorted(map(str, unknown)))[:100]}")
        if "set" in message:
            if not isinstance(message["set"], dict):
                raise ConfigError("set: give the fields of a situation")
            self.set(parse({**asdict(self.situation), **message["set"]}))
        if "drop" in message:
            self.drop(message["drop"])
        if "source" in message:
            self.choose(message["source"])

    def set(self, situation: Situation) -> None:
        """Acts within a frame."""
        self.situation = situation
        self.loop.set(situation)

    def drop(self, seconds: Any) -> None:
        """Everything is lost for so long, at most 5 s. Raises ConfigError."""
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not (number and math.isfinite(seconds) and 0 <= seconds <= MAX_DROP):
            raise ConfigError(f"drop: seconds from 0 to {MAX_DROP:g}")
        self.loop.drop(float(seconds))

    def choose(self, source: Any) -> None:
        """ "sample" or "camera", which has to be sent by then. Raises ConfigError."""
        if source not in ("sample", "camera"):
            raise ConfigError("source: sample or camera")
        if source == "camera" and not self.camera.live:
            raise ConfigError("no camera is connected")
        self._wants_camera = source == "camera"

    def _camera_gone(self, told: bool) -> None:
        before, self._wants_camera = self._wants_camera, False
        if before and not told:
            self.hub.tell({"error": "The camera has gone; the sample clip plays."})

    async def _watch_viewers(self) -> None:
        """The source plays while anybody is there: an idle server computes nothing. What has stopped is told once."""
        last, told = -math.inf, ""
        while True:
            if (problem := self._problem()) != told:
                self.hub.tell({"problem": problem})
                told = problem
            if len(self.hub) or self.broadcast.stats()["viewers"]:
                last = time.monotonic()
            self.clip.play(time.monotonic() - last < IDLE)
            await asyncio.sleep(WATCH)

    async def close(self) -> None:
        """Everything stops; bounded in time."""
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        await self.hub.close()
        await self.camera.close()
        await self.broadcast.close()
        await asyncio.to_thread(self.clip.close)
        await asyncio.to_thread(self.loop.close)
