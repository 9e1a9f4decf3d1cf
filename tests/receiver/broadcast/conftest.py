"""A viewer of the tests' own: aiortc as the browser, in the same process, over this machine's own addresses."""

from __future__ import annotations

import asyncio
import importlib.util

import numpy as np
import pytest

from lrae.codec.types import Frame

if importlib.util.find_spec("aiortc") and importlib.util.find_spec("aiohttp"):
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription

    from lrae.receiver.broadcast.viewer import settle
else:  # the web extra is not installed: nothing here can run
    collect_ignore_glob = ["test_*.py"]


class Client:
    """Looks at what answers its offer. codec: the only one that it can."""

    def __init__(self, codec: str = "H264") -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        transceiver = self.connection.addTransceiver("video", "recvonly")
        kinds = (f"video/{codec}".lower(), "video/rtx")
        codecs = [c for c in RTCRtpReceiver.getCapabilities("video").codecs if c.mimeType.lower() in kinds]
        transceiver.setCodecPreferences(codecs)
        self.receiver = transceiver.receiver
        self.id = ""

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def take(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def join(self, broadcast) -> Client:
        self.id, answer = await broadcast.answer(await self.offer())
        await self.take(answer)
        return self

    async def picture(self):
        async with asyncio.timeout(10):
            return await self.receiver.track.recv()

    async def level(self) -> int:
        """Of the next picture: its mean luma."""
        picture = await self.picture()
        return round(float(picture.to_ndarray(format="yuv420p")[: picture.height].mean()))

    async def leave(self) -> None:
        await self.connection.close()
        await settle(self.receiver)

    def vanish(self) -> None:
        """From now on nothing comes from here, as when a cable is pulled."""
        transport = self.receiver.transport.transport

        async def swallow(data: bytes) -> None:
            """Goes nowhere."""

        transport._send = swallow
        for protocol in transport._connection._protocols:
            protocol.transport.close()


@pytest.fixture
def client():
    return Client


@pytest.fixture
def flat():
    """flat(level, time, size) -> a grey frame."""

    def make(level: int, time: float = 0.0, size: tuple[int, int] = (64, 48)) -> Frame:
        width, height = size
        half = ((height + 1) // 2, (width + 1) // 2)
        return Frame(*(np.full(s, v, np.uint8) for s, v in (((height, width), level), (half, 128), (half, 128))), time)

    return make


@pytest.fixture
def feeding(flat):
    """async with feeding(broadcast): pictures come, 50 a second; each a little lighter, so that frozen ones show."""

    class Feeding:
        def __init__(self, broadcast, size=(64, 48)) -> None:
            self._broadcast, self.size, self.shown = broadcast, size, 0

        async def _feed(self) -> None:
            while True:
                self._broadcast.show(flat(40 + self.shown % 160, self.shown / 50, self.size), self.shown / 50)
                self.shown += 1
                await asyncio.sleep(1 / 50)

        async def __aenter__(self):
            self._task = asyncio.create_task(self._feed())
            return self

        async def __aexit__(self, *_):
            self._task.cancel()
            await asyncio.wait([self._task])

    return Feeding


@pytest.fixture
def until():
    """await until(condition): fails after ten seconds."""

    async def wait(condition) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.02)

    return wait
