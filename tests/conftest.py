"""Shared by all tests: a small exact codec that shows what was lost, and a world of virtual time."""

from __future__ import annotations

import zlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import settings

from lrae.codec.types import DecodedFrame, EncodedFrame, EncodeHints, Frame, FrameHeader, VideoFormat

settings.register_profile("any machine", deadline=None)  # speed is measured in benchmarks, not in tests
settings.load_profile("any machine")


class FakeCodec:
    """Encoder and Decoder of codec/api.py in one: row i of the luma travels in packet i % K, as a difference.

    A state is the luma that a receiver holds, int16 [H, W]. In step with the sender, a frame that arrives
    whole is exact; a lost packet leaves its rows as they were. A frame with any tile to refresh repeats all
    rows without prediction, as an intra frame does.
    """

    model_hash = "0123456789abcdef"

    def __init__(self, format: VideoFormat, packets: int = 3) -> None:
        self.format, self._packets = format, packets

    def initial_state(self):
        return np.full((self.format.height, self.format.width), 128, np.int16)

    def encode(self, state, frame, number, q, hints=EncodeHints(), reference=0):
        k = hints.packets or self._packets
        intra = hints.intra
        header = FrameHeader(number, intra, q, k, hints.layout, 0 if intra else reference)
        alone = intra or bool(hints.refresh)
        base = np.zeros_like(state) if alone else state
        rows = [bytes([alone]) + (frame.y[i::k].astype(np.int16) - base[i::k]).tobytes() for i in range(k)]
        encoded = EncodedFrame(header, tuple(zlib.compress(r) for r in rows), 0, meta=rows)
        return encoded, self.state_after(state, encoded, frozenset(range(k)))

    def state_after(self, state, encoded, received):
        return self._apply(state, encoded.header, {i: encoded.meta[i] for i in received})

    def worth(self, encoded, before, after):
        return tuple(float(len(payload)) for payload in encoded.payloads)

    def picture(self, state, time=0.0):
        half = np.full(((state.shape[0] + 1) // 2, (state.shape[1] + 1) // 2), 128, np.uint8)
        return Frame(state.clip(0, 255).astype(np.uint8), half, half, time)

    def decode(self, state, header, payloads, time=0.0):
        rows = {}
        for i, payload in payloads.items():
            try:
                rows[i] = zlib.decompress(payload)
            except zlib.error:
                continue
        used = frozenset(i for i in rows if len(rows[i]) == 1 + 2 * state[i :: header.packets].size)
        after = self._apply(state, header, {i: rows[i] for i in used})
        complete = header is not None and len(used) == header.packets
        return DecodedFrame(self.picture(after, time), used, complete, len(payloads) - len(used)), after

    def _apply(self, state, header, rows):
        after = state.copy()
        for i, data in rows.items():
            part = after[i :: header.packets]
            part *= not data[0]
            part += np.frombuffer(data[1:], np.int16).reshape(part.shape)
        return after


@pytest.fixture
def fake_codec():
    return FakeCodec


@pytest.fixture
def small_format():
    return VideoFormat(32, 16, Fraction(30))


@pytest.fixture
def picture(small_format):
    """picture(n) -> Frame: noise that depends on n alone."""

    def make(number: int) -> Frame:
        rng = np.random.default_rng(number)
        w, h = small_format.width, small_format.height
        y, u, v = (rng.integers(0, 256, s, np.uint8) for s in ((h, w), (h // 2, w // 2), (h // 2, w // 2)))
        return Frame(y, u, v, number / 30)

    return make
