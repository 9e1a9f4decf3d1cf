"""The values that travel between a source, the codec, a session and a sink."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

LAYOUTS = ("tiles", "interleaved", "progressive")
TILES, INTERLEAVED, PROGRESSIVE = range(3)
# what stands in for missing parts: nothing (the last picture), the last motion, that and what has changed around, the
# imputer network without its memory, the imputer
IMPUTE = ("zero", "previous", "neighbours", "still", "full")
MIN_SIDE, MAX_SIDE = 16, 4096
Q_LEVELS = 64  # q = 0 is the coarsest (fewest bits), q = 63 the finest
MAX_PACKETS = 64


@dataclass(frozen=True)
class VideoFormat:
    """What a stream's frames look like; sent once in CONFIG. 8-bit yuv420p, any size."""

    width: int
    height: int
    fps: Fraction = Fraction(30)
    color_range: str = "tv"  # "tv" (limited) or "pc" (full)
    matrix: str = "bt709"  # libav's name of the YUV matrix; carried through, never applied


@dataclass(frozen=True, eq=False)
class Frame:
    """One yuv420p picture. y: uint8 [H, W]; u, v: uint8 [ceil(H/2), ceil(W/2)]. time: capture, seconds."""

    y: np.ndarray
    u: np.ndarray
    v: np.ndarray
    time: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)"""
        return self.y.shape[1], self.y.shape[0]


@dataclass(frozen=True)
class FrameHeader:
    """What every packet of a frame repeats and a decoder needs beside the payloads.

    reference: frame number whose state this frame is predicted from (ignored if intra).
    packets: K, how many packets the frame was dealt into (1..64).
    """

    number: int
    intra: bool
    q: int
    packets: int
    layout: int = 0  # index into LAYOUTS
    reference: int = 0


@dataclass(frozen=True)
class EncodeHints:
    """What a session asks of the encoder for one frame."""

    intra: bool = False
    packets: int | None = None  # K; None: chosen from the frame's size and the MTU
    layout: int = 0
    side_copies: int = 1  # in how many of the K packets the side information travels (not with tiles: each has its own)
    max_payload: int = 1150  # bytes that fit one packet beside its header
    loss: float = 0.0  # expected share of packets lost: how much spare motion pays
    repair: float = 1.0  # frames that a loss spoils, for spare motion; more where quality counts more than bits
    refresh: frozenset[int] = frozenset()  # tiles (raster order) to code without prediction (layout tiles only)
    least: int = 2  # K at least, where it is not given: then a loss does not take a whole frame
    even: bool = False  # no frame finer for the sake of the next ones: bursts cost delay and parity


@dataclass(frozen=True, eq=False)
class EncodedFrame:
    """payloads: K byte strings, each decodes alone given the frame's side information; empty ones are not sent (a tail
    that was cut off to keep the rate). meta: for state_after.

    worth: of each packet, what losing it would cost, in any unit (lrae.codec.utility); None: not known.
    bundles: the payloads that travel together, datagram by datagram, each once; (): all travel alone.
    """

    header: FrameHeader
    payloads: tuple[bytes, ...]
    side_bytes: int  # bytes of side information, all copies together
    meta: object = None
    timing: dict[str, float] = field(default_factory=dict)  # seconds per stage
    worth: tuple[float, ...] | None = None
    bundles: tuple[tuple[int, ...], ...] = ()

    @property
    def sent(self) -> frozenset[int]:
        """Indices of the packets that are sent."""
        return frozenset(index for index, payload in enumerate(self.payloads) if payload)


@dataclass(frozen=True, eq=False)
class DecodedFrame:
    """used: which payload indices took part; complete: nothing was missing; dropped: payloads refused as malformed."""

    frame: Frame
    used: frozenset[int]
    complete: bool
    dropped: int = 0
    timing: dict[str, float] = field(default_factory=dict)
