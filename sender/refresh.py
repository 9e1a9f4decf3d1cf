"""Which tiles to code without prediction while nobody tells what arrived.

The sender keeps a few imagined receivers, each with losses of its own at the expected rate, and compares their
pictures with the one it predicts from. So concealment, motion that carries damage about, refreshed tiles that are lost
in their turn and parts of the picture that never need it are all accounted for by the codec itself. (Several decoders
in the encoder: Stockhammer, Kontopodis, Wiegand, "Rate-distortion optimization for JVT/H.26L video coding in packet
loss environment", 2002.)

A tile is refreshed when the damage that it has shown since it last was exceeds the price of its bits. Where damage
grows steadily this is the cheapest period, as sqrt(2 price / growth) minimises price / period + growth period / 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lrae.codec.api import Encoder
from lrae.codec.types import EncodedFrame

State = Any
TILE, CELL = 64, 8  # pixels a side: a tile as in EncodeHints.refresh; where its texture is measured
RECEIVERS = 3
PRICE = 0.12  # of a bit: squared error of a pixel in one frame, in squared steps (the quantiser's own price)
TILE_BITS, TEXTURE_BITS, FLAT = 110.0, 8.0, 0.03  # bits of a tile: fitted to three clips at q 10, 22, 34, within 40 %
MOST = 1 / 2  # of the tiles in one frame


class Refresher:
    """Imagined receivers that all start in `state`. rng: of their losses."""

    def __init__(self, encoder: Encoder, state: State, rng: np.random.Generator, receivers: int = RECEIVERS) -> None:
        self._encoder, self._rng = encoder, rng
        self._states = [state] * receivers
        rows, columns = (-(-side // TILE) for side in (encoder.format.height, encoder.format.width))
        self._damage = np.zeros(rows * columns)  # [tiles]: squared error times frames since the last refresh
        self._chosen: frozenset[int] = frozenset()

    def sent(self, encoded: EncodedFrame, after: State, loss: float) -> None:
        """`encoded`, with the tiles chosen last, goes through a channel that loses `loss` (0..1) of the packets.

        after: the state after it if nothing is lost.
        """
        if encoded.header.intra:
            self._damage[:] = 0
        self._damage[list(self._chosen)] = 0
        arrived = self._rng.random((len(self._states), encoded.header.packets)) >= loss
        self._states = [
            self._encoder.state_after(state, encoded, frozenset(np.flatnonzero(row).tolist()))
            for state, row in zip(self._states, arrived, strict=True)
        ]
        sound = self._encoder.picture(after).y.astype(np.float32)
        errors = [_tile_sums((self._encoder.picture(state).y - sound) ** 2) for state in self._states]
        self._damage = self._damage + np.mean(errors, 0).reshape(-1)

    def lighten(self) -> None:
        """Imagines one receiver less, down to one: each takes a decoder pass a frame."""
        if len(self._states) > 1:
            self._states.pop()

    def choose(self, luma: np.ndarray, step: float) -> frozenset[int]:
        """Tiles, in raster order, to code without prediction in the next frame.

        luma: of that frame, uint8 [H, W]; step: of its quantiser, grey levels.
        """
        worth = self._damage / (PRICE * step**2 * tile_bits(luma, step).reshape(-1))
        most = max(1, round(MOST * len(worth)))
        self._chosen = frozenset(index for index in np.argsort(-worth)[:most].tolist() if worth[index] > 1)
        return self._chosen


def tile_bits(luma: np.ndarray, step: float) -> np.ndarray:
    """About the bits of each tile without prediction, [tile rows, tile columns]."""
    rows, columns = luma.shape
    whole = np.pad(luma, ((0, -rows % TILE), (0, -columns % TILE)), mode="edge").astype(np.float32)
    cells = whole.reshape(whole.shape[0] // CELL, CELL, -1, CELL)
    texture = np.log2(1 + cells.var((1, 3)) / (FLAT * step**2))
    return TILE_BITS + TEXTURE_BITS * _tile_sums(texture, TILE // CELL)


def _tile_sums(values: np.ndarray, side: int = TILE) -> np.ndarray:
    rows, columns = (range(0, length, side) for length in values.shape)
    return np.add.reduceat(np.add.reduceat(values, rows, 0), columns, 1)
