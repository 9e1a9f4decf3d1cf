"""The imputer: how far to trust each of the guesses of what a lost part shows.

    last picture ─ warp by the neighbours' motion ─► A ─┐
                 ─ warp by the last frame's motion ► B ─┼─► A + u·(B − A) + v·(C − A)
                 ─ as it is ───────────────────────► C ─┘        ▲ weights u, v of every place
    how they differ, how they move, h ───────────────────────────┘
    how motion changed, what was coded, what was lost ─► ConvLSTM at 1/16 ─► h of the next frame

It decides between pictures and paints none: a network that painted corrections learnt the training clips by heart
(docs/experiments.md). ConvLSTM: Shi et al., NeurIPS 2015. Blending predictions by their expected errors:
overlapped and multi-hypothesis motion compensation (Girod, IEEE T-IP 2000).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SEEN, REMEMBERED = 9, 5  # features of a place; features of a frame for the memory
VECTOR_SCALE = 32.0  # quarter-pel
CONTEXT = 3  # places around it that a weight depends on: three convolutions of 3x3
START = (-1.5, -3.0)  # logits of the weights before training: 0.18 of B, 0.05 of C


class Imputer(nn.Module):
    """All tensors at 1/8 but the state, (h, c) [B,memory,h/2,w/2] at 1/16; fp32 throughout, it is small."""

    def __init__(self, width: int, memory: int):
        super().__init__()
        self.memory = memory
        self.gates = nn.Conv2d(REMEMBERED + memory, 4 * memory, 3, padding=1)
        self.body = nn.Sequential(
            nn.Conv2d(SEEN + memory, width, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(0.1),
        )
        self.tail = nn.Conv2d(width, 2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        with torch.no_grad():
            self.tail.bias.copy_(torch.tensor(START))

    def blend(
        self, moved: torch.Tensor, before: torch.Tensor, still: torch.Tensor, guess: torch.Tensor, last: torch.Tensor,
        unmoved: torch.Tensor, h: torch.Tensor, rows: slice = slice(None),
    ) -> torch.Tensor:  # fmt: skip
        """The prediction where motion did not arrive, `moved` elsewhere.

        moved, before, still: A, B, C, packed pictures [B,96,h,w], or only their `rows`; guess, last: vectors in
        quarter-pel [B,2,h,w]; unmoved: [B,1,h,w], 0 or 1. Rows cut CONTEXT beyond what is unmoved give what the
        whole picture gives.
        """
        motion = (
            _length(guess),
            _length(last),
            _length(guess - last),
            _roughness(guess),
            unmoved,
            _around(unmoved, border=True),
        )
        motion = torch.cat((torch.log1p(torch.cat(motion, 1)), F.interpolate(h, scale_factor=2, mode="nearest")), 1)
        older, still = before - moved, still - moved
        seen = torch.cat((_size(older) / 8, _size(still) / 8, _deviation(moved[:, :64]) / 16), 1)
        x = torch.cat((torch.log1p(seen), motion[:, :, rows]), 1)
        weight = torch.sigmoid(self.tail(self.body(x))) * unmoved[:, :, rows]
        return moved + weight[:, :1] * older + weight[:, 1:] * still

    def remember(
        self, residual: torch.Tensor, vectors: torch.Tensor, last: torch.Tensor, missing: torch.Tensor,
        h: torch.Tensor, c: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """(h, c) after a frame: its residual [B,96,h,w], its vectors and the last frame's, and what was missing."""
        activity, missing = (F.avg_pool2d(values, 2) for values in (_size(residual), missing))
        return self.recollect(activity, vectors, last, missing, h, c)

    def recollect(
        self, activity: torch.Tensor, vectors: torch.Tensor, last: torch.Tensor, missing: torch.Tensor,
        h: torch.Tensor, c: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """remember() from the residual's mean magnitude, which like `missing` is [B,1,h/2,w/2]."""
        motion = torch.cat((_length(vectors), _length(vectors - last), _roughness(vectors)), 1)
        seen = torch.cat((activity / 8, F.avg_pool2d(motion, 2), missing), 1)
        x = torch.cat((torch.log1p(seen), h), 1)
        i, f, g, o = self.gates(x).chunk(4, 1)
        c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


def _size(difference: torch.Tensor) -> torch.Tensor:
    """Mean absolute value over the channels, [B,1,h,w]."""
    return difference.abs().mean(1, keepdim=True)


def _deviation(values: torch.Tensor) -> torch.Tensor:
    """Standard deviation over the channels, [B,1,h,w]; a tenth of the time of Tensor.std()."""
    count = values.shape[1]
    spread = values.square().mean(1, keepdim=True) - values.mean(1, keepdim=True).square()
    return (spread * (count / (count - 1))).clamp(min=1e-6).sqrt()


def _roughness(vectors: torch.Tensor) -> torch.Tensor:
    """How much the vectors around a place differ: their deviation in 9x9 places, [B,1,h,w]."""
    mean, square = _around(torch.cat((vectors, vectors.square()), 1)).chunk(2, 1)
    return (square - mean.square()).sum(1, keepdim=True).clamp(min=1e-6).sqrt() / VECTOR_SCALE


def _around(values: torch.Tensor, border: bool = False) -> torch.Tensor:
    """Means of 9x9 places; border: zeros around the picture count. Two small matrix products: pooling takes ten times
    as long."""
    down, across = (torch.from_numpy(_window(side, border)).to(values.device) for side in values.shape[-2:])
    return down @ values @ across.T


@lru_cache(maxsize=16)
def _window(side: int, border: bool) -> np.ndarray:
    """float32 [side, side]: means of 9 places along an axis, of those inside only unless the border counts."""
    place = np.arange(side)
    near = (np.abs(place[:, None] - place) <= 4).astype(np.float32)
    return near / (np.float32(9) if border else near.sum(1, keepdims=True))


def _length(vectors: torch.Tensor) -> torch.Tensor:
    """[B,2,h,w] -> [B,1,h,w]."""
    return vectors.square().sum(1, keepdim=True).add(1e-6).sqrt() / VECTOR_SCALE
