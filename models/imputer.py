"""The imputer: how far to trust each of the guesses of what a lost part shows.

    last picture ─ moved by each of GUESSES fields of vectors ─► pictures ─► sum of w·picture
    how they differ, how each fares where motion did arrive, h ─► weights w of every place, adding up to 1
    how motion changed, what was coded, what was lost ─► ConvLSTM at 1/16 ─► h of the next frame

It decides between pictures and paints none: a network that painted corrections learnt the training clips by heart
(docs/experiments.md). ConvLSTM: Shi et al., NeurIPS 2015. Blending predictions by their expected errors:
overlapped and multi-hypothesis motion compensation (Girod, IEEE T-IP 2000).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

GUESSES = 6  # codec/conceal.py says which
PAIRS = [(a, b) for a in range(GUESSES) for b in range(a)]
SEEN = len(PAIRS) + 11  # features of a place, codec/impute.py
REMEMBERED = 5  # features of a frame for the memory
VECTOR_SCALE = 32.0  # quarter-pel
NEAR = 4  # places: how far "around" reaches in the roughness of motion
CONTEXT = 3  # places around it that a weight depends on: three convolutions of 3x3


class Imputer(nn.Module):
    """Weights at 1/8, the state, (h, c) [B,memory,h/2,w/2], at 1/16; the memory is fp32, the weights are
    as the module is: fp32 in training, bf16 in the decoder."""

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
        self.tail = nn.Conv2d(width, GUESSES, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)

    def weights(self, seen: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """seen [B,SEEN,h,w], h [B,memory,h,w] -> weights of the guesses, [B,GUESSES,h,w]. Rows cut CONTEXT beyond
        those that count give what the whole picture gives."""
        what = torch.cat((seen, h), 1).to(self.tail.weight.dtype)
        return torch.softmax(self.tail(self.body(what)).float(), 1)

    def recollect(self, seen: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(h, c) after a frame. seen [B,REMEMBERED,h/2,w/2]: the magnitude of its residual, how far it moved, how much
        its motion differs from the last frame's and around, what was missing."""
        i, f, g, o = self.gates(torch.cat((torch.log1p(seen), h), 1)).chunk(4, 1)
        c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


def describe(vectors: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """How far places move, how much that differs from the last frame's motion and from that around. vectors, last:
    quarter-pel [B,2,h,w] -> [B,3,h,w]."""
    return torch.cat((_length(vectors), _length(vectors - last), _roughness(vectors)), 1)


def _roughness(vectors: torch.Tensor) -> torch.Tensor:
    """How much the vectors around a place differ: their deviation in 9x9 places, [B,1,h,w]."""
    side = 2 * NEAR + 1
    values = torch.cat((vectors, vectors.square()), 1)
    mean, square = F.avg_pool2d(values, side, 1, NEAR, count_include_pad=False).chunk(2, 1)
    return (square - mean.square()).sum(1, keepdim=True).clamp(min=1e-6).sqrt() / VECTOR_SCALE


def _length(vectors: torch.Tensor) -> torch.Tensor:
    """[B,2,h,w] -> [B,1,h,w]."""
    return vectors.square().sum(1, keepdim=True).add(1e-6).sqrt() / VECTOR_SCALE
