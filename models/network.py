"""The networks of LRAE: context refinement, synthesis, analysis. One file to read in a sitting.

    previous frame ─ warp ─► w ─┐
    memory h       ─ warp ──────┼─► g_c ─► ctx = w + step·out        (both sides; before the residual is coded)
                                 │
    x − ctx ─ linear (+ g_a) ─► y ─ quantise ─► ŷ ─ linearᵀ ─► r̂ ─┐
                                 ctx, features of g_c ────────────┴─► g_s ─► x̂ = ctx + r̂ + step·out,  h

All tensors are packed pictures at 1/8 (models/blocks.py). Every output is scaled by the quantiser step, the size
of the error that it corrects, and starts at zero: step 0 of training is the block-transform codec itself.
Intra frames have a g_s of their own; their context is the smooth picture of the block means. Convolutions are
dense 3x3, NHWC, bf16 on a CPU (a depthwise block costs as much there).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from lrae.codec.types import Q_LEVELS
from lrae.models.blocks import PACKED
from lrae.models.imputer import Imputer

# of the outputs, in quantiser steps: one update of the optimiser must not shake the picture by more than the
# error that it corrects (about a third of a step)
OUTPUT_SCALE = 0.1


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the networks. These of `m` cost about 3 kMAC/px an inter frame, 7 kMAC/px an intra frame."""

    width: int = 32  # of the inter branches
    context_blocks: int = 1
    synthesis_blocks: int = 1
    intra_width: int = 64
    intra_blocks: int = 4
    memory: int = 16  # channels of h
    analysis_blocks: int = 0  # 0: the analysis is the linear transform alone
    imputer_width: int = 0  # 0: no imputer, lost parts are concealed only
    imputer_memory: int = 8  # channels of its ConvLSTM


class ResidualBlock(nn.Module):
    """x + conv(gain_q · relu(conv(x))): dense 3x3, second convolution small at the start."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(0.1)
            self.second.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(F.leaky_relu(self.first(x), 0.1))


class Branch(nn.Module):
    """A stack at 1/8: features [B,width,h,w] from the inputs, an output [B,out,h,w] that starts at zero."""

    def __init__(self, inputs: int, width: int, blocks: int, out: int):
        super().__init__()
        self.head = nn.Conv2d(inputs, width, 3, padding=1)
        # one gain per feature and rate, interpolated nowhere: 64 rows are cheap
        self.gain = nn.Parameter(torch.ones(Q_LEVELS, width))
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.tail = nn.Conv2d(width, out, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)

    def forward(self, x: torch.Tensor, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x [B,inputs,h,w], q int64 [B] -> (features, output)."""
        features = F.leaky_relu(self.head(x), 0.1) * self.gain[q][:, :, None, None].to(x.dtype)
        features = self.blocks(features)
        return features, self.tail(features)


class LraeNetwork(nn.Module):
    """All branches of one model. Inputs and outputs are packed pictures in grey levels (fp32)."""

    def __init__(self, config: NetworkConfig = NetworkConfig()):
        super().__init__()
        self.config = config
        w, m = config.width, config.memory
        self.g_c = Branch(PACKED + m, w, config.context_blocks, PACKED)
        self.g_s = Branch(2 * PACKED + w, w, config.synthesis_blocks, PACKED + m)
        self.g_s_intra = Branch(2 * PACKED, config.intra_width, config.intra_blocks, PACKED + m)
        self.g_a = Branch(2 * PACKED + w, w, config.analysis_blocks, PACKED) if config.analysis_blocks else None
        self.imputer = Imputer(config.imputer_width, config.imputer_memory) if config.imputer_width else None

    def context(
        self, warped: torch.Tensor, memory: torch.Tensor, q: torch.Tensor, step: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """warped [B,96,h,w], memory [B,m,h,w], step [B] -> (ctx [B,96,h,w] fp32, features)."""
        dtype = self.dtype
        x = torch.cat((warped.to(dtype) / 64, memory.to(dtype)), 1)
        features, out = self.g_c(x, q)
        return warped + out.float() * (OUTPUT_SCALE * step[:, None, None, None]), features

    def analysis(
        self, picture: torch.Tensor, ctx: torch.Tensor, features: torch.Tensor, q: torch.Tensor, step: torch.Tensor
    ) -> torch.Tensor:
        """What to add to x − ctx before the linear transform, [B,96,h,w] fp32. Needs analysis_blocks > 0."""
        dtype, s = self.dtype, step[:, None, None, None]
        x = torch.cat((((picture - ctx) / s / 4).to(dtype), (ctx / 64).to(dtype), features), 1)
        return self.g_a(x, q)[1].float() * (OUTPUT_SCALE * s)

    def synthesis(
        self, ctx: torch.Tensor, residual: torch.Tensor, features: torch.Tensor, q: torch.Tensor, step: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """ctx, residual [B,96,h,w] -> (picture [B,96,h,w] fp32, memory [B,m,h,w])."""
        dtype, s = self.dtype, step[:, None, None, None]
        x = torch.cat(((ctx / 64).to(dtype), (residual / s / 4).to(dtype), features), 1)
        return self._split(ctx + residual, self.g_s(x, q)[1], s)

    def synthesis_intra(
        self, base: torch.Tensor, residual: torch.Tensor, q: torch.Tensor, step: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """base, residual [B,96,h,w] -> (picture, memory)."""
        s = step[:, None, None, None]
        x = torch.cat(((base / 64).to(self.dtype), (residual / s / 4).to(self.dtype)), 1)
        return self._split(base + residual, self.g_s_intra(x, q)[1], s)

    @staticmethod
    def _split(base: torch.Tensor, out: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = out.float()
        return base + out[:, :PACKED] * (OUTPUT_SCALE * scale), torch.tanh(out[:, PACKED:])

    @property
    def dtype(self) -> torch.dtype:
        return self.g_c.head.weight.dtype
