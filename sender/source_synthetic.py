"""A procedural scene, bit-identical everywhere: a drifting texture and a disc that crosses it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from lrae.codec.avframe import MAX_FPS, MIN_FPS
from lrae.codec.types import Frame, VideoFormat
from lrae.errors import SourceError

TILE = 512  # side of the texture, which repeats; a power of two
SIZE, FPS, COUNT = (448, 256), 30, 300
MAX_COUNT = 1_000_000
PAN = (5, 2)  # drift of the background in quarter pixels a frame


def parse_scene(text: str) -> tuple[int, int, int, int]:
    """ "448x256@30x300" -> (width, height, fps, frames); every part may be left out. SourceError."""
    match = re.fullmatch(r"(?:([0-9]{1,5})x([0-9]{1,5}))?(?:@([0-9]{1,3})(?:x([0-9]{1,7}))?)?", text)
    if not match:
        raise SourceError(f"synthetic:{text}: give synthetic:[WIDTHxHEIGHT][@FPS[xFRAMES]]")
    width, height, fps, count = (
        default if given is None else int(given)
        for given, default in zip(match.groups(), (*SIZE, FPS, COUNT), strict=True)
    )
    if not (MIN_FPS <= fps <= MAX_FPS and 1 <= count <= MAX_COUNT):
        raise SourceError(f"synthetic:{text}: {MIN_FPS} to {MAX_FPS} fps, 1 to {MAX_COUNT} frames")
    return width, height, fps, count


def _texture(seed: int, low: int, high: int) -> np.ndarray:
    """uint16 [TILE, TILE]: four octaves of smoothed noise within low..high. Integer arithmetic only."""
    rng = np.random.default_rng(seed)
    total = np.zeros((TILE, TILE), np.int64)
    for octave, weight in ((64, 8), (16, 4), (4, 2), (1, 1)):
        noise = rng.integers(0, 256, (TILE // octave, TILE // octave), np.int64)
        noise = noise.repeat(octave, 0).repeat(octave, 1)
        for axis in (0, 1):  # a running mean over one cell makes the steps into ramps
            padded = np.concatenate([noise, noise.take(np.arange(octave), axis)], axis).cumsum(axis)
            ahead = padded.take(np.arange(octave, TILE + octave), axis)
            noise = (ahead - padded.take(np.arange(TILE), axis)) // octave
        total += weight * noise
    total -= total.min()
    return (low + total * (high - low) // max(int(total.max()), 1)).astype(np.uint16)


def _shifted(tile: np.ndarray, height: int, width: int, dx: int, dy: int) -> np.ndarray:
    """uint16 [height, width] of a tile moved by (dx, dy) quarter samples, bilinear in integers."""
    fx, fy = dx & 3, dy & 3
    rows = (np.arange(height + 1) + (dy >> 2)) % TILE
    columns = (np.arange(width + 1) + (dx >> 2)) % TILE
    part = tile.take(rows, 0).take(columns, 1)
    part = part[:, :-1] * np.uint16(4 - fx) + part[:, 1:] * np.uint16(fx)
    return (part[:-1] * np.uint16(4 - fy) + part[1:] * np.uint16(fy) + np.uint16(8)) >> np.uint16(4)


class SyntheticReader:
    """See the module; frame n depends on n and the size alone."""

    live = False
    seekable = True
    notes = ()

    def __init__(self, text: str) -> None:
        width, height, fps, self.count = parse_scene(text)
        self.format = VideoFormat(width, height, Fraction(fps))
        self._tiles = [_texture(1, 32, 220), _texture(2, 96, 160), _texture(3, 100, 156)]

    def picture(self, number: int) -> Frame:
        """Frame `number` of the scene."""
        width, height = self.format.width, self.format.height
        half = ((width + 1) // 2, (height + 1) // 2)
        angle = number * 0.05
        centre_x = round(width * (0.5 + 0.35 * math.sin(angle)))
        centre_y = round(height * (0.5 + 0.3 * math.sin(2 * angle)))
        planes = []
        for tile, (w, h), scale in zip(self._tiles, ((width, height), half, half), (1, 2, 2), strict=True):
            plane = _shifted(tile, h, w, number * PAN[0] // scale, number * PAN[1] // scale)
            x, y, radius = centre_x // scale, centre_y // scale, min(w, h) // 4
            top, left = max(y - radius, 0), max(x - radius, 0)
            rows, columns = np.arange(top, min(y + radius, h)), np.arange(left, min(x + radius, w))
            inside = (rows[:, None] - y) ** 2 + (columns[None, :] - x) ** 2 < radius**2
            disc = np.uint16(255) - tile.take((rows - y) % TILE, 0).take((columns - x) % TILE, 1)
            area = plane[top : top + len(rows), left : left + len(columns)]
            area[inside] = disc[inside]
            planes.append(plane.astype(np.uint8))
        return Frame(*planes, time=number / float(self.format.fps))

    def frames(self) -> Iterator[Frame]:
        return map(self.picture, range(self.count))

    def close(self) -> None:
        """Nothing to let go of."""
