"""Planes to packed tensors and back: no colour conversion, no full-resolution convolution.

    Y [B,1,H,W] --unshuffle 8--> 64 ch ┐
    U [B,1,H/2,W/2] --unshuffle 4--> 16 ch ┼--> packed [B,96,H/8,W/8] --unshuffle 2--> blocks [B,384,H/16,W/16]
    V [B,1,H/2,W/2] --unshuffle 4--> 16 ch ┘

Values are grey levels minus 128; chroma is scaled by CHROMA_GAIN, so that one quantiser step serves both. Packed
tensors are laid out as the convolutions want them, channels last, so that no pass over them is a transposition.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

BLOCK = 16  # luma pixels of a latent position
PACKED, COEFFICIENTS = 96, 384
CORNERS = torch.arange(COEFFICIENTS).reshape(PACKED, 4).T.reshape(-1)  # to_corners(x) == to_blocks(x)[:, CORNERS]
CHROMA_GAIN = 1.25  # weighs chroma as PSNR-YUV 6:1:1 does; larger: finer chroma


def padded(size: int) -> int:
    """The next multiple of BLOCK."""
    return -(-size // BLOCK) * BLOCK


def pack(y: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Planes in grey levels, y [B,1,H,W], u and v [B,1,H/2,W/2] -> packed [B,96,H/8,W/8]."""
    return join(y - 128, (u - 128) * CHROMA_GAIN, (v - 128) * CHROMA_GAIN)


def unpack(packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The inverse of pack; not clipped."""
    y, u, v = split(packed)
    return y + 128, u / CHROMA_GAIN + 128, v / CHROMA_GAIN + 128


def join(y: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """pack() of planes whose values are as those of packed pictures."""
    return torch.cat((_tiles(y, 8), _tiles(u, 4), _tiles(v, 4)), -1).permute(0, 3, 1, 2)


def split(packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The inverse of join."""
    last = packed.permute(0, 2, 3, 1)
    return _untile(last[..., :64], 8), _untile(last[..., 64:80], 4), _untile(last[..., 80:], 4)


def _tiles(plane: torch.Tensor, side: int) -> torch.Tensor:
    """pixel_unshuffle with channels last: [B,1,H,W] -> [B,H/side,W/side,side*side]."""
    batch, _, height, width = plane.shape
    rows, columns = height // side, width // side
    tiles = plane.reshape(batch, rows, side, columns, side).transpose(2, 3)
    return tiles.reshape(batch, rows, columns, side * side)


def _untile(tiles: torch.Tensor, side: int) -> torch.Tensor:
    """The inverse of _tiles."""
    batch, rows, columns, _ = tiles.shape
    plane = tiles.reshape(batch, rows, columns, side, side).transpose(2, 3)
    return plane.reshape(batch, 1, rows * side, columns * side)


def clip(packed: torch.Tensor) -> torch.Tensor:
    """Clip a packed picture to what 8 bits can show."""
    low = packed.new_full((1, PACKED, 1, 1), -128.0)
    low[:, 64:] *= CHROMA_GAIN
    return torch.minimum(torch.maximum(packed, low), low * (-127 / 128))


def to_blocks(packed: torch.Tensor) -> torch.Tensor:
    """packed [B,96,h,w] -> block vectors [B*(h/2)*(w/2), 384], positions in raster order."""
    blocks = F.pixel_unshuffle(packed, 2)
    return blocks.permute(0, 2, 3, 1).reshape(-1, COEFFICIENTS)


def to_corners(packed: torch.Tensor) -> torch.Tensor:
    """to_blocks with the coefficients in the order CORNERS, several times as fast where channels are last."""
    batch, channels, rows, columns = packed.shape
    corners = packed.permute(0, 2, 3, 1).reshape(batch, rows // 2, 2, columns // 2, 2, channels).transpose(2, 3)
    return corners.reshape(-1, COEFFICIENTS)


def from_blocks(vectors: torch.Tensor, batch: int, rows: int, columns: int) -> torch.Tensor:
    """block vectors [B*rows*columns, 384] -> packed [B,96,2*rows,2*columns]."""
    blocks = vectors.reshape(batch, rows, columns, COEFFICIENTS).permute(0, 3, 1, 2)
    return F.pixel_shuffle(blocks, 2)
