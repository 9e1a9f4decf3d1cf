"""Which tiles to code without prediction while nobody tells what arrived.

The sender keeps a few imagined receivers, each with losses of its own at the expected rate, and compares their
pictures with what it predicts from. Where they differ much, a tile is worth coding without prediction. So concealment,
motion that carries damage about, refreshed tiles that are lost in their turn and parts of the picture that never need
it are all accounted for by the codec itself. (Several decoders in the encoder: Stockhammer, Kontopodis, Wiegand,
"Rate-distortion optimization for JVT/H.26L video coding in packet loss environment", 2002.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lrae.codec.api import Encoder
from lrae.codec.types import EncodedFrame

State = Any
TILE = 64  # pixels a side, as in EncodeHints.refresh
RECEIVERS = 3
WORTH = 0.25  # squared error, in what the quantiser leaves by itself, from which a tile is refreshed
SHARE = 1 / 28  # of the tiles, at most, that are refreshed in one frame (at least one tile)
QUANTISER = 1 / 30  # mean squared error per pixel that the quantiser leaves, in squared steps


class Refresher:
    """Imagined receivers that all start in `state`. rng: of their losses."""

    def __init__(self, encoder: Encoder, state: State, rng: np.random.Generator, receivers: int = RECEIVERS) -> None:
        self._encoder, self._rng = encoder, rng
        self._states = [state] * receivers

    def sent(self, encoded: EncodedFrame, loss: float) -> None:
        """`encoded` is on its way through a channel that loses `loss` (0..1) of the packets."""
        arrived = self._rng.random((len(self._states), encoded.header.packets)) >= loss
        self._states = [
            self._encoder.state_after(state, encoded, frozenset(np.flatnonzero(row).tolist()))
            for state, row in zip(self._states, arrived, strict=True)
        ]

    def risk(self, state: State) -> np.ndarray:
        """Mean squared difference of the receivers' luma from that of `state`, grey levels: [tile rows, columns]."""
        sound = self._encoder.picture(state).y
        return np.mean([_tile_means(self._encoder.picture(other).y, sound) for other in self._states], 0)

    def choose(self, state: State, step: float) -> frozenset[int]:
        """Tiles, in raster order, to code without prediction in the next frame, which is predicted from `state`.

        step: of its quantiser, grey levels.
        """
        risk = self.risk(state).reshape(-1)
        most = max(1, round(SHARE * len(risk)))
        worst = np.argsort(-risk)[:most]
        return frozenset(worst[risk[worst] > WORTH * QUANTISER * step**2].tolist())


def _tile_means(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    error = (a.astype(np.float32) - b) ** 2
    rows, columns = range(0, a.shape[0], TILE), range(0, a.shape[1], TILE)
    return np.add.reduceat(np.add.reduceat(error, rows, 0), columns, 1) / TILE**2
