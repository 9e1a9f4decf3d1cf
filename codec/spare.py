"""Spare motion: what a lost tile falls back on when its own packet is gone and the motion of the past does not fit.

Motion is worth more per bit than anything else in a packet (docs/loss.md), but most of a field can be guessed from
the last one. So only the tiles where that guess is poor get a second description, as coarse as pays, in the packet of
another region: tile by tile the cheapest of nothing, one vector, four vectors, or the field itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lrae.codec import conceal, motion_coding
from lrae.codec.motion import Distortion, join
from lrae.codec.motion_field import CELL, MotionField
from lrae.codec.range_coder import RangeDecoder, RangeEncoder
from lrae.codec.state import Spare
from lrae.codec.tiles import CELLS, TILE, Rectangle, Region

SIDE = TILE * CELLS  # motion cells a side of a tile
WEIGHT = 0.04  # of distortion against bits: what spare motion saves counts in the frames until it is repaired only
VECTOR_BITS, SPLIT_BITS = 9.0, 2.0  # rough price of a vector, and of every leaf
_SHARES = (1 / 32, 1 / 8, 1 / 3, 2 / 3)  # of the tiles: which table the flags are coded with
_FLAGS = [np.array([0, round(0x10000 * (1 - share)), 0x10000], np.int32) for share in _SHARES]


@dataclass(frozen=True)
class Risk:
    """How the picture is dealt to packets, the share of packets lost, and frames until a loss is repaired."""

    regions: tuple[Region, ...]
    loss: float
    repair: float


def choose(
    luma: np.ndarray, reference: np.ndarray, field: MotionField, last: MotionField | None, step: float, risk: Risk
) -> Spare | None:
    """What is worth sending twice. luma, reference: uint8 [H,W]; last: the field of the frame before, None: no motion.

    Distortion counts in bits, as in the motion search.
    """
    distortion = Distortion(luma, reference, step)
    before = np.zeros_like(field.vectors) if last is None else last.vectors

    around = np.empty_like(field.vectors)
    for region in risk.regions:
        gone = np.zeros(field.size.shape, bool)
        region.put(gone, True, CELLS)
        around[gone] = conceal.guess(field.vectors, gone, before)[gone]
    both = (1 - risk.loss) ** 2  # how often the rows above and below have arrived
    options = [_coarse(field.vectors, SIDE), _coarse(field.vectors, SIDE // 2), field.vectors]
    fields = np.stack([before, around, *options])
    costs = WEIGHT * risk.loss * risk.repair * _tile_sums(distortion.moved(fields))
    nothing = both * costs[1] + (1 - both) * costs[0]
    best = np.argmin([nothing, *costs[2:] + _tile_bits(fields[2:])], 0)
    if not best.any():
        return None
    cells = best.repeat(SIDE, 0).repeat(SIDE, 1)[: field.size.shape[0], : field.size.shape[1]]
    vectors = before.copy()
    for index, option in enumerate(options, 1):
        np.copyto(vectors, option, where=(cells == index)[..., None])
    leaves = np.full(field.size.shape, 3, np.uint8)
    return Spare(join(MotionField(vectors, leaves)), best > 0)


def encode(spare: Spare | None, where: Region, coder: RangeEncoder) -> None:
    """Append the spare motion of one region."""
    tiles = where.tiles
    flags = np.array([spare is not None and spare.tiles[t.top // TILE, t.left // TILE] for t in tiles], np.int64)
    table = int(np.abs(np.array(_SHARES) - flags.mean()).argmin())
    coder.uniform(table, len(_SHARES))
    coder.symbols(flags, _FLAGS[table])
    chosen = [tile for tile, flag in zip(tiles, flags, strict=True) if flag]
    if chosen:
        row = [
            np.ascontiguousarray(np.concatenate([_whole(tile.of(a, CELLS)) for tile in chosen], 1))
            for a in (spare.motion.vectors, spare.motion.size)
        ]
        motion_coding.encode(MotionField(*row), coder)


def decode(coder: RangeDecoder, where: Region) -> list[tuple[Rectangle, np.ndarray]]:
    """The inverse of encode(): [(tile, its vectors int16 [cells, cells, 2])]."""
    tiles = where.tiles
    flags = coder.symbols(len(tiles), _FLAGS[coder.uniform(len(_SHARES))])
    chosen = [tile for tile, flag in zip(tiles, flags, strict=True) if flag]
    if not chosen:
        return []
    return _cut(motion_coding.decode(coder, SIDE * CELL, SIDE * CELL * len(chosen)), chosen)


def _cut(row: MotionField | None, tiles: list[Rectangle]) -> list[tuple[Rectangle, np.ndarray]]:
    """The vectors of tiles that lie side by side."""
    found = []
    for index, tile in enumerate(tiles):
        rows, columns = (CELLS * side for side in tile.grid)
        found.append((tile, row.vectors[:rows, index * SIDE : index * SIDE + columns]))
    return found


def carried(index: int, packets: int) -> int:
    """The region whose spare motion packet `index` carries."""
    return (index + packets // 2) % packets


def _coarse(vectors: np.ndarray, side: int) -> np.ndarray:
    """One vector for every square of `side` cells: the upper median of its cells'."""
    rows, columns = vectors.shape[:2]
    whole = cv2.copyMakeBorder(vectors, 0, -rows % side, 0, -columns % side, cv2.BORDER_REPLICATE)
    down, across, half = whole.shape[0] // side, whole.shape[1] // side, side * side // 2
    squares = whole.reshape(down, side, across, side, 2).transpose(0, 2, 4, 1, 3).reshape(down, across, 2, -1)
    middle = np.partition(squares, half)[..., half]
    return middle.repeat(side, 0).repeat(side, 1)[:rows, :columns]


def _tile_sums(cells: np.ndarray) -> np.ndarray:
    """Sums of cells [..., rows, columns] over tiles."""
    starts = (np.arange(0, side, SIDE) for side in cells.shape[-2:])
    return np.add.reduceat(np.add.reduceat(cells, next(starts), -2), next(starts), -1)


def _tile_bits(fields: np.ndarray) -> np.ndarray:
    """About the bits of each tile's vectors, int16 [n, rows, columns, 2]: one for each change from cell to cell."""
    packed = np.ascontiguousarray(fields).view(np.int32)[..., 0]
    changes = np.zeros(packed.shape, np.float32)
    down, across = packed[:, 1:] != packed[:, :-1], packed[..., 1:] != packed[..., :-1]
    down[:, SIDE - 1 :: SIDE], across[..., SIDE - 1 :: SIDE] = False, False  # from tile to tile
    changes[:, 1:] += down
    changes[..., 1:] += across
    return VECTOR_BITS + (VECTOR_BITS + SPLIT_BITS) * _tile_sums(changes) / 8


def _whole(tile: np.ndarray) -> np.ndarray:
    """A tile at the picture's edge, repeated to full size."""
    rows, columns = tile.shape[:2]
    if (rows, columns) == (SIDE, SIDE):
        return tile
    return np.pad(tile, ((0, SIDE - rows), (0, SIDE - columns), *((0, 0),) * (tile.ndim - 2)), mode="edge")
