"""The functional codec: what every codec here (LRAE, later the conventional ones) looks like to a session.

State is an explicit value: the caller keeps it, hands it in, and may keep several. Nothing in entropy
decoding depends on it, so what arrives decodes whatever was lost before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from lrae.codec.types import DecodedFrame, EncodedFrame, EncodeHints, Frame, FrameHeader, VideoFormat

State = Any


class Encoder(Protocol):
    """encode(state, frame, q) -> (packets, the state of a receiver that gets all of them)."""

    format: VideoFormat

    def initial_state(self) -> State:
        """The state before any frame; the next frame must be intra."""
        ...

    def encode(
        self, state: State, frame: Frame, number: int, q: int, hints: EncodeHints, reference: int = 0
    ) -> tuple[EncodedFrame, State]:
        """Encode one frame. number: 32-bit frame number; reference: number of the frame `state` stands after."""
        ...

    def state_after(self, state: State, encoded: EncodedFrame, received: frozenset[int]) -> State:
        """The state of a receiver in `state` that got only the payloads in `received` of `encoded`."""
        ...


    def worth(self, encoded: EncodedFrame, before: State, after: State) -> tuple[float, ...]:
        """Of each packet, what losing it would cost, in any unit. before, after: encode()'s states."""
        ...


class Decoder(Protocol):
    """decode(state, whatever arrived) -> (frame, new state); any subset, also none."""

    format: VideoFormat

    def initial_state(self) -> State: ...

    def decode(
        self, state: State, header: FrameHeader | None, payloads: Mapping[int, bytes], time: float = 0.0
    ) -> tuple[DecodedFrame, State]:
        """Decode one frame from payloads (index -> bytes). header None: nothing arrived, extrapolate."""
        ...
