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
    so that only the newest state may be handed in (RuntimeError for another), and initial_state() begins anew.
    sequential: says so; late packets cannot mend anything.

    A damaged frame is what libav's error concealment makes of it (h264), and later ones are predicted from that. The
    other codecs' decoders have none: the picture freezes until a keyframe has arrived whole. Before the first one it
    is grey. conceal: False: h264 freezes, too, as in browsers, which hand a decoder whole frames only.
    DecodedFrame.used: the packets that arrived, so that the sender can tell what is missing; fewer where they
    contradict each other or libav refuses the frame. complete: the frame has been decoded from all of its packets.
    """

    sequential = True

    def __init__(self, name: str, video: VideoFormat, conceal: bool = True) -> None:
        self._codec = find(name)
        self._conceals = conceal and self._codec.conceals
        self.format = video
        self.model_hash = model_hash(name)
        self._even = video.width + video.width % 2, video.height + video.height % 2
        self.initial_state()

    def initial_state(self) -> int:
        """The state before any frame; all others are void from now on."""
        self._picture = _grey(self.format)
        self._position = 0
        self._synchronous = False  # a keyframe was decoded, and nothing since is missing that the decoder needs
        self._open()
        return self._position

    def decode(
        self, state: int, header: FrameHeader | None, payloads: Mapping[int, bytes], time: float = 0.0
    ) -> tuple[DecodedFrame, int]:
        """The next frame. header None, or no payloads: nothing arrived."""
        if state != self._position:
            raise RuntimeError(f"a conventional decoder goes forward only: it stands after frame {self._position}")
        self._position += 1
        arrived = frozenset(payloads)
        if header is None or len(arrived) < header.packets:
            self._take_part(header, payloads)
            used, complete = arrived, False
        else:
            used, complete = self._take_whole(header, payloads)
        return DecodedFrame(replace(self._picture, time=time), used, complete), self._position

    def _take_part(self, header: FrameHeader | None, payloads: Mapping[int, bytes]) -> None:
        """A damaged frame: conceals it, or freezes the picture."""
        if not self._conceals:
            self._synchronous = False
        elif header is not None and (self._synchronous or header.intra):
            data, _ = unpack(payloads)
            self._show(data)

    def _take_whole(self, header: FrameHeader, payloads: Mapping[int, bytes]) -> tuple[frozenset[int], bool]:
        """A frame that arrived whole. Returns (the packets that are in order, whether it was decoded)."""
        data, used = unpack(payloads)
        if len(used) < header.packets:
            self._take_part(header, payloads)
            return used, False
        if header.intra and not self._synchronous:
            self._open()  # what an unfinished past has left behind is forgotten
        if not (self._synchronous or header.intra):
            return used, False
        if not self._show(data):
            self._synchronous &= self._conceals
            return frozenset(), False
        return used, True

    def _show(self, data: bytes) -> bool:
        """Decodes units of a frame into the picture. False: libav makes no picture of them."""
        picture = self._feed(data) if data else None
        if picture is None:
            return False
        self._synchronous = True
        self._picture = crop(from_av(picture), self.format.width, self.format.height)
        return True

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
