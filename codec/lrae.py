"""The LRAE codec: Encoder and Decoder of codec/api.py.

    frame ─► motion search ─► ctx ─► x − ctx ─► linear ─► classes, levels ─► side information + K payloads
                                ▲                               │
                  state ────────┴──────── Reconstructor ◄───────┘ ─► new state, picture
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from time import perf_counter

import numpy as np
import torch

from lrae.codec import forward, intra_base, motion, spare
from lrae.codec.forward import Forward
from lrae.codec.motion_field import MotionField
from lrae.codec.packing import Packer
from lrae.codec.quantiser import Quantiser
from lrae.codec.reconstruct import Reconstructor
from lrae.codec.state import CodedFrame, State
from lrae.codec.tiles import Rectangle, regions, tile_rectangles
from lrae.codec.types import (
    INTERLEAVED,
    TILES,
    DecodedFrame,
    EncodedFrame,
    EncodeHints,
    Frame,
    FrameHeader,
    VideoFormat,
)
from lrae.codec.utility import utility
from lrae.codec.wire.serial import wrap
from lrae.errors import ConfigError
from lrae.models.blocks import pack, to_corners
from lrae.models.rates import frame_q, step_of
from lrae.models.store import KINDS, Model
from lrae.models.tables import CHANNELS

# mean square of the residual, grey levels, above which a frame may be the first of a new scene: it is coded as an
# intra frame if the smooth picture of its own block means leaves less than CUT_SHARE of what the last picture leaves
# (never twice in a row: at low rates the last picture may be poor, and intra frames would follow one another)
CUT_ENERGY, CUT_SHARE = 100.0, 0.6
MORE = 1.1  # times as many packets, at least, where the largest does not fit: each try codes the whole frame
# the encoder's transform: bf16 takes half the time, and only the large coefficients of intra frames need more
FORWARD = {"inter": torch.bfloat16, "intra": torch.float32}


class _Codec:
    def __init__(self, model: Model, video: VideoFormat, device: str = "cpu", impute: str = "full"):
        self.format, self.model_hash = video, model.hash
        self._core = Reconstructor(model, video.width, video.height, torch.device(device), impute)
        self._packer = Packer(model.tables, self._core.grid, self._core.loop_filter is not None)

    def initial_state(self) -> State:
        """Mid-grey; the next frame must be intra to look like anything."""
        return self._core.grey()

    def picture(self, state: State, time: float = 0.0) -> Frame:
        """What a viewer of `state` sees, cut to the stream's size."""
        y, u, v = self._core.picture(state)
        w, h = self.format.width, self.format.height
        return Frame(y[:h, :w], u[: (h + 1) // 2, : (w + 1) // 2], v[: (h + 1) // 2, : (w + 1) // 2], time)

    def warm_up(self) -> None:
        """Run all networks once: the first convolutions of a size take many times as long as all later ones."""
        state = self._apply(self._core.grey(), self._nothing(0, base=np.zeros((3, *self._core.grid), np.int16)), 0)
        extrapolate(self, state, 0)

    def _nothing(self, q: int, **prediction) -> CodedFrame:
        """A frame without levels: its prediction alone; intra if that is a base."""
        count = self._core.grid[0] * self._core.grid[1]
        empty = np.zeros(count, np.uint8), np.zeros((count, CHANNELS), np.int16)
        return CodedFrame("base" in prediction, q, *empty, **prediction)

    @torch.inference_mode()
    def _apply(self, state: State, coded: CodedFrame, number: int) -> State:
        return self._core.after(state, coded, number)


class LraeEncoder(_Codec):
    """Functional encoder; the state handed back is that of a receiver that got every packet."""

    def __init__(self, model: Model, video: VideoFormat, device: str = "cpu", impute: str = "full"):
        super().__init__(model, video, device, impute)
        self._quantiser = {kind: Quantiser(model.tables[kind]) for kind in KINDS}
        self._quietest = int(model.tables["inter"].class_bits().argmin())
        self._forward = {kind: Forward(linear, FORWARD[kind]) for kind, linear in self._core.linear.items()}

    @torch.inference_mode()
    def encode(
        self, state: State, frame: Frame, number: int, q: int, hints: EncodeHints, reference: int = 0
    ) -> tuple[EncodedFrame, State]:
        """Encode one frame. A new scene becomes an intra frame; intra frames, and every 8th unless hints.even, are
        finer than `q`."""
        core, times = self._core, [perf_counter()]
        intra = hints.intra
        rate = frame_q(q, number, intra) if intra or not hints.even else q
        blocks, coded, prediction = self.analyse(state, frame, rate, intra, times)
        if not intra and state.motion is not None and energy(blocks, rate) > CUT_ENERGY:
            finer = frame_q(q, number, True)
            alone = self.analyse(state, frame, finer, True)
            if energy(alone[0], finer) < CUT_SHARE * energy(blocks, rate):
                intra, rate, (blocks, coded, prediction) = True, finer, alone
        q = rate
        kind = "intra" if intra else "inter"
        classes, levels = self._quantiser[kind].choose(self._forward[kind](blocks), core.grid)
        coded = replace(coded, classes=classes, levels=levels)
        if hints.refresh and not intra and hints.layout == TILES:
            coded = self._refresh(coded, frame, hints.refresh)
        packets = self._packer.limit(hints.packets or self._packer.count(coded, hints), hints.layout)
        if hints.loss and not intra and hints.layout == TILES and packets > 1:
            risk = spare.Risk(regions(*core.grid, packets), hints.loss, hints.repair)
            more = spare.choose(self._planes(frame)[0], state.luma, coded.motion, state.motion, step_of(q), risk)
            coded = replace(coded, spare=more)
        times.append(perf_counter())

        coded, after = core.finish(state, coded, prediction, number, self._planes(frame))
        times.append(perf_counter())
        side, header, texts = self._packetise(coded, packets, number, hints, reference)
        times.append(perf_counter())
        stages = ("motion", "context", "quantise", "synthesis", "entropy")
        timing = {name: b - a for name, (a, b) in zip(stages, pairwise(times), strict=True)}
        return EncodedFrame(header, texts, side, coded, timing), after

    def analyse(
        self, state: State, frame: Frame, q: int, intra: bool, times: list[float] | None = None
    ):
        """Prediction: (to_corners [N,384] of what is left to code in steps, CodedFrame without levels, predict())."""
        core, times = self._core, [] if times is None else times
        planes = self._planes(frame)
        if intra:
            coded = CodedFrame(True, q, base=intra_base.quantise(*planes, q))
        else:
            coded = CodedFrame(False, q, motion=motion.search(planes[0], state.luma, step_of(q)))
        times.append(perf_counter())
        prediction = core.predict(state, coded)
        times.append(perf_counter())
        return self._residual(planes, prediction, q, intra), coded, prediction

    def _residual(self, planes: list[np.ndarray], prediction: tuple, q: int, intra: bool) -> torch.Tensor:
        """to_corners [N,384] of what is left to code, in steps. planes: of the picture, or of a tile."""
        core = self._core
        analysis = core.network.g_a is not None and not intra
        if core.device.type == "cpu" and not analysis:
            return forward.residual(*planes, prediction[0], step_of(q))
        picture = pack(*(torch.from_numpy(p.astype(np.float32))[None, None].to(core.device) for p in planes))
        left = picture - prediction[0]
        if analysis:
            left = left + core.network.analysis(picture, *prediction, *core.rate(q))
        return to_corners(left) / step_of(q)

    def _planes(self, frame: Frame) -> list[np.ndarray]:
        """Y, U, V at the padded size."""
        height, width = self._core.height, self._core.width
        sizes = (height, width), (height // 2, width // 2), (height // 2, width // 2)
        return [_pad(plane, *size) for plane, size in zip((frame.y, frame.u, frame.v), sizes, strict=True)]

    def _refresh(self, coded: CodedFrame, frame: Frame, tiles: frozenset[int]) -> CodedFrame:
        """The same frame with some tiles coded without prediction."""
        core, planes = self._core, self._planes(frame)
        everywhere = tile_rectangles(Rectangle(0, core.grid[0], 0, core.grid[1]))
        classes, levels = coded.classes.reshape(core.grid).copy(), coded.levels.reshape(*core.grid, CHANNELS).copy()
        patches = []
        for where in (tile for index, tile in enumerate(everywhere) if index in tiles):
            pixels = [np.ascontiguousarray(where.of(p, side)) for p, side in zip(planes, (16, 8, 8), strict=True)]
            patch = CodedFrame(True, coded.q, base=intra_base.quantise(*pixels, coded.q))
            blocks = self._residual(pixels, (core.base(patch.base, coded.q),), coded.q, True)
            chosen = self._quantiser["intra"].choose(self._forward["intra"](blocks), where.grid)
            patches.append((where, replace(patch, classes=chosen[0], levels=chosen[1])))
            where.of(classes)[:], where.of(levels)[:] = self._quietest, 0
        # the tiles keep their motion: their neighbours' prediction overlaps them
        rest = classes.reshape(-1), levels.reshape(-1, CHANNELS)
        return replace(coded, classes=rest[0], levels=rest[1], patches=tuple(patches))

    def _packetise(self, coded: CodedFrame, packets: int, number: int, hints: EncodeHints, reference: int):
        """(bytes of side information, header, payloads): as few packets as fit, tiles only where a tile does."""
        while True:
            payloads, side = self._packer.encode(coded, packets, hints)
            packets, largest = len(payloads), max(map(len, payloads))
            if largest <= hints.max_payload:
                break
            more = max(math.ceil(MORE * packets), math.ceil(packets * largest / hints.max_payload))
            more = self._packer.limit(more, hints.layout)
            if more == packets:
                if hints.layout != TILES or coded.patches:
                    break
                hints = replace(hints, layout=INTERLEAVED)  # one tile exceeds a packet: its levels are dealt to several
                more = max(hints.packets or 0, self._packer.count(coded, hints))
            packets = more
        header = FrameHeader(number, coded.intra, coded.q, packets, hints.layout, reference)
        return side, header, payloads

    def state_after(self, state: State, encoded: EncodedFrame, received: frozenset[int]) -> State:
        """What a receiver in `state` has after getting only `received` of the frame's payloads."""
        payloads = {index: encoded.payloads[index] for index in received}
        coded = self._packer.received(encoded.header, encoded.meta, payloads)
        if coded is None:
            return extrapolate(self, state, encoded.header.number)
        return self._apply(state, coded, encoded.header.number)

    def worth(self, encoded: EncodedFrame, before: State, after: State) -> tuple[float, ...]:
        """Of each packet, the squared error of luma that losing it would cause (lrae.codec.utility)."""
        return tuple(utility(encoded, before, after).quality)


class LraeDecoder(_Codec):
    """Functional decoder of any subset of a frame's payloads."""

    def decode(
        self, state: State, header: FrameHeader | None, payloads: Mapping[int, bytes], time: float = 0.0
    ) -> tuple[DecodedFrame, State]:
        """Decode what arrived; with no usable side information the frame is extrapolated."""
        times = [perf_counter()]
        coded, read = self.parse(header, payloads) if header is not None else (None, frozenset())
        times.append(perf_counter())
        number = header.number if header is not None else wrap(state.number + 1)
        after = extrapolate(self, state, number) if coded is None else self._apply(state, coded, number)
        times.append(perf_counter())
        frame = self.picture(after, time)
        used = frozenset() if coded is None else read
        complete = header is not None and len(used) == header.packets
        times.append(perf_counter())
        stages = ("entropy", "synthesis", "picture")
        timing = {name: b - a for name, (a, b) in zip(stages, pairwise(times), strict=True)}
        return DecodedFrame(frame, used, complete, len(payloads) - len(read), timing), after

    def parse(self, header: FrameHeader, payloads: Mapping[int, bytes]) -> tuple[CodedFrame | None, frozenset[int]]:
        """Entropy decoding alone: integers from bytes, no state.

        Returns (the frame, None if nothing can be used; the indices of the well-formed payloads). WireError: an
        index, or a number of packets, that such a frame cannot have.
        """
        return self._packer.decode(header, payloads)


def extrapolate(codec: _Codec, state: State, number: int) -> State:
    """The frame of which nothing arrived: the last picture moves on as it last moved."""
    if state.number < 0:
        return replace(state, number=number)
    core = codec._core
    motion = MotionField.still(core.height, core.width)
    missing, unmoved = np.ones(core.grid, np.float32), np.ones(motion.size.shape, bool)
    return codec._apply(state, codec._nothing(state.q, motion=motion, missing=missing, unmoved=unmoved), number)


def energy(blocks: torch.Tensor, q: int) -> float:
    """Mean square of what is left to code, grey levels; blocks in steps."""
    return (float(torch.linalg.vector_norm(blocks)) * step_of(q)) ** 2 / blocks.numel()


def _pad(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    if plane.shape == (height, width):
        return np.require(plane, np.uint8, "CW")  # kernels would be compiled again for arrays that are read-only
    whole = np.empty((height, width), np.uint8)
    rows, columns = plane.shape
    whole[:rows, :columns], whole[:rows, columns:], whole[rows:] = plane, plane[:, -1:], whole[rows - 1]
    return whole


def pick_device(device: str) -> str:
    """"auto" -> "cuda" if there is one, else "cpu". Raises ConfigError for a device that is not there."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"unknown device {device!r}: auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device here; use --device cpu")
    return device
