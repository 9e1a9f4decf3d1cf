"""Rectangles of 64-pixel tiles, one a packet: what is lost with a packet is one region, and nothing else needs it.

A tile is the root of the motion quadtree, so that no leaf and no class crosses an edge between packets.
"""

from __future__ import annotations

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


def tile_count(rows: int, columns: int) -> int:
    """Tiles of a picture of rows × columns positions: the most packets that it can be dealt into."""
    return -(-rows // TILE) * -(-columns // TILE)


@lru_cache(maxsize=256)
def rectangles(rows: int, columns: int, packets: int) -> tuple[Rectangle, ...]:
    """The picture in `packets` rectangles of about as many tiles each: halved again and again across the longer side.

    WireError: more packets than tiles.
    """
    if not 1 <= packets <= tile_count(rows, columns):
        raise WireError(f"{packets} packets for a picture of {tile_count(rows, columns)} tiles")
    found = _split(0, -(-rows // TILE), 0, -(-columns // TILE), packets)
    return tuple(
        Rectangle(top * TILE, min(rows, bottom * TILE), left * TILE, min(columns, right * TILE))
        for top, bottom, left, right in found
    )


def _split(top: int, bottom: int, left: int, right: int, parts: int) -> list[tuple[int, int, int, int]]:
    """Bounds in tiles. Every part has at least one tile, as long as there are that many."""
    if parts == 1:
        return [(top, bottom, left, right)]
    rows, columns = bottom - top, right - left
    tall = rows >= columns
    length, across = (rows, columns) if tall else (columns, rows)
    cut = max(1, min(length - 1, (2 * length * (parts // 2) + parts) // (2 * parts)))
    # as many parts on each side as it has tiles for, in proportion
    first = max(1, parts - (length - cut) * across, min(parts - 1, cut * across, round(parts * cut / length)))
    if tall:
        return _split(top, top + cut, left, right, first) + _split(top + cut, bottom, left, right, parts - first)
    return _split(top, bottom, left, left + cut, first) + _split(top, bottom, left + cut, right, parts - first)


def tile_rectangles(within: Rectangle) -> list[Rectangle]:
    """The tiles of a rectangle that starts at a tile's corner, in raster order."""
    return [
        Rectangle(top, min(within.bottom, top + TILE), left, min(within.right, left + TILE))
        for top in range(within.top, within.bottom, TILE)
        for left in range(within.left, within.right, TILE)
    ]
