"""Fits the loop filter by least squares, in the closed loop: no gradient, minutes of one core.

Clips are coded with the filter so far; at some frames, what the filter sees and the original enter the normal
equations of the classes and rates they belong to, each frame weighed by its error, so that all count alike in dB.
Where a class is rare, its coefficients stay near the mean of all classes. A filter changes what the next frames are
predicted from, and one that is fitted to streams without it smooths them over and over: each round goes part of the
way from its filter to the one that its own streams ask for.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from rich.progress import track

from lrae.codec.jit import kernel
from lrae.codec.loop_filter import (
    CLASSES,
    LIMITS,
    PAD,
    PAIRS,
    RATES,
    SHAPE,
    LoopFilter,
    classify,
    kinds,
    neighbours,
    pad,
)
from lrae.codec.lrae import LraeEncoder
from lrae.codec.motion_field import CELL
from lrae.codec.types import EncodeHints, VideoFormat
from lrae.models.blocks import CHROMA_GAIN
from lrae.models.rates import step_of
from lrae.models.store import Model
from lrae.training.footage import Clip

TAPS = len(PAIRS) * len(LIMITS)
LOWEST, HIGHEST = 2, 60  # rates of the streams
ERROR_FLOOR = 0.5  # mean square error below which a picture is as good as it needs to be
NEIGHBOUR = 0.15  # share of the equations of the next rates
TOWARDS = 0.5  # how far a round goes
RARE, MEAN = 1e-3, 1e-4  # ridge toward the mean of all classes, shares of the class's and of the rate's own strength


class Equations:
    """Normal equations: gram [2, RATES, CLASSES, TAPS, TAPS] and side [2, RATES, CLASSES, TAPS], luma and chroma."""

    def __init__(self):
        self.gram = np.zeros((2, RATES, CLASSES, TAPS, TAPS))
        self.side = np.zeros((2, RATES, CLASSES, TAPS))

    def add(self, planes, coded, originals) -> None:
        """planes: Y, U, V before the filter; originals: the source's; float32, values as in packed pictures."""
        step = np.float32(step_of(coded.q))
        padded = [pad(plane) for plane in planes]
        classes = classify(padded[0], kinds(coded), step)
        low, high, share = neighbours(coded.q)
        for index, (plane, original) in enumerate(zip(padded, originals, strict=True)):
            error = np.ascontiguousarray(original - plane[PAD:-PAD, PAD:-PAD])
            gram, side = np.zeros((CLASSES, TAPS, TAPS)), np.zeros((CLASSES, TAPS))
            cell = CELL if index == 0 else CELL // 2
            _accumulate(plane, error, classes, cell, np.array(LIMITS, np.float32) * step, np.array(PAIRS), gram, side)
            weight = 1 / (max(float(np.square(error).mean()), ERROR_FLOOR) * step * step)
            for rate, part in ((low, 1 - share), (high, share)):
                self.gram[min(index, 1), rate] += gram * (weight * part)
                self.side[min(index, 1), rate] += side * (weight * part)

    def solve(self) -> np.ndarray:
        """Weights float32 of SHAPE."""
        gram, side = self.gram.copy(), self.side.copy()
        for total, own in ((gram, self.gram), (side, self.side)):
            total[:, 1:] += NEIGHBOUR * own[:, :-1]
            total[:, :-1] += NEIGHBOUR * own[:, 1:]
        weights, unit = np.zeros((2, RATES, CLASSES, TAPS)), np.eye(TAPS)
        for plane in range(2):
            for rate in range(RATES):
                whole, strength = gram[plane, rate].sum(0), np.trace(gram[plane, rate].sum(0)) / TAPS
                mean = np.linalg.solve(whole + (MEAN * strength + 1e-9) * unit, side[plane, rate].sum(0))
                for index in range(CLASSES):
                    own = gram[plane, rate, index]
                    ridge = (RARE * np.trace(own) / TAPS + MEAN * strength + 1e-9) * unit
                    rest = side[plane, rate, index] - own @ mean
                    weights[plane, rate, index] = mean + np.linalg.solve(own + ridge, rest)
        return weights.reshape(SHAPE).astype(np.float32)


class _Watched(LoopFilter):
    """A loop filter that adds to equations while it has an original."""

    def __init__(self, weights: np.ndarray, equations: Equations):
        super().__init__(weights)
        self.equations, self.originals = equations, None

    def __call__(self, planes, coded):
        if self.originals is not None:
            self.equations.add(planes, coded, self.originals)
        return super().__call__(planes, coded)


@torch.inference_mode()
def collect(model: Model, clips: list[Clip], weights: np.ndarray, per_clip: int, seed: int, quiet: bool) -> Equations:
    """Code each clip once at a random rate, and take equations from `per_clip` of its frames."""
    rng, equations = np.random.default_rng(seed), Equations()
    for clip in track(clips, "fitting the loop filter", disable=quiet):
        encoder = LraeEncoder(model, VideoFormat(*clip.size, Fraction(30)))
        watched = encoder._core.loop_filter = _Watched(weights, equations)
        q, even, state = int(rng.integers(LOWEST, HIGHEST)), bool(rng.integers(2)), encoder.initial_state()
        chosen = set(rng.permutation(len(clip.pictures) - 1)[:per_clip] + 1)
        for number in range(max(chosen) + 1):
            frame = clip.frame(number)
            watched.originals = _values(encoder._planes(frame)) if number in chosen else None
            hints = EncodeHints(intra=number == 0, even=even)
            _, state = encoder.encode(state, frame, number, q, hints, max(0, number - 1))
    return equations


def _values(planes: list[np.ndarray]) -> list[np.ndarray]:
    """Planes in grey levels as values of packed pictures."""
    luma, *chroma = (plane.astype(np.float32) - 128 for plane in planes)
    return [luma, *(plane * np.float32(CHROMA_GAIN) for plane in chroma)]


def fit_filter(
    model: Model, clips: list[Clip], rounds: int = 3, per_clip: int = 6, seed: int = 0, quiet: bool = False
) -> Model:
    """The model with a fitted loop filter, starting from its own, or from none."""
    weights = np.zeros(SHAPE, np.float32) if model.loop_filter is None else model.loop_filter.float().numpy()
    for turn in range(rounds):
        asked = collect(model, clips, weights, per_clip, seed + turn, quiet).solve()
        weights = weights + np.float32(TOWARDS) * (asked - weights)
    return replace(model, loop_filter=torch.from_numpy(weights), hash="")


@kernel
def _accumulate(plane, error, classes, cell, limits, pairs, gram, side):
    """Add every pixel's clipped differences, and their products with the error, to its class."""
    taps = np.empty(TAPS, np.float32)
    for row in range(classes.shape[0]):
        for column in range(classes.shape[1]):
            k = classes[row, column]
            if k >= CLASSES:
                continue
            for y in range(row * cell, (row + 1) * cell):
                for x in range(column * cell, (column + 1) * cell):
                    here, n = plane[y + PAD, x + PAD], 0
                    for pair in range(len(pairs)):
                        down, right = pairs[pair]
                        a = plane[y + PAD + down, x + PAD + right] - here
                        b = plane[y + PAD - down, x + PAD - right] - here
                        for limit in limits:
                            taps[n] = max(min(a, limit), -limit) + max(min(b, limit), -limit)
                            n += 1
                    for i in range(TAPS):
                        side[k, i] += taps[i] * error[y, x]
                        for j in range(TAPS):
                            gram[k, i, j] += taps[i] * taps[j]
