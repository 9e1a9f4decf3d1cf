"""`python -m lrae.codec.warm`: compile the inner loops of encoder and decoder; later starts find them on disk.

warm_up() runs all of them once, on a small moving picture, so that no frame of a live stream waits for a compiler.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import lru_cache
from threading import Timer

import numpy as np

from lrae.codec.lrae import LraeDecoder, LraeEncoder
from lrae.codec.types import LAYOUTS, TILES, EncodeHints, Frame, VideoFormat
from lrae.models.store import Model

SIDE = 128  # of the picture: four tiles
PATIENCE = 2.0  # seconds; who waits longer is told why
NOTICE = "preparing the codec; a first start compiles its inner loops, which may take a minute"


@lru_cache(maxsize=4)
def warm_up(model: Model) -> None:
    """Compile every kernel, or load it from disk. Says so on stderr if that takes long; once per model."""
    notice = Timer(PATIENCE, print, (NOTICE,), {"file": sys.stderr, "flush": True})
    notice.daemon = True
    notice.start()
    try:
        _exercise(model)
    finally:
        notice.cancel()


def _exercise(model: Model) -> None:
    """A few frames of every kind and layout, whole and damaged."""
    video = VideoFormat(SIDE, SIDE)
    encoder, decoder = LraeEncoder(model, video), LraeDecoder(model, video)
    hints = EncodeHints(packets=2, loss=0.3, max_payload=4096, repair=4)
    first, before = encoder.encode(encoder.initial_state(), _picture(0), 0, 40, replace(hints, intra=True, packets=0))
    _, shown = decoder.decode(decoder.initial_state(), first.header, dict(enumerate(first.payloads)))
    for layout, loss in (*((layout, hints.loss) for layout in range(len(LAYOUTS))), (TILES, 0.0)):
        wanted = replace(hints, layout=layout, loss=loss, refresh=frozenset({1}) if layout == TILES else frozenset())
        encoded, after = encoder.encode(before, _picture(1), 1, 40, wanted)
        encoder.worth(encoded, before, after)
        encoder.state_after(before, encoded, frozenset({0}))
        for got in ((0, 1), (0,), (1,), ()):
            decoder.decode(shown, encoded.header, {index: encoded.payloads[index] for index in got})
    decoder.decode(shown, None, {})


def _picture(number: int) -> Frame:
    """Waves of several lengths that move, with noise on top: something for every part of the codec."""
    y, x = np.mgrid[:SIDE, :SIDE] + 3.0 * number
    noise = np.random.default_rng(number).normal(0, 6, (SIDE, SIDE))
    luma = 128 + 60 * np.sin(x / 5 + y / 17) + 40 * np.sin(y / 3) + noise
    planes = [luma, luma[::2, ::2], 255 - luma[1::2, ::2]]
    return Frame(*(plane.clip(0, 255).astype(np.uint8) for plane in planes), number / 30)


def main() -> None:
    """Compile for the shipped model."""
    from lrae.models.store import load_model

    warm_up(load_model("m"))


if __name__ == "__main__":
    main()
