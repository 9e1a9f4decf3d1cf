"""A loop that needs no codec: it copies the source into the panes and makes its statistics up from the situation."""

from __future__ import annotations

import itertools
import random
import threading
from dataclasses import asdict, dataclass

import pytest

from lrae.codec.types import Frame
from lrae.codec.y4m import frame_bytes, header
from lrae.sender.source import open_source

KINDS = ("media", "side", "parity", "retransmit", "headers", "feedback")
PACKETS = {"lrae": 8, "h264": 6}


@dataclass(frozen=True)
class ThreePictures:
    source: Frame
    lrae: Frame
    conventional: Frame
    number: int
    time: float


class FakeLoop:
    """lrae.webrtc.loop.Loop without networks: any lost packet of H.264 freezes it until a frame is whole."""

    def __init__(self, size, fps, situation, on_picture, on_stats, seed=0, **_):
        self.size, self.fps, self.situation = size, fps, situation
        self._on_picture, self._on_stats, self._rng = on_picture, on_stats, random.Random(seed)
        self._lock = threading.Lock()
        self._still, self._frozen_since, self._until, self._stalls = None, None, 0.0, 0
        self.number, self.drops, self.closed = 0, [], False

    def offer(self, frame, time):
        with self._lock:
            if self.situation.paused or self.closed:
                return
            self._show(frame, time)

    def _show(self, frame, time):
        gone = time < self._until
        loss = 1.0 if gone else self.situation.loss
        codes = {leg: [int(self._rng.random() < loss) for _ in range(n)] for leg, n in PACKETS.items()}
        codes["lrae"] = [3 * c if self.situation.imputer else c for c in codes["lrae"]]
        lost = any(codes["h264"])
        if not lost:
            self._still, self._frozen_since = frame, None
        elif self._frozen_since is None:
            self._frozen_since, self._stalls = time, self._stalls + 1
            self._still = self._still or frame
        stall = 1e3 * (time - self._frozen_since) if lost else 0.0
        self._on_picture(ThreePictures(frame, frame, self._still, self.number, time))
        rng = self._rng.random
        state = "extrapolated" if gone else "partial" if any(codes["lrae"]) else "whole"
        self._on_stats(
            {
                "frame": self.number,
                "time": time,
                "size": list(self.size),
                "delay_ms": {"lrae": 90 + 9 * rng(), "h264": 95 + stall + 9 * rng(), "gateway": 70 + 5 * rng()},
                "queue_ms": 4.0,
                "fps": self.fps,
                "psnr": {"lrae": 36 - 12 * loss + rng(), "h264": 37 - min(15.0, stall / 50) + rng()},
                "ssim": {"lrae": 15 - 6 * loss + rng(), "h264": float("inf") if not lost else 8 + rng()},
                "kbps": {leg: {kind: (400 if kind == "media" else 20) + 9 * rng() for kind in KINDS} for leg in codes},
                "packets": codes,
                "state": {"lrae": state, "h264": "frozen" if lost else "whole"},
                "stall_ms": {"lrae": 0.0, "h264": stall},
                "stalls": {"lrae": 0, "h264": self._stalls},
                "label": {"name": "handshake", "confidence": 0.7},
                "dropped_inputs": 0,
                "situation": asdict(self.situation),
            }
        )
        self.number += 1
        self._last = time

    def set(self, situation):
        self.situation = situation

    def drop(self, seconds=1.0):
        self.drops.append(seconds)
        self._until = self._last + seconds

    def close(self):
        self.closed = True


@pytest.fixture
def fake_loop():
    return FakeLoop


@pytest.fixture(scope="session")
def clip_file(tmp_path_factory):
    """The name of a small clip, 128x72 at 30 frames a second."""
    path = tmp_path_factory.mktemp("clips") / "clip.y4m"
    source = open_source("synthetic:128x72@30x30")
    path.write_bytes(header(source.format) + b"".join(map(frame_bytes, itertools.islice(source, 30))))
    return str(path)
