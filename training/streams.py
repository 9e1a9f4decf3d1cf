"""Persistent streams: every batch slot plays a clip at one rate and carries its own closed-loop state across steps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from lrae.codec import motion, motion_field
from lrae.errors import ConfigError
from lrae.models.blocks import pack
from lrae.models.rates import frame_q, step_of
from lrae.training.footage import Clip, to_frame

MIN_Q, MAX_Q = 4, 60
LENGTHS = (8, 16, 32)  # frames a slot plays before it takes another clip


@dataclass
class Slot:
    """One stream: pictures uint8 [T, H·3/2, W] of a random crop, played from `position` at rate q."""

    pictures: np.ndarray
    q: int
    position: int = 0
    field: motion_field.MotionField | None = None

    @property
    def ended(self) -> bool:
        return self.position >= len(self.pictures)


class Streams:
    """Deals crops of clips to slots. side: crop size in pixels, a multiple of 16."""

    def __init__(self, clips: list[Clip], batch: int, side: int, seed: int, workers: int = 1):
        self.clips = [clip for clip in clips if min(clip.size) >= side]
        if not self.clips:
            raise ConfigError(f"no clip is as large as the crop of {side} pixels")
        self.side, self.rng = side, np.random.default_rng(seed)
        self.slots: list[Slot] = [self.fresh() for _ in range(batch)]
        for slot in self.slots:  # so that not all of them end together
            slot.pictures = slot.pictures[: int(self.rng.integers(4, len(slot.pictures) + 1)) // 4 * 4]
        self.pool = ThreadPoolExecutor(workers) if workers > 1 else None

    def fresh(self) -> Slot:
        """A random crop of a random clip, flipped at random, at a random rate."""
        rng, side = self.rng, self.side
        clip = self.clips[rng.integers(len(self.clips))]
        width, height = clip.size
        x, y = (int(rng.integers(0, (full - side) // 2 + 1)) * 2 for full in (width, height))
        length = min(int(rng.choice(LENGTHS)), len(clip.pictures) // 4 * 4)
        start = int(rng.integers(0, len(clip.pictures) - length + 1))
        return Slot(crop(clip.pictures[start : start + length], x, y, side, bool(rng.integers(2))), self.random_q())

    def random_q(self) -> int:
        return int(self.rng.integers(MIN_Q, MAX_Q))

    def still(self, count: int) -> tuple[np.ndarray, list[int]]:
        """Single pictures for intra training: uint8 [count, side·3/2, side] and their (nominal) rates."""
        slots = [self.fresh() for _ in range(count)]
        return np.stack([s.pictures[0] for s in slots]), [frame_q(s.q, 0, True) for s in slots]

    def motion(self, luma: np.ndarray) -> tuple[np.ndarray, list[int]]:
        """Search the motion of every slot's next picture against the reconstructions luma uint8 [B,H,W].

        Returns dense fields float32 [B,H,W,2] and the rates of the frames.
        """
        rates = [frame_q(slot.q, slot.position, False) for slot in self.slots]

        def one(index: int) -> np.ndarray:
            slot = self.slots[index]
            current = slot.pictures[slot.position][: self.side]
            slot.field = motion.search(current, luma[index], step_of(rates[index]))
            return motion_field.dense(slot.field)

        run = self.pool.map if self.pool else map
        return np.stack(list(run(one, range(len(self.slots))))), rates

    def pictures(self) -> np.ndarray:
        """The slots' next pictures, uint8 [B, side·3/2, side]."""
        return np.stack([slot.pictures[slot.position] for slot in self.slots])


def crop(pictures: np.ndarray, x: int, y: int, side: int, mirror: bool) -> np.ndarray:
    """A square crop of I420 pictures uint8 [T, H·3/2, W]; x and y even."""
    out = []
    for picture in pictures:
        frame = to_frame(picture)
        luma = frame.y[y : y + side, x : x + side]
        half = [p[y // 2 : (y + side) // 2, x // 2 : (x + side) // 2] for p in (frame.u, frame.v)]
        if mirror:
            luma, half = luma[:, ::-1], [p[:, ::-1] for p in half]
        out.append(np.concatenate((luma, *(p.reshape(-1, side) for p in half))))
    return np.stack(out)


def to_packed(pictures: np.ndarray, device: torch.device) -> torch.Tensor:
    """I420 uint8 [B, S·3/2, S] -> packed fp32 [B,96,S/8,S/8]."""
    side = pictures.shape[2]
    planes = torch.from_numpy(pictures).to(device).float()
    chroma = planes[:, side:].reshape(-1, 2, side // 2, side // 2)
    return pack(planes[:, None, :side], chroma[:, :1], chroma[:, 1:])
