"""How many packets a frame takes, by code lengths, so that its first try at packets fits."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lrae.codec.entropy import LevelCoder
from lrae.codec.motion_field import LEVELS
from lrae.codec.state import CodedFrame
from lrae.codec.tiles import CELLS, TILE, regions
from lrae.models.store import KINDS

# measured on 4 clips at q 20, 35 and 50: bits of a class where it costs one bit without context, of a leaf of the
# motion field, and of a mean of the base for each bit of its difference from its neighbour
CLASS_SHARE, LEAF_BITS, BASE_SHARE = 0.8, 7.3, 2.0
ROOM = 0.96  # of a packet, filled by estimate


def packet_count(position_bits: np.ndarray, largest: int, least: int, most: int) -> int:
    """The least number of packets of tiles that seem to fit `largest` bytes each; `most` if none does.

    position_bits: of position_bits(), [rows, columns].
    """
    tiles, room = _tile_sums(position_bits).ravel(), 8 * ROOM * largest
    for packets in range(max(1, least, int(tiles.sum() / room)), most):
        if np.bincount(_owners(*position_bits.shape, packets), tiles).max() <= room:
            return packets
    return most


def position_bits(coded: CodedFrame, coders: dict[str, LevelCoder], grid: tuple[int, int]) -> np.ndarray:
    """About the bits of each position, float [rows, columns]; spare motion is left out."""
    coder = coders[KINDS[coded.intra]]
    bits = coder.bits(coded.levels, coded.classes) + CLASS_SHARE * coder.tables.class_bits()[coded.classes]
    bits = bits.reshape(grid)
    if coded.intra:
        apart = np.abs(np.diff(coded.base, axis=2, prepend=coded.base[:, :, :1]))
        return bits + BASE_SHARE * np.log2(1.0 + 2 * apart).sum(0)
    leaves = _PART[coded.motion.size].reshape(grid[0], CELLS, grid[1], CELLS).sum((1, 3))
    bits += LEAF_BITS * leaves
    for tile, patch in coded.patches:
        tile.of(bits)[:] += position_bits(patch, coders, tile.grid)
    return bits


_PART = 0.25 ** (np.arange(LEVELS + 3) - 3.0)  # of a leaf that a cell is, by MotionField.size


def _tile_sums(positions: np.ndarray) -> np.ndarray:
    rows, columns = positions.shape
    whole = np.pad(positions, ((0, -rows % TILE), (0, -columns % TILE)))
    return whole.reshape(whole.shape[0] // TILE, TILE, -1, TILE).sum((1, 3))


@lru_cache(maxsize=256)
def _owners(rows: int, columns: int, packets: int) -> np.ndarray:
    """The packet of each tile in raster order, int [tiles]."""
    owner = np.zeros((-(-rows // TILE), -(-columns // TILE)), np.intp)
    for index, region in enumerate(regions(rows, columns, packets)):
        for tile in region.tiles:
            owner[tile.top // TILE, tile.left // TILE] = index
    return owner.ravel()
