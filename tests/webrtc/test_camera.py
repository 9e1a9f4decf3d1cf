"""A camera by WebRTC (aiortc plays the browser), and what a clip or a camera picture becomes."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")

import av
from aiortc import RTCPeerConnection, RTCSessionDescription, VideoStreamTrack

from lrae.codec.types import Frame
from lrae.errors import SourceError
from lrae.webrtc import camera as cameras
from lrae.webrtc.camera import Camera, OfferRefused, quick_start
from lrae.webrtc.clip import Clip
from lrae.webrtc.framing import fit, side_by_side

SIZE = (64, 48)


class Grey(VideoStreamTrack):
    """An endless grey picture."""

    async def recv(self):
        pts, base = await self.next_timestamp()
        picture = av.VideoFrame.from_ndarray(np.full((120, 160, 3), 200, np.uint8))
        picture.pts, picture.time_base = pts, base
        return picture


class Events:
    def __init__(self):
        self.frames, self.gone = [], []

    def show(self, frame, now):
        self.frames.append((frame, now))

    def left(self, told):
        self.gone.append(told)

    async def until(self, true):
        async with asyncio.timeout(30):
            while not true():
                await asyncio.sleep(0.02)


@pytest.fixture
def camera(monkeypatch):
    """camera(test): runs an async test with a Camera and what it told."""
    monkeypatch.setattr(cameras, "MIN_GAP", 0.0)

    def run(test):
        async def inner():
            events = Events()
            camera = Camera(SIZE, events.show, events.left)
            try:
                await test(camera, events)
            finally:
                await camera.close()

        asyncio.run(inner())

    return run


async def connect(camera):
    peer = RTCPeerConnection()
    peer.addTrack(Grey())
    await peer.setLocalDescription(await peer.createOffer())
    name, answer = await camera.answer(peer.localDescription.sdp)
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    return peer, name


def test_a_camera_s_frames_come_in_the_size_that_is_wanted_until_it_hangs_up(camera):
    async def test(camera, events):
        peer, name = await connect(camera)
        await events.until(lambda: len(events.frames) >= 5)
        assert camera.live
        frame, now = events.frames[-1]
        assert frame.size == SIZE and abs(int(frame.y.mean()) - 187) < 8 and now <= time.monotonic()
        assert not await camera.hang_up("another")
        assert await camera.hang_up(name) and not camera.live and events.gone == [True]
        await peer.close()

    camera(test)


def test_the_newest_camera_takes_over(camera):
    async def test(camera, events):
        first, name = await connect(camera)
        await events.until(lambda: events.frames)
        second, other = await connect(camera)
        assert name != other and not await camera.hang_up(name)
        seen = len(events.frames)
        await events.until(lambda: len(events.frames) > seen + 3)
        await first.close()
        await asyncio.sleep(0.1)
        assert camera.live and not events.gone
        await second.close()

    camera(test)


def test_a_camera_that_vanishes_is_gone(camera, monkeypatch):
    monkeypatch.setattr(cameras, "SILENCE", 0.5)

    async def test(camera, events):
        peer, _ = await connect(camera)
        await events.until(lambda: events.frames)
        await peer.close()
        await events.until(lambda: events.gone)
        assert not camera.live and events.gone == [False]

    camera(test)


def test_offers_that_cannot_be_taken_are_refused_in_one_line(camera, monkeypatch):
    async def test(camera, events):
        deaf = RTCPeerConnection()
        deaf.addTransceiver("audio")
        await deaf.setLocalDescription(await deaf.createOffer())
        for sdp in ("", "v=0", "nonsense\r\n" * 50, deaf.localDescription.sdp, "v=0\r\nm=video 9 UDP 96\r\n" * 20):
            with pytest.raises(OfferRefused) as refused:
                await camera.answer(sdp)
            assert refused.value.status == 400 and "\n" not in str(refused.value)
        assert not camera.live
        monkeypatch.setattr(cameras, "MIN_GAP", 60.0)
        with pytest.raises(OfferRefused) as refused:
            await camera.answer("v=0")
        assert refused.value.status == 429
        await deaf.close()

    camera(test)


def test_an_answer_tells_the_browser_where_to_start_with_every_video_codec():
    sdp = "m=video 9 X 97 98 99\r\na=rtpmap:97 VP8/90000\r\na=rtpmap:98 rtx/90000\r\na=fmtp:98 apt=97\r\n"
    sdp += "a=rtpmap:99 H264/90000\r\na=fmtp:99 packetization-mode=1\r\n"
    answer = quick_start(sdp).split("\r\n")
    assert "a=fmtp:97 x-google-start-bitrate=2500" in answer
    assert "a=fmtp:98 apt=97" in answer
    assert "a=fmtp:99 packetization-mode=1;x-google-start-bitrate=2500" in answer


@pytest.mark.parametrize("size", ((160, 120), (161, 91), (48, 200), (60, 40)))
def test_a_picture_of_any_size_keeps_its_middle_and_its_shape(size):
    width, height = size
    y, x = np.mgrid[:height, :width]
    disc = ((x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(size) / 4) ** 2).astype(np.uint8) * 255
    half = np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8)
    fitted = fit(Frame(disc, half, half, 1.5), SIZE)
    assert fitted.size == SIZE and fitted.u.shape == (24, 32) and fitted.time == 1.5
    rows, columns = (fitted.y > 127).any(1).sum(), (fitted.y > 127).any(0).sum()
    assert abs(rows - columns) <= 3  # a disc is still one
    assert abs(np.nonzero(fitted.y > 127)[1].mean() - SIZE[0] / 2) < 2


def test_three_pictures_stand_side_by_side():
    frames = [Frame(*(np.full(s, n, np.uint8) for s in ((4, 6), (2, 3), (2, 3))), time=n) for n in (1, 2, 3)]
    three = side_by_side(frames)
    assert three.size == (18, 4) and three.time == 1
    assert three.y[0].tolist() == [1] * 6 + [2] * 6 + [3] * 6 and three.v[0].tolist() == [1] * 3 + [2] * 3 + [3] * 3


@pytest.mark.parametrize("kept", (True, False))
def test_a_clip_plays_over_and_over_but_only_while_it_is_wanted(kept, monkeypatch):
    if not kept:
        monkeypatch.setattr("lrae.webrtc.clip.KEPT_BYTES", 0)
    seen = []
    clip = Clip("synthetic:96x64@30x10", SIZE, None, lambda frame, now: seen.append(frame))
    try:
        time.sleep(0.1)
        assert not seen
        clip.play(True)
        end = time.monotonic() + 30
        while len(seen) < 15 and time.monotonic() < end:
            time.sleep(0.02)
        assert np.array_equal(seen[10].y, seen[0].y) and (seen[10] is seen[0]) == kept
        assert all(frame.size == SIZE for frame in seen)
    finally:
        clip.close()
    count = len(seen)
    time.sleep(0.1)
    assert len(seen) == count


def test_a_clip_that_is_none_is_refused():
    with pytest.raises(SourceError):
        Clip("/nowhere.mp4", SIZE, None, print)
