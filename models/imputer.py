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

import torch
import torch.nn.functional as F
from torch import nn

SEEN, REMEMBERED = 9, 5  # features of a place; features of a frame for the memory
VECTOR_SCALE = 32.0  # quarter-pel
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
        luma = moved[:, :64]
        seen = (
            _size(moved - before) / 8,
            _size(moved - still) / 8,
            luma.std(1, keepdim=True) / 16,
            _length(guess),
            _length(last),
            _length(guess - last),
            _roughness(guess),
            unmoved,
            F.avg_pool2d(unmoved, 9, 1, 4),
        )
        x = torch.cat((*(torch.log1p(s) for s in seen), F.interpolate(h, scale_factor=2, mode="nearest")), 1)
        weight = torch.sigmoid(self.tail(self.body(x))) * unmoved
        return moved + weight[:, :1] * (before - moved) + weight[:, 1:] * (still - moved)

    def remember(
        self, residual: torch.Tensor, vectors: torch.Tensor, last: torch.Tensor, missing: torch.Tensor,
        h: torch.Tensor, c: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """(h, c) after a frame: its residual [B,96,h,w], its vectors and the last frame's, and what was missing."""
        seen = _size(residual) / 8, _length(vectors), _length(vectors - last), _roughness(vectors), missing
        seen = torch.cat(seen, 1)
        x = torch.cat((torch.log1p(F.avg_pool2d(seen, 2)), h), 1)
        i, f, g, o = self.gates(x).chunk(4, 1)
        c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


def _size(difference: torch.Tensor) -> torch.Tensor:
    """Mean absolute value over the channels, [B,1,h,w]."""
    return difference.abs().mean(1, keepdim=True)


def _roughness(vectors: torch.Tensor) -> torch.Tensor:
    """How much the vectors around a place differ: their deviation in 9x9 places, [B,1,h,w]."""
    mean = F.avg_pool2d(vectors, 9, 1, 4, count_include_pad=False)
    spread = F.avg_pool2d(vectors.square(), 9, 1, 4, count_include_pad=False) - mean.square()
    return spread.sum(1, keepdim=True).clamp(min=1e-6).sqrt() / VECTOR_SCALE


def _length(vectors: torch.Tensor) -> torch.Tensor:
    """[B,2,h,w] -> [B,1,h,w]."""
    return vectors.square().sum(1, keepdim=True).add(1e-6).sqrt() / VECTOR_SCALE
