"""One encode for many browsers: viewers come and go, each gets the newest picture, none slows another."""

from __future__ import annotations

import asyncio
from collections import Counter

from lrae.codec.types import Frame, VideoFormat
from lrae.receiver.broadcast.encoder import Picture
from lrae.receiver.broadcast.offer import BUSY, OfferError
from lrae.receiver.broadcast.viewer import Viewer
from lrae.receiver.broadcast.worker import EncodeWorker


class Broadcast:
    """Shows pictures to everyone whose offer it answers.

    size, fps: what to expect; a picture of another size starts a new encoding and is shown all the same. bitrate: at
    most, bit/s. answer(), hang_up(), stats() and close() belong to one event loop, show() and expect() to any thread.
    """

    def __init__(self, size: tuple[int, int], fps: float, bitrate: int = 6_000_000, max_viewers: int = 16) -> None:
        self.size, self.fps, self._max = size, fps, max_viewers
        self._viewers: dict[str, Viewer] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._ends: Counter[str] = Counter()
        self._drops: Counter[str] = Counter()
        self._refused: Counter[int] = Counter()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker = EncodeWorker(fps, bitrate, self._hand_over)

    def show(self, frame: Frame, time: float) -> None:
        """The newest picture, captured at `time` (seconds, any origin). The frame must not be changed afterwards."""
        self._worker.show(frame, time)

    def expect(self, video: VideoFormat) -> None:
        """Another stream begins: its size, rate and colour tags. Viewers stay."""
        self.size, self.fps = (video.width, video.height), float(video.fps)
        self._worker.expect(video)

    async def answer(self, sdp: str) -> tuple[str, str]:
        """An offer's viewer id and answer. Raises OfferError, one line."""
        self._loop = asyncio.get_running_loop()
        if self._closed or len(self._viewers) >= self._max:
            self._refused[BUSY] += 1
            raise OfferError(f"{self._max} viewers are here already: try again later", BUSY, retry_after=5)
        viewer = Viewer(self._on_start, lambda who: self._worker.want_key(who.codec))
        self._viewers[viewer.id] = viewer
        try:
            answer = await viewer.answer(sdp)
            if self._closed:
                raise OfferError("this server is about to end", BUSY)
        except BaseException as error:
            if isinstance(error, OfferError):
                self._refused[error.status] += 1
            del self._viewers[viewer.id]
            await viewer.close()
            raise
        self._watches[viewer.id] = asyncio.create_task(self._look_after(viewer))
        return viewer.id, answer

    async def hang_up(self, viewer: str) -> bool:
        """Lets a viewer go; False if there is none of this id."""
        if viewer not in self._watches:
            return False
        self._viewers[viewer].hang_up()
        await asyncio.wait([self._watches[viewer]])
        return True

    def stats(self) -> dict:
        """JSON-ready. viewers: who are sent pictures; codecs: the same by codec; connecting: who are not yet; queue_ms:
        the longest time of the last pictures between show() and the way out; frames, keys, bytes: encoded; drops:
        pictures not encoded (newer), not encodable (failed), not sent (behind, waiting); ends: viewers by what ended
        them; refused: offers by HTTP status.
        """
        live = [v for v in self._viewers.values() if v.live]
        counts = self._worker.counts
        drops = self._drops + Counter({name: counts[name] for name in ("newer", "failed")})
        for viewer in self._viewers.values():
            drops += viewer.drops
        return {
            "viewers": len(live),
            "codecs": dict(Counter(v.codec for v in live)),
            "connecting": sum(v.connecting for v in self._viewers.values()),
            "queue_ms": 1e3 * self._worker.age,
            "frames": counts["frames"],
            "keys": counts["keys"],
            "bytes": counts["bytes"],
            "drops": dict(drops),
            "ends": dict(self._ends),
            "refused": {str(status): count for status, count in self._refused.items()},
        }

    async def close(self) -> None:
        """Says goodbye to every viewer and ends the encoder; safe to call twice."""
        self._closed = True
        for viewer in self._viewers.values():
            viewer.hang_up()
        if self._watches:
            await asyncio.wait(list(self._watches.values()))
        await asyncio.get_running_loop().run_in_executor(None, self._worker.close)

    async def _look_after(self, viewer: Viewer) -> None:
        """From the answer to the end of a viewer."""
        end = "failed"
        try:
            end = await viewer.watch()
        finally:
            viewer.live = viewer.connecting = False
            self._update()
            try:
                await viewer.close()
            finally:
                self._ends[end] += 1
                self._drops += viewer.drops
                del self._viewers[viewer.id], self._watches[viewer.id]

    def _on_start(self, viewer: Viewer) -> None:
        self._worker.want_key(viewer.codec)  # first, so that the next picture is one
        self._update()

    def _update(self) -> None:
        self._worker.want(frozenset(v.codec for v in self._viewers.values() if v.live))

    def _hand_over(self, pictures: dict[str, Picture]) -> None:
        """In the worker's thread."""
        try:
            self._loop.call_soon_threadsafe(self._deliver, pictures)
        except RuntimeError:  # the loop has ended; so has everybody
            self._worker.taken()

    def _deliver(self, pictures: dict[str, Picture]) -> None:
        for viewer in self._viewers.values():
            if viewer.live and viewer.codec in pictures:
                viewer.put(pictures[viewer.codec])
        # after the senders have had their turn: what they are woken by now runs before this
        self._loop.call_soon(self._worker.taken)
