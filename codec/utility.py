"""What each packet of a frame is worth: the squared error that its loss would cause, guessed from what the sender has.

    after ── a sixteenth of its pixels ──────────────────────┐
    before ─► as a receiver without the packet would show it ┴► squared differences ─► sums over each packet's region
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from lrae.codec import conceal
from lrae.codec.entropy import best_curve, packet_lattice
from lrae.codec.motion_field import CELL, MotionField
from lrae.codec.state import CodedFrame, State
from lrae.codec.tiles import CELLS, TILE, regions
from lrae.codec.types import PROGRESSIVE, TILES, EncodedFrame
from lrae.models.blocks import BLOCK
from lrae.models.rates import step_of

EVERY = 4  # pixels between those that are looked at, both ways
QUARTER = np.float32(0.25)  # of a pixel: the unit of vectors
VECTOR_WEIGHT = np.float32(2.0)  # of a quarter-pel against a grey level of a mean, about as the features weigh them


class Utility(NamedTuple):
    """Of each packet, float64 [K]; what losing it alone would cause at once.

    quality: squared error of luma, summed over the picture. evidence: how wrong the means and the motion of cells
    would be, which is what a classifier sees of them (lrae.codec.features), summed over the picture.
    """

    quality: np.ndarray
    evidence: np.ndarray


def utility(encoded: EncodedFrame, before: State, after: State) -> Utility:
    """What the packets of `encoded` are worth. before, after: the states that it was predicted from and led to.

    Takes about 8 % of the time of encoding, and no pass of the codec. Layout tiles: compares `after` with what conceals
    the packet's region. Others: the energy of the packet's levels; what losing side information would do is not in it.
    """
    coded, header = encoded.meta, encoded.header
    rows, columns = before.luma.shape[0] // BLOCK, before.luma.shape[1] // BLOCK
    if header.layout != TILES:
        curve = best_curve(coded.levels, header.packets) if header.layout == PROGRESSIVE else 0
        lattice = packet_lattice(rows, columns, header.packets, header.layout, curve)
        energy = np.square(coded.levels, dtype=np.float64) * step_of(header.q) ** 2
        found = np.bincount(lattice.reshape(-1), energy.reshape(-1), header.packets)
        return Utility(found, found)
    moved, wrong = _samples(before.luma), np.float32(0)
    if not coded.intra:
        vectors = concealing(coded, before.motion, header.packets)
        moved = _moved(before.luma, vectors)
        wrong = np.abs(vectors - coded.motion.vectors).sum(-1) * VECTOR_WEIGHT
    error = cv2.subtract(_samples(after.luma), moved, dtype=cv2.CV_32F)
    means = cv2.resize(error, (columns * CELLS, rows * CELLS), interpolation=cv2.INTER_AREA)
    squares = cv2.resize(cv2.multiply(error, error), (columns, rows), interpolation=cv2.INTER_AREA)
    quality = np.bincount(_packets(rows, columns, header.packets, 1), squares.reshape(-1), header.packets)
    wrong = (np.abs(means) + wrong).reshape(-1)
    evidence = np.bincount(_packets(rows, columns, header.packets, CELLS), wrong, header.packets)
    return Utility(quality * BLOCK**2, evidence)


@lru_cache(maxsize=64)
def _packets(rows: int, columns: int, packets: int, scale: int) -> np.ndarray:
    """The packet of every place of a picture of rows·scale × columns·scale places, flat."""
    found = np.empty((rows * scale, columns * scale), np.intp)
    for index, region in enumerate(regions(rows, columns, packets)):
        region.put(found, index, scale)
    return found.reshape(-1)


def concealing(coded: CodedFrame, last: MotionField | None, packets: int) -> np.ndarray:
    """The vectors by which a receiver moves what it lost with one packet of an inter frame, as if the rows of tiles
    above and below had arrived: float32 [H/8, W/8, 2]. last: the motion of the frame before."""
    own = coded.motion.vectors
    before = np.zeros_like(own) if last is None else last.vectors
    if packets == 1:
        return before.astype(np.float32)
    vectors = np.empty(own.shape, np.int16)
    for first in (0, 1):  # what one packet carries lies between rows of tiles that others carry
        lost = np.broadcast_to((np.arange(len(own)) // (TILE * CELLS) % 2 == first)[:, None], own.shape[:2])
        vectors[lost] = conceal.guess(own, lost.copy(), before)[lost]
    if coded.spare is not None:
        spared = coded.spare.tiles.repeat(TILE * CELLS, 0).repeat(TILE * CELLS, 1)[: len(own), : own.shape[1]]
        vectors = np.where(spared[..., None], coded.spare.motion.vectors, vectors)
    return vectors.astype(np.float32, copy=False)


def _moved(luma: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """_samples() of the picture moved by the vectors of its cells."""
    where = (vectors * QUARTER).repeat(CELL // EVERY, 0).repeat(CELL // EVERY, 1)
    where[..., 0] += np.arange(EVERY // 2, luma.shape[1], EVERY, dtype=np.float32)
    where[..., 1] += np.arange(EVERY // 2, luma.shape[0], EVERY, dtype=np.float32)[:, None]
    return cv2.remap(luma, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _samples(luma: np.ndarray) -> np.ndarray:
    return luma[EVERY // 2 :: EVERY, EVERY // 2 :: EVERY].copy()
