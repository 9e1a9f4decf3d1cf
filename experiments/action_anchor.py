"""H.264 under the same losses as a classifier sees it: frozen from a loss until the next intra frame is there."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from lrae.codec.features import features
from lrae.codec.motion_field import CELL, LIMIT, MotionField
from lrae.codec.state import State
from lrae.codec.types import Frame
from lrae.experiments.action_streams import LOSSES, Sampler, Samples, read_frames
from lrae.experiments.anchors import decode_stream, encode_stream
from lrae.models.blocks import pack, padded

PAYLOAD = 1188  # bytes of a frame in one RTP packet of 1200
RTT = 0.1  # seconds from a loss to the intra frame that was asked for


@dataclass(frozen=True)
class AnchorConfig:
    """name, crf: as in lrae.experiments.anchors."""

    name: str = "x264-veryfast"
    crf: float = 36
    frames: int = 150


def shown(sizes: list[int], intra: int, loss: float, fps: float, draw: np.random.Generator) -> list[int]:
    """Which decoded frame is on screen at each time. sizes: bytes of the frames; intra: bytes of an intra frame.

    A frame of which any packet is lost cannot be shown, and nothing can after it until an intra frame has come
    through, asked for one round trip after the loss, and again if it is lost too. The first frame arrives. In the
    codec's favour: an intra frame on request costs nothing and looks as the frame in its place would have.
    """
    repair, screen, result = None, 0, []
    for number, size in enumerate(sizes):
        asked = repair is not None and number >= repair
        whole = bool((draw.random(math.ceil((intra if asked else size) / PAYLOAD)) >= loss).all()) or number == 0
        if whole and (repair is None or asked):
            screen, repair = number, None
        elif repair is None or asked:
            repair = number + math.ceil(RTT * fps)
        result.append(screen)
    return result


def as_state(frame: Frame, before: Frame) -> State:
    """A picture as if a decoder had it: packed planes, and motion since the picture before by optical flow."""
    height, width = (padded(side) for side in frame.y.shape)
    luma, last = (_pad(f.y, height, width) for f in (frame, before))
    planes = (luma, _pad(frame.u, height // 2, width // 2), _pad(frame.v, height // 2, width // 2))
    tensors = tuple(torch.from_numpy(plane)[None, None].float() for plane in planes)
    if frame is before:
        motion = MotionField.still(height, width)
    else:
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST).calc(luma, last, None)
        cells = cv2.resize(flow, (width // CELL, height // CELL), interpolation=cv2.INTER_AREA)
        vectors = np.clip(np.rint(cells * 4), -LIMIT, LIMIT).astype(np.int16)
        motion = MotionField(vectors, np.full(vectors.shape[:2], 3, np.uint8))
    return State(pack(*tensors), torch.zeros(0), tensors, luma, motion)


def _pad(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.pad(plane, ((0, height - plane.shape[0]), (0, width - plane.shape[1])), mode="edge")


def stream(path: Path, config: AnchorConfig) -> Samples:
    """One clip through H.264 and the losses of action_streams.LOSSES, sampled as LRAE's streams are."""
    video, frames = read_frames(path, config.frames)
    fps = float(video.fps)
    units = encode_stream(frames, video, config.name, config.crf)
    decoded = decode_stream(units, config.name, video.width, video.height)
    sizes = list(map(len, units))
    seeds = [(zlib.crc32(path.name.encode()), round(100 * loss), 1) for loss in LOSSES]
    draws = [np.random.default_rng(seed) for seed in seeds]
    screens = [shown(sizes, sizes[0], loss, fps, draw) for loss, draw in zip(LOSSES, draws, strict=True)]
    sampler, known = Sampler(video.fps), {}
    for number in range(len(decoded)):
        if not sampler.wants():
            continue
        seen = []
        for screen in screens:
            pair = screen[number], screen[max(0, number - 1)]
            if pair not in known:
                state = as_state(*(decoded[index] for index in pair))
                known[pair] = features(state, video.width, video.height, fps)
            seen.append(known[pair])
        sampler.add(seen)
    return sampler.samples([8 * size for size in sizes], (video.width, video.height))
