"""The imputer: what the parts of a frame that did not arrive probably look like.

    state of the past h (ConvLSTM at 1/16) ──┬──────────────────────────────┐
    guessed motion, last motion, last picture ┴─► move ─► better motion      │
                    prediction + what arrived of the residual, what is missing ┴─► mend ─► + correction
    the picture that results, its motion, what was missing ─► ConvLSTM ─► h of the next frame

Both corrections start at zero: an untrained imputer is the concealment of codec/conceal.py. They act where something
is missing or was, so that a stream without losses is untouched. ConvLSTM: Shi et al., NeurIPS 2015.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from lrae.models.blocks import PACKED

VECTOR_SCALE = 64.0  # quarter-pel: of vectors as the networks see them
MOVE_SCALE = 8.0  # quarter-pel: of a correction
MEND_SCALE = 0.25  # quantiser steps: of a correction
MOVE_WIDTH = 32


class Imputer(nn.Module):
    """All tensors at 1/8 but the state, (h, c) [B,memory,h/2,w/2] at 1/16."""

    def __init__(self, width: int, memory: int):
        super().__init__()
        self.memory = memory
        self.see = nn.Conv2d(PACKED + 3, memory, 2, stride=2)
        self.gates = nn.Conv2d(2 * memory, 4 * memory, 3, padding=1)
        self.move_head = nn.Conv2d(PACKED + 5 + memory, MOVE_WIDTH, 3, padding=1)
        self.move_body = nn.Sequential(
            nn.LeakyReLU(0.1),
            nn.Conv2d(MOVE_WIDTH, MOVE_WIDTH, 3, padding=2, dilation=2),
            nn.LeakyReLU(0.1),
            nn.Conv2d(MOVE_WIDTH, MOVE_WIDTH, 3, padding=4, dilation=4),
            nn.LeakyReLU(0.1),
        )
        self.move_tail = nn.Conv2d(MOVE_WIDTH, 2, 3, padding=1)
        self.mend_head = nn.Conv2d(2 * PACKED + 2 + memory, width, 3, padding=1)
        self.mend_body = nn.Sequential(
            nn.LeakyReLU(0.1),
            nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(0.1),
        )
        self.mend_tail = nn.Conv2d(width, PACKED, 3, padding=1)
        for tail in (self.move_tail, self.mend_tail):
            nn.init.zeros_(tail.weight)
            nn.init.zeros_(tail.bias)

    def move(
        self, guess: torch.Tensor, last: torch.Tensor, unmoved: torch.Tensor, picture: torch.Tensor, h: torch.Tensor
    ) -> torch.Tensor:
        """Correction of vectors in quarter-pel [B,2,h,w], zero where not `unmoved` [B,1,h,w].

        guess, last: vectors in quarter-pel [B,2,h,w]; picture: the last picture, packed.
        """
        dtype = self.see.weight.dtype
        seen = (picture / 64, guess / VECTOR_SCALE, last / VECTOR_SCALE, unmoved)
        x = torch.cat((*(s.to(dtype) for s in seen), _double(h).to(dtype)), 1)
        return self.move_tail(self.move_body(self.move_head(x))).float() * (MOVE_SCALE * unmoved)

    def mend(
        self, ctx: torch.Tensor, residual: torch.Tensor, missing: torch.Tensor, doubt: torch.Tensor, h: torch.Tensor,
        step: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """Correction of the picture ctx + residual, grey levels [B,96,h,w]; zero where doubt [B,1,h,w] is."""
        dtype, s = self.see.weight.dtype, step[:, None, None, None]
        x = torch.cat((*(v.to(dtype) for v in (ctx / 64, residual / s / 4, missing, doubt)), _double(h).to(dtype)), 1)
        return self.mend_tail(self.mend_body(self.mend_head(x))).float() * (MEND_SCALE * s * doubt.sqrt())

    def remember(
        self, picture: torch.Tensor, vectors: torch.Tensor, missing: torch.Tensor, h: torch.Tensor, c: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(h, c) after a frame, fp32."""
        dtype = self.see.weight.dtype
        x = torch.cat(((picture / 64).to(dtype), (vectors / VECTOR_SCALE).to(dtype), missing.to(dtype)), 1)
        seen = F.leaky_relu(self.see(x), 0.1)
        i, f, g, o = self.gates(torch.cat((seen, h.to(dtype)), 1)).float().chunk(4, 1)
        c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


def _double(h: torch.Tensor) -> torch.Tensor:
    """From 1/16 to 1/8."""
    return F.interpolate(h, scale_factor=2, mode="nearest")


def next_doubt(doubt: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
    """Where the picture may be wrong, 0...1 [B,1,h,w]: what is missing now, and what was, less with every frame."""
    faded = torch.where(doubt < FORGOTTEN, 0.0, doubt * FADE)
    return torch.maximum(faded, missing)


FADE, FORGOTTEN = 0.9, 0.1
