"""What a classifier sees of a decoded frame: a small fixed grid from the decoder's state, any picture size.

    packed 96 ch at 1/8 ─► one matrix ─► mean of Y, U, V, slope of Y across and down ┐
    motion vectors at 1/8 ────────────────────────────────────────────────────────────┴► areas of the grid
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from lrae.codec.motion_field import CELL, MotionField
from lrae.codec.state import State
from lrae.models.blocks import CHROMA_GAIN, PACKED
from lrae.models.classifier import FEATURES, GRID, MEANS

UNIT = 32.0  # grey levels: about the spread of means and slopes


def features(state: State, width: int, height: int, fps: float) -> torch.Tensor:
    """Features of the picture that `state` shows, fp32 [FEATURES, *GRID] on the CPU: Y, U, V, slopes of Y across and
    down (all in UNIT grey levels), motion to the right and down (grid cells a second).

    width, height: of the picture, pixels; what pads it to the codec's blocks is left out. fps: frames a second. The
    picture keeps its shape and is centred in the grid; around it everything is 0.
    """
    down, across, scale = areas(width, height)
    _, _, rows, columns = state.packed.shape
    cells = state.packed[0].permute(1, 2, 0).reshape(rows * columns, PACKED) @ _matrix(state.packed.device)
    cells = cells.T.reshape(MEANS, rows, columns).cpu()
    return torch.cat((down @ cells @ across, _motion(state.motion, down, across, scale * fps)))


def _motion(field: MotionField | None, down: torch.Tensor, across: torch.Tensor, rate: float) -> torch.Tensor:
    """The field's vectors, turned so that they point where things go, times `rate` and in grid cells: [2, *GRID]."""
    if field is None:
        return torch.zeros(FEATURES - MEANS, *GRID)
    vectors = torch.from_numpy(field.vectors.astype(np.float32)).permute(2, 0, 1)
    return down @ vectors @ across * (-0.25 * rate / CELL)


@functools.cache
def _matrix(device: torch.device) -> torch.Tensor:
    """Packed channels to (Y, U, V, slope across, slope down), fp32 [96, MEANS], in UNIT."""
    matrix = torch.zeros(PACKED, MEANS)
    luma = matrix[:64].reshape(8, 8, MEANS)
    side = torch.tensor([-1.0, 1.0]).repeat_interleave(4) / 64
    luma[..., 0] = 1 / 64
    luma[..., 3] = side
    luma[..., 4] = side[:, None]
    matrix[64:80, 1] = matrix[80:, 2] = 1 / (16 * CHROMA_GAIN)
    return (matrix / UNIT).to(device)


@functools.lru_cache(maxsize=16)
def areas(width: int, height: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """How cells of CELL pixels fall into the grid: (fp32 [GRID rows, rows], [columns, GRID columns], GRID cells per
    cell). Each grid cell takes the mean of what it covers of the picture."""
    sides = [-(-side // 16) * 16 // CELL for side in (height, width)]
    scale = min(GRID[0] * CELL / height, GRID[1] * CELL / width)
    down, across = (
        _areas(length / CELL, cells, count, scale)
        for length, cells, count in zip((height, width), sides, GRID, strict=True)
    )
    return down, across.T.contiguous(), scale


def _areas(length: float, cells: int, count: int, scale: float) -> torch.Tensor:
    """Along one axis: weights fp32 [count, cells]. length: of the picture, cells; it is centred in `count`."""
    edges = (torch.arange(count + 1) - (count - length * scale) / 2) / scale
    low, high = edges[:-1, None].clamp(0, length), edges[1:, None].clamp(0, length)
    cell = torch.arange(cells)
    shared = (torch.minimum(high, cell + 1.0) - torch.maximum(low, cell * 1.0)).clamp(min=0)
    return shared / shared.sum(1, keepdim=True).clamp(min=1e-6)
