"""A libav decoder behind the Decoder protocol: packets that arrived in, the picture for the screen out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import av
import numpy as np

from lrae.codec.avframe import crop, from_av
from lrae.codec.conventional.packets import unpack
from lrae.codec.conventional.settings import find
from lrae.codec.types import DecodedFrame, Frame, FrameHeader, VideoFormat


class ConventionalDecoder:
    """decode(state, header, payloads) -> (frame, state), forward only.

    state: how many frames were decoded; libav's decoder, which holds the real state, cannot be copied or taken back,
    so that only the newest state may be handed in (RuntimeError for another). sequential: says so; late packets cannot
    mend anything.

    A damaged frame is what libav's error concealment makes of it (h264), and later ones are predicted from that. The
    other codecs' decoders have none: the picture freezes until a keyframe has arrived whole. Before the first one it
    is grey. DecodedFrame.used: the packets decoded; none while the picture is frozen, so that the sender hears of it.
    """

    sequential = True

    def __init__(self, name: str, video: VideoFormat) -> None:
        self._codec = find(name)
        self.format = video
        self.model_hash = model_hash(name)
        self._even = video.width + video.width % 2, video.height + video.height % 2
        self._picture = _grey(video)
        self._position = 0
        self._synchronous = False  # a keyframe was decoded, and nothing since is missing that the decoder needs
        self._open()

    def initial_state(self) -> int:
        """The state before any frame."""
        return 0

    def decode(
        self, state: int, header: FrameHeader | None, payloads: Mapping[int, bytes], time: float = 0.0
    ) -> tuple[DecodedFrame, int]:
        """The next frame. header None, or no payloads: nothing arrived."""
        if state != self._position:
            raise RuntimeError(f"a conventional decoder goes forward only: it stands after frame {self._position}")
        self._position += 1
        used = self._take(header, payloads) if header is not None else frozenset()
        if not used and not self._codec.conceals:
            self._synchronous = False
        complete = header is not None and len(used) == header.packets
        frame = replace(self._picture, time=time)
        return DecodedFrame(frame, used, complete), self._position

    def _take(self, header: FrameHeader, payloads: Mapping[int, bytes]) -> frozenset[int]:
        """Decodes what arrived of a frame into the picture; returns the packets that took part."""
        data, used = unpack(payloads)
        whole = len(used) == header.packets
        wanted = self._synchronous or header.intra
        if not data or not wanted or not (whole or self._codec.conceals):
            return frozenset()
        if header.intra and not self._synchronous and self._position > 1:
            self._open()  # what an unfinished past has left behind is forgotten
        picture = self._feed(data)
        if picture is None:
            return frozenset()
        self._synchronous = True
        self._picture = crop(from_av(picture), self.format.width, self.format.height)
        return used

    def _feed(self, data: bytes) -> av.VideoFrame | None:
        """The picture that libav makes of the units of one frame, None if it makes none of the right size."""
        try:
            pictures = self._context.decode(av.Packet(data))
        except (av.error.FFmpegError, ValueError):
            return None
        fitting = [p for p in pictures if (p.width, p.height) == self._even and p.format.name == "yuv420p"]
        return fitting[-1] if fitting else None

    def _open(self) -> None:
        context = av.CodecContext.create(self._codec.decoder, "r")
        context.thread_count = 1
        context.options = {"max_pixels": str(max(4096, 4 * self._even[0] * self._even[1]))} | self._codec.decoding
        context.flags |= av.codec.context.Flags.low_delay | av.codec.context.Flags.output_corrupt
        self._context = context


def model_hash(name: str) -> str:
    """What stands for the hash of weights in CONFIG: both ends have the same idea of the packets. 16 hex digits."""
    return hashlib.sha256(f"conventional {name} 1".encode()).hexdigest()[:16]


def _grey(video: VideoFormat) -> Frame:
    half = (video.height + 1) // 2, (video.width + 1) // 2
    luma = np.full((video.height, video.width), 128, np.uint8)
    return Frame(luma, np.full(half, 128, np.uint8), np.full(half, 128, np.uint8))
