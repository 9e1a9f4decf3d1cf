"""The encoder's transform: what prediction leaves of a picture, and its coefficients, of which most are not computed.

    planes ─┐
    ctx ────┴► residual ─► blocks [N,384] ─┬─ channels 0…FIRST of all transforms ─────────────► parts
                                           └─ the others, where energy is left in the block ─►
"""

from __future__ import annotations

import numpy as np
import torch
from torch.linalg import vector_norm

from lrae.codec.jit import kernel
from lrae.codec.quantiser import Part
from lrae.models.blocks import CHROMA_GAIN, COEFFICIENTS, CORNERS, PACKED
from lrae.models.tables import CHANNELS, TRANSFORMS

FIRST = 64  # channels that are always computed; about nine of ten levels other than zero are among them
LEFT = 12.0  # squared steps of a block: where no transform's first channels leave more, the others are not computed


class Forward:
    """The transforms float32 [TRANSFORMS, 384, CHANNELS] of one kind of frame, computed in `dtype`."""

    def __init__(self, linear: torch.Tensor, dtype: torch.dtype):
        columns = linear[:, CORNERS].to(dtype).permute(1, 0, 2)
        self._first = columns[..., :FIRST].reshape(COEFFICIENTS, -1).contiguous()
        self._others = columns[..., FIRST:].reshape(COEFFICIENTS, -1).contiguous()

    def __call__(self, blocks: torch.Tensor) -> list[Part]:
        """blocks fp32 [N,384] in steps -> parts of their coefficients; what is left out would hardly be coded."""
        inputs = blocks.to(self._first.dtype)
        first = (inputs @ self._first).float().view(-1, FIRST)
        found = vector_norm(first, dim=1).view(-1, TRANSFORMS).amin(1)
        where = torch.nonzero(vector_norm(blocks, dim=1).square() - found.square() > LEFT)[:, 0]
        others = (inputs[where] @ self._others).float().view(-1, CHANNELS - FIRST)
        owner = where[:, None] * TRANSFORMS + torch.arange(TRANSFORMS, device=where.device)
        return [
            Part(first.cpu().numpy(), np.arange(len(first)), 0),
            Part(others.cpu().numpy(), owner.view(-1).cpu().numpy(), FIRST),
        ]


def residual(y: np.ndarray, u: np.ndarray, v: np.ndarray, prediction: torch.Tensor, step: float) -> torch.Tensor:
    """What a packed prediction fp32 [1,96,h,w] leaves of planes, uint8 and contiguous: to_corners [N,384] in steps."""
    cells = prediction[0].permute(1, 2, 0).contiguous()
    blocks = torch.empty(cells.numel() // COEFFICIENTS, COEFFICIENTS)
    _subtract(y, u, v, cells.numpy(), np.float32(1 / step), blocks.numpy())
    return blocks


@kernel
def _subtract(y, u, v, cells, scale, blocks):
    """Write blocks float32 [N,384]: planes uint8 minus cells float32 [h,w,96], times scale."""
    columns, middle, gain = cells.shape[1] // 2, np.float32(128), np.float32(CHROMA_GAIN)
    for row in range(cells.shape[0]):
        for column in range(2 * columns):
            start = PACKED * (row % 2 * 2 + column % 2)
            out, ctx = blocks[row // 2 * columns + column // 2, start : start + PACKED], cells[row, column]
            for i in range(8):
                line = y[8 * row + i]
                for j in range(8):
                    out[8 * i + j] = (np.float32(line[8 * column + j]) - middle - ctx[8 * i + j]) * scale
            for i in range(4):
                line_u, line_v = u[4 * row + i], v[4 * row + i]
                for j in range(4):
                    k = 64 + 4 * i + j
                    out[k] = ((np.float32(line_u[4 * column + j]) - middle) * gain - ctx[k]) * scale
                    out[k + 16] = ((np.float32(line_v[4 * column + j]) - middle) * gain - ctx[k + 16]) * scale
