"""Planes to packed tensors and back: no colour conversion, no full-resolution convolution.

    Y [B,1,H,W] --unshuffle 8--> 64 ch ┐
    U [B,1,H/2,W/2] --unshuffle 4--> 16 ch ┼--> packed [B,96,H/8,W/8] --unshuffle 2--> blocks [B,384,H/16,W/16]
    V [B,1,H/2,W/2] --unshuffle 4--> 16 ch ┘

Values are grey levels minus 128; chroma is scaled by CHROMA_GAIN, so that one quantiser step serves both.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

BLOCK = 16  # luma pixels of a latent position
PACKED, COEFFICIENTS = 96, 384
CHROMA_GAIN = 1.25  # weighs chroma as PSNR-YUV 6:1:1 does; larger: finer chroma


def padded(size: int) -> int:
    """The next multiple of BLOCK."""
    return -(-size // BLOCK) * BLOCK


def pack(y: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Planes in grey levels, y [B,1,H,W], u and v [B,1,H/2,W/2] -> packed [B,96,H/8,W/8]."""
    chroma = torch.cat((F.pixel_unshuffle(u, 4), F.pixel_unshuffle(v, 4)), 1)
    return torch.cat((F.pixel_unshuffle(y, 8) - 128, (chroma - 128) * CHROMA_GAIN), 1)


def unpack(packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The inverse of pack; not clipped."""
    chroma = packed[:, 64:] / CHROMA_GAIN + 128
    return (
        F.pixel_shuffle(packed[:, :64] + 128, 8),
        F.pixel_shuffle(chroma[:, :16], 4),
        F.pixel_shuffle(chroma[:, 16:], 4),
    )


def clip(packed: torch.Tensor) -> torch.Tensor:
    """Clip a packed picture to what 8 bits can show."""
    low = packed.new_full((1, PACKED, 1, 1), -128.0)
    low[:, 64:] *= CHROMA_GAIN
    return torch.minimum(torch.maximum(packed, low), low * (-127 / 128))


def to_blocks(packed: torch.Tensor) -> torch.Tensor:
    """packed [B,96,h,w] -> block vectors [B*(h/2)*(w/2), 384], positions in raster order."""
    blocks = F.pixel_unshuffle(packed, 2)
    return blocks.permute(0, 2, 3, 1).reshape(-1, COEFFICIENTS)


def from_blocks(vectors: torch.Tensor, batch: int, rows: int, columns: int) -> torch.Tensor:
    """block vectors [B*rows*columns, 384] -> packed [B,96,2*rows,2*columns]."""
    blocks = vectors.reshape(batch, rows, columns, COEFFICIENTS).permute(0, 3, 1, 2)
    return F.pixel_shuffle(blocks, 2)
