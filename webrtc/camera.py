"""A browser's camera over WebRTC: one at a time, the newest offer wins; frames are cut and scaled to one size."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable

import av
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from lrae.codec.avframe import Converter
from lrae.codec.types import Frame, VideoFormat
from lrae.errors import LraeError
from lrae.webrtc.framing import fit

SILENCE = 3.0  # seconds without a frame after which a camera counts as gone
PATIENCE = 10.0  # seconds for a connection to come about, and for one to close
START_KBPS = 2500  # where the browser's bandwidth estimate starts: the way is short
MAX_SIDE = 4096
MIN_GAP = 0.5  # seconds between two offers

log = logging.getLogger(__name__)


class OfferRefused(LraeError):
    """An offer of a camera that cannot be taken. status: of the HTTP answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Camera:
    """show(frame, now) is called from a thread with each frame, now being time.monotonic(); gone(told) from the event
    loop when a camera that was there stops: told, as its owner said so."""

    def __init__(
        self, size: tuple[int, int], show: Callable[[Frame, float], None], gone: Callable[[bool], None]
    ) -> None:
        self._size, self._show, self._gone = size, show, gone
        self._peer: RTCPeerConnection | None = None
        self._task: asyncio.Task | None = None
        self._id = ""
        self._lock = asyncio.Lock()
        self._last_offer = -MIN_GAP
        self.frames = 0

    @property
    def live(self) -> bool:
        """A camera is connected, or connecting."""
        return self._peer is not None

    async def answer(self, sdp: str) -> tuple[str, str]:
        """An SDP offer with video -> (id of the camera, SDP answer); the camera before it is let go. OfferRefused."""
        now = time.monotonic()
        if self._lock.locked() or now - self._last_offer < MIN_GAP:
            raise OfferRefused(429, "another camera is just being connected")
        self._last_offer = now
        async with self._lock:
            peer = RTCPeerConnection()
            try:
                async with asyncio.timeout(PATIENCE):
                    await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
                    video = [t for t in peer.getTransceivers() if t.kind == "video"]
                    if not video or not video[0].receiver.track:
                        raise OfferRefused(400, "the offer has no video")
                    await peer.setLocalDescription(await peer.createAnswer())
            except OfferRefused:
                await _close(peer)
                raise
            except Exception as error:  # aiortc lets many kinds out of malformed text
                await _close(peer)
                raise OfferRefused(400, "that is not an SDP offer of a camera that can be taken") from error
            await self._release()
            self._peer, self._id = peer, secrets.token_urlsafe(12)
            self._task = asyncio.create_task(self._run(peer, video[0].receiver.track))
            return self._id, quick_start(peer.localDescription.sdp)

    async def hang_up(self, camera: str) -> bool:
        """The camera of that id goes; False: there is none such."""
        async with self._lock:
            if not self._id or not secrets.compare_digest(camera, self._id):
                return False
            await self._release()
        self._gone(True)
        return True

    async def close(self) -> None:
        """No camera any more."""
        async with self._lock:
            await self._release()

    async def _release(self) -> None:
        peer, task, self._peer, self._task, self._id = self._peer, self._task, None, None, ""
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if peer is not None:
            await _close(peer)

    async def _run(self, peer: RTCPeerConnection, track) -> None:
        """Takes frames as they come and shows the newest whenever the one before is done."""
        newest: list[av.VideoFrame] = []
        news = asyncio.Event()

        async def take() -> None:
            wait = PATIENCE  # for the first
            while True:
                picture = await asyncio.wait_for(track.recv(), wait)
                wait = SILENCE
                newest[:] = [picture]
                news.set()

        async def give() -> None:
            while True:
                await news.wait()
                news.clear()
                await asyncio.to_thread(self._convert, newest[0])

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(take())
                group.create_task(give())
        except* (MediaStreamError, TimeoutError):
            pass
        except* Exception:
            log.exception("the camera failed")
        if self._peer is peer:
            self._peer, self._task, self._id = None, None, ""
            self._gone(False)
        await _close(peer)

    def _convert(self, picture: av.VideoFrame) -> None:
        now = time.monotonic()
        if max(picture.width, picture.height) > MAX_SIDE or min(picture.width, picture.height) < 2:
            return
        frame = Converter(VideoFormat(picture.width, picture.height))(picture, now)
        self.frames += 1
        self._show(fit(frame, self._size), now)


def quick_start(sdp: str) -> str:
    """An answer that tells the browser to start at a rate that a camera picture needs (a parameter of Chromium's)."""
    start, videos = f"x-google-start-bitrate={START_KBPS}", ("VP8/", "H264/")
    lines = sdp.split("\r\n")
    described = {line[len("a=fmtp:") :].split(" ")[0] for line in lines if line.startswith("a=fmtp:")}
    result, codecs = [], set()
    for line in lines:
        kind, _, rest = line.partition(":")
        payload, _, text = rest.partition(" ")
        if kind == "a=rtpmap" and text.upper().startswith(videos):
            codecs.add(payload)
            result += [line] if payload in described else [line, f"a=fmtp:{payload} {start}"]
        else:
            result.append(f"{line};{start}" if kind == "a=fmtp" and payload in codecs else line)
    return "\r\n".join(result)


async def _close(peer: RTCPeerConnection) -> None:
    with contextlib.suppress(Exception):  # whatever a half-open connection has to say
        async with asyncio.timeout(PATIENCE):
            await peer.close()
