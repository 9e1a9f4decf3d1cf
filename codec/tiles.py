"""Strips of 64-pixel tiles dealt to packets: a packet's region needs nothing else, and its neighbours travel elsewhere.

A tile is the root of the motion quadtree, so that no leaf and no class crosses an edge between packets. The tile rows
are dealt in turn: what is lost with one packet lies between rows that other packets carry, from which its motion is
interpolated. Only with more packets than tile rows is the picture divided into columns as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lrae.errors import WireError

TILE = 4  # latent positions a side, 64 pixels
CELLS = 2  # motion cells a side of a position


class Rectangle(NamedTuple):
    """Bounds in latent positions (16 pixels)."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of positions."""
        return self.bottom - self.top, self.right - self.left

    def of(self, grid: np.ndarray, scale: int = 1) -> np.ndarray:
        """The view of an array [rows·scale, columns·scale, ...]."""
        return grid[self.top * scale : self.bottom * scale, self.left * scale : self.right * scale]


@dataclass(frozen=True)
class Region:
    """What one packet carries: strips of equal width, coded as if they were stacked on one another."""

    strips: tuple[Rectangle, ...]

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of positions of the stack."""
        return sum(strip.grid[0] for strip in self.strips), self.strips[0].grid[1]

    @property
    def tiles(self) -> list[Rectangle]:
        """In the stack's raster order."""
        return [tile for strip in self.strips for tile in tile_rectangles(strip)]

    def take(self, grid: np.ndarray, scale: int = 1) -> np.ndarray:
        """The stack cut out of an array [rows·scale, columns·scale, ...]; a copy."""
        return np.concatenate([strip.of(grid, scale) for strip in self.strips])

    def put(self, grid: np.ndarray, stack: np.ndarray | int, scale: int = 1) -> None:
        """Write a stack (or one value) back to where it came from."""
        row = 0
        for strip in self.strips:
            part = strip.of(grid, scale)
            part[:] = stack if np.isscalar(stack) else stack[row : row + len(part)]
            row += len(part)


def tile_count(rows: int, columns: int) -> int:
    """Tiles of a picture of rows × columns positions: the most packets that it can be dealt into."""
    return -(-rows // TILE) * -(-columns // TILE)


@lru_cache(maxsize=256)
def regions(rows: int, columns: int, packets: int) -> tuple[Region, ...]:
    """The picture dealt to `packets` regions. WireError: more packets than tiles."""
    if not 1 <= packets <= tile_count(rows, columns):
        raise WireError(f"{packets} packets for a picture of {tile_count(rows, columns)} tiles")
    tile_rows, tile_columns = -(-rows // TILE), -(-columns // TILE)
    parts = -(-packets // tile_rows)
    found, right = [], 0
    for part in range(parts):
        first, last = (i * packets // parts for i in (part, part + 1))
        # a column as wide as its share of the packets, every column at least one tile
        wanted = (last * tile_columns + packets // 2) // packets
        left, right = right, max(right + 1, min(tile_columns - (parts - part - 1), wanted))
        for packet in range(last - first):
            strips = [
                Rectangle(top, min(rows, top + TILE), left * TILE, min(columns, right * TILE))
                for top in range(packet * TILE, rows, (last - first) * TILE)
            ]
            found.append(Region(tuple(strips)))
    return tuple(found)


def tile_rectangles(within: Rectangle) -> list[Rectangle]:
    """The tiles of a rectangle that starts at a tile's corner, in raster order."""
    return [
        Rectangle(top, min(within.bottom, top + TILE), left, min(within.right, left + TILE))
        for top in range(within.top, within.bottom, TILE)
        for left in range(within.left, within.right, TILE)
    ]
