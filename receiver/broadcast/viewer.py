"""One browser that looks: a peer connection that is fed packets, and watched so that it never stays for nothing."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable

import av
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from lrae.receiver.broadcast.bucket import Bucket
from lrae.receiver.broadcast.encoder import Picture
from lrae.receiver.broadcast.offer import BUSY, OfferError, chosen_codec, clean_offer

MAX_WAITING = 4  # pictures; more: this viewer starts anew with a key frame
CONNECT = 10.0  # seconds in which ICE and DTLS must be through
SILENCE = 6.0  # seconds without a packet from a viewer who is being sent pictures; reports come about every second
LOOK = 0.5  # seconds between looks at a viewer
ASKS = (3, 0.5)  # key frames that a viewer may ask for, at once and a second: everybody pays for each
CLOSE = 3.0  # seconds that saying goodbye may take

_log = logging.getLogger(__name__)


async def settle(end: RTCRtpSender | RTCRtpReceiver) -> None:
    """Ends what goes on for ever where a connection is closed in the moment in which it comes about.

    aioice (0.13) takes up to 20 ms to notice that its checks have succeeded, and then asks for consent again and again;
    aiortc (1.16) starts a sender after it was stopped, if the handshake ends while it closes.
    """
    await asyncio.sleep(0.05)
    await end.stop()
    task = getattr(end.transport.transport._connection, "_query_consent_task", None)
    if task is not None:
        task.cancel()


class PacketTrack(MediaStreamTrack):
    """Hands encoded pictures to aiortc's sender, which only cuts them into RTP. on_start: at the first request."""

    kind = "video"

    def __init__(self, on_start: Callable[[], None]) -> None:
        super().__init__()
        self._on_start: Callable[[], None] | None = on_start
        self._queue: deque[av.Packet] = deque()
        self._filled = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Pictures that wait."""
        return len(self._queue)

    def put(self, packet: av.Packet) -> None:
        """One more picture, to be sent after those that wait."""
        self._queue.append(packet)
        self._filled.set()

    def clear(self) -> None:
        """Forgets what waits."""
        self._queue.clear()

    def stop(self) -> None:
        super().stop()
        self._filled.set()

    async def recv(self) -> av.Packet:
        if self._on_start is not None:
            self._on_start()
            self._on_start = None
        while not self._queue:
            self._filled.clear()
            if self.readyState != "live":
                raise MediaStreamError
            await self._filled.wait()
        return self._queue.popleft()


class Viewer:
    """on_start(viewer): pictures can be sent from now on; on_key(viewer): it needs a key frame."""

    def __init__(self, on_start: Callable[[Viewer], None], on_key: Callable[[Viewer], None]) -> None:
        self.id = secrets.token_urlsafe(16)  # whoever knows it may hang up
        self.codec = ""
        self.live = False  # pictures can be sent
        self.connecting = True
        self.sent = 0  # pictures handed over
        self.drops: Counter[str] = Counter()  # behind (could not be sent in time), waiting (for a key frame)
        self._on_start, self._on_key = on_start, on_key
        self._needs_key = True
        self._asks = Bucket(*ASKS)
        self._gone = asyncio.Event()
        self._track = PacketTrack(self._start)
        # no servers: without them aiortc would ask a public STUN server for this machine's address
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._sender: RTCRtpSender | None = None

    async def answer(self, sdp: str) -> str:
        """The answer to an offer. Raises OfferError; the viewer must be closed then."""
        text = clean_offer(sdp)
        transceiver = self._connection.addTransceiver(self._track, "sendonly")
        order = {"video/h264": 0, "video/vp8": 1, "video/rtx": 2}
        codecs = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.mimeType.lower() in order]
        transceiver.setCodecPreferences(sorted(codecs, key=lambda c: order[c.mimeType.lower()]))
        self._sender = transceiver.sender
        self._sender._send_keyframe = self._ask  # aiortc's hook for PLI and FIR; it has no public one
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(text, "offer"))
        except Exception as error:  # of an offer that parses, yet makes no sense to aiortc
            raise OfferError("the offer cannot be answered: no codec in common, or contradictory SDP") from error
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        answer = self._connection.localDescription.sdp
        if "a=candidate:" not in answer:
            raise OfferError("this machine has no network address to send video from", BUSY)
        self.codec = chosen_codec(answer)
        return answer

    def put(self, picture: Picture) -> None:
        """One more picture, or none of those that a viewer cannot use."""
        if self._track.waiting >= MAX_WAITING:
            self.drops["behind"] += self._track.waiting
            self._track.clear()
            self._needs_key = True
            if not picture.key:
                self._on_key(self)
        if self._needs_key and not picture.key:
            self.drops["waiting"] += 1
            return
        self._needs_key = False
        self.sent += 1
        self._track.put(picture.packet)

    def hang_up(self) -> None:
        """Ends watch()."""
        self._gone.set()

    async def watch(self) -> str:
        """Waits for the end, and says what it was."""
        self._track.on("ended", self._gone.set)  # the sender has stopped, for whatever reason
        self._connection.on("connectionstatechange", self._look_at_state)
        start = heard = time.monotonic()
        packets = sent = -1
        while True:
            try:
                async with asyncio.timeout(LOOK):
                    await self._gone.wait()
                return "left"
            except TimeoutError:
                now = time.monotonic()
            if self.connecting:
                if now - start > CONNECT:
                    return "never connected"
                continue
            received = await self._received()
            if received != packets or self.sent == sent:  # who is sent nothing has nothing to report
                packets, sent, heard = received, self.sent, now
            if now - heard > SILENCE:
                return "silent"

    async def close(self) -> None:
        """Says goodbye and lets go of everything, in bounded time."""
        self.live = self.connecting = False
        self._track.stop()
        self._connection.remove_all_listeners()
        try:
            async with asyncio.timeout(CLOSE):
                await self._connection.close()
                if self._sender is not None:
                    await settle(self._sender)
        except TimeoutError:
            _log.warning("a viewer's connection did not close in %g s", CLOSE)

    def _start(self) -> None:
        self.live, self.connecting = True, False
        self._on_start(self)

    def _ask(self) -> None:
        """The browser has lost its place; it repeats this until a key frame comes."""
        if self._asks.take(time.monotonic()):
            self._on_key(self)

    def _look_at_state(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self._gone.set()

    async def _received(self) -> int:
        """Packets that have come from this viewer."""
        report = await self._sender.getStats()
        return sum(s.packetsReceived for s in report.values() if s.type == "transport")
