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
NEAR = 4  # places: how far "around" reaches
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
        unmoved: torch.Tensor, h: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """The prediction where motion did not arrive, `moved` elsewhere.

        moved, before, still: A, B, C, packed pictures [B,96,h,w]; guess, last: vectors in quarter-pel [B,2,h,w];
        unmoved: [B,1,h,w], 0 or 1.
        """
        seen = torch.cat((compare(moved, before, still), describe(guess, last, unmoved)), 1)
        weight = self.weights(seen, F.interpolate(h, scale_factor=2, mode="nearest")) * unmoved
        return moved + weight[:, :1] * (before - moved) + weight[:, 1:] * (still - moved)

    def weights(self, seen: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """seen [B,SEEN,h,w]: compare() and describe(); h [B,memory,h,w] -> weights of B and C, [B,2,h,w]. Rows cut
        CONTEXT beyond those that count give what the whole picture gives."""
        return torch.sigmoid(self.tail(self.body(torch.cat((torch.log1p(seen), h), 1))))

    def remember(
        self, residual: torch.Tensor, vectors: torch.Tensor, last: torch.Tensor, missing: torch.Tensor,
        h: torch.Tensor, c: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """(h, c) after a frame: its residual [B,96,h,w], its vectors and the last frame's, and what was missing."""
        motion = _length(vectors), _length(vectors - last), _roughness(vectors)
        return self.recollect(F.avg_pool2d(torch.cat((_size(residual) / 8, *motion, missing), 1), 2), h, c)

    def recollect(self, seen: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """remember() from what it sees, [B,REMEMBERED,h/2,w/2]."""
        i, f, g, o = self.gates(torch.cat((torch.log1p(seen), h), 1)).chunk(4, 1)
        c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


def compare(moved: torch.Tensor, before: torch.Tensor, still: torch.Tensor) -> torch.Tensor:
    """How the guesses differ, and how busy the first is, [B,3,h,w]."""
    return torch.cat((_size(before - moved) / 8, _size(still - moved) / 8, _deviation(moved[:, :64]) / 16), 1)


def describe(guess: torch.Tensor, last: torch.Tensor, unmoved: torch.Tensor) -> torch.Tensor:
    """How far places move, by the guess and as they last did, how these differ and how rough the guess is around;
    what did not arrive, there and around. [B,6,h,w]"""
    lengths = _length(guess), _length(last), _length(guess - last)
    return torch.cat((*lengths, _roughness(guess), unmoved, _around(unmoved, border=True)), 1)


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
    near = (np.abs(place[:, None] - place) <= NEAR).astype(np.float32)
    return near / (np.float32(2 * NEAR + 1) if border else near.sum(1, keepdims=True))


def _length(vectors: torch.Tensor) -> torch.Tensor:
    """[B,2,h,w] -> [B,1,h,w]."""
    return vectors.square().sum(1, keepdim=True).add(1e-6).sqrt() / VECTOR_SCALE
