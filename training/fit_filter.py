"""Fits the loop filters by least squares, in the closed loop: no gradient, minutes of one core.

Clips are coded with the filters so far, and the encoder chooses among them. At some frames, what they see and the
original enter the normal equations of the chosen filter, class and rate, each frame weighed by its error, so that all
count alike in dB. Where a class is rare, its coefficients stay near the mean of all classes. A new filter changes what
the next frames are predicted from, so each round goes part of the way to what the streams of the last one ask for.
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
    FILTERS,
    LIMITS,
    PAIRS,
    SHAPE,
    LoopFilter,
    classify,
    neighbours,
    unfold,
)
from lrae.codec.loop_filter_kernels import ABOVE, LEFT, STAYING
from lrae.codec.lrae import LraeEncoder
from lrae.codec.motion_field import CELL
from lrae.codec.state import CodedFrame
from lrae.codec.types import EncodeHints, VideoFormat
from lrae.models.blocks import CHROMA_GAIN
from lrae.models.rates import step_of
from lrae.models.store import Model
from lrae.training.footage import Clip

TAPS = len(PAIRS) * len(LIMITS)
LOWEST, HIGHEST = 2, 60  # rates of the streams
ERROR_FLOOR = 0.5  # mean square error below which a picture is as good as it needs to be
NEIGHBOUR = 0.15  # share of the equations of the next rates
TOWARDS = 0.7  # how far a round goes
RARE, MEAN = 1e-3, 1e-4  # ridge toward the mean of all classes, shares of the class's and of the rate's own strength


class Equations:
    """Normal equations: gram [FILTERS, 2, RATES, CLASSES, TAPS, TAPS], side [FILTERS, 2, RATES, CLASSES, TAPS]."""

    def __init__(self):
        self.gram = np.zeros((*SHAPE[:4], TAPS, TAPS))
        self.side = np.zeros((*SHAPE[:4], TAPS))

    def add(self, lines: np.ndarray, coded: CodedFrame, source: list[np.ndarray], filters: np.ndarray) -> None:
        """lines: before the filter, of loop_filter.unfold(); source: Y, U, V, uint8; filters: of each position."""
        step = np.float32(step_of(coded.q))
        classes, of_cell = classify(lines, coded, filters), filters.repeat(2, 0).repeat(2, 1)
        low, high, share = neighbours(coded.q)
        limits, pairs = np.array(LIMITS, np.float32) * step, np.array(PAIRS)
        for index, (plane, original) in enumerate(zip(planes_of(lines), source, strict=True)):
            gain, cell = (CHROMA_GAIN, CELL // 2) if index else (1.0, CELL)
            error = (original.astype(np.float32) - 128) * np.float32(gain) - plane[ABOVE:-ABOVE, ABOVE:-ABOVE]
            weight = 1 / (max(float(np.square(error).mean()), ERROR_FLOOR) * step * step)
            for which in range(1, FILTERS + 1):
                gram, side = np.zeros((CLASSES, TAPS, TAPS)), np.zeros((CLASSES, TAPS))
                mine = np.where(of_cell == which, classes, np.uint8(STAYING))
                _accumulate(plane, np.ascontiguousarray(error), mine, cell, limits, pairs, gram, side)
                for rate, part in ((low, 1 - share), (high, share)):
                    self.gram[which - 1, min(index, 1), rate] += gram * (weight * part)
                    self.side[which - 1, min(index, 1), rate] += side * (weight * part)

    def solve(self, fallback: np.ndarray) -> np.ndarray:
        """Weights float32 of SHAPE; fallback: those of filters that nothing chose."""
        gram, side = self.gram.copy(), self.side.copy()
        for total, own in ((gram, self.gram), (side, self.side)):
            total[:, :, 1:] += NEIGHBOUR * own[:, :, :-1]
            total[:, :, :-1] += NEIGHBOUR * own[:, :, 1:]
        weights, unit = fallback.reshape(*SHAPE[:4], TAPS).astype(np.float64), np.eye(TAPS)
        for place in np.ndindex(*SHAPE[:3]):
            whole = gram[place].sum(0)
            strength = np.trace(whole) / TAPS
            if strength == 0:
                continue
            mean = np.linalg.solve(whole + MEAN * strength * unit, side[place].sum(0))
            for index in range(CLASSES):
                own = gram[place][index]
                ridge = (RARE * np.trace(own) / TAPS + MEAN * strength) * unit
                weights[place][index] = mean + np.linalg.solve(own + ridge, side[place][index] - own @ mean)
        return weights.reshape(SHAPE).astype(np.float32)


class _Watched(LoopFilter):
    """Loop filters that add to equations while they are told to."""

    def __init__(self, weights: np.ndarray, equations: Equations):
        super().__init__(weights)
        self.equations, self.watching, self.first = equations, False, not weights.any()

    def choose(self, cells, coded, source):
        lines = unfold(cells)
        filters = super().choose(cells, coded, source)
        if self.watching:
            self.equations.add(lines, coded, source, np.ones_like(filters) if self.first else filters)
        return filters


def planes_of(lines: np.ndarray) -> list[np.ndarray]:
    """Y, U, V of loop_filter.unfold(), float32, each with its border repeated ABOVE times."""
    split = (len(lines) - 4 * ABOVE) // 3 * 2 + 2 * ABOVE
    planes = lines[:split, LEFT - ABOVE : ABOVE - LEFT], lines[split:, ::2], lines[split:, 1::2]
    return [np.ascontiguousarray(plane) for plane in planes]


@torch.inference_mode()
def collect(model: Model, clips: list[Clip], weights: np.ndarray, per_clip: int, seed: int, quiet: bool) -> Equations:
    """Code each clip once at a random rate, and take equations from `per_clip` of its frames."""
    rng, equations = np.random.default_rng(seed), Equations()
    model = replace(model, loop_filter=torch.from_numpy(weights))
    for clip in track(clips, "fitting the loop filters", disable=quiet):
        encoder = LraeEncoder(model, VideoFormat(*clip.size, Fraction(30)))
        watched = encoder._core.loop_filter = _Watched(weights, equations)
        q, even, state = int(rng.integers(LOWEST, HIGHEST)), bool(rng.integers(2)), encoder.initial_state()
        chosen = set(rng.permutation(len(clip.pictures) - 1)[:per_clip] + 1)
        for number in range(max(chosen) + 1):
            watched.watching = number in chosen
            hints = EncodeHints(intra=number == 0, even=even)
            _, state = encoder.encode(state, clip.frame(number), number, q, hints, max(0, number - 1))
    return equations


def fit_filter(
    model: Model, clips: list[Clip], rounds: int, count: int, per_clip: int = 4, seed: int = 0, quiet: bool = False
) -> Model:
    """The model with fitted loop filters, starting from its own, or from none. Each round takes the next `count` clips,
    and of each clip some frames."""
    weights = np.zeros(SHAPE, np.float32) if model.loop_filter is None else model.loop_filter.float().numpy()
    first = int(model.card.get("filter_rounds", 0))
    for turn in range(first, first + rounds):
        part = [clips[(turn * count + i) % len(clips)] for i in range(min(count, len(clips)))]
        weights = step(model, part, weights, per_clip, seed + turn, quiet)
    card = {**model.card, "filter_rounds": first + rounds}
    return replace(model, loop_filter=torch.from_numpy(weights), card=card, hash="")


def step(model: Model, clips: list[Clip], weights: np.ndarray, per_clip: int, seed: int, quiet: bool) -> np.ndarray:
    """One round: the next weights. From none, the filters become one filter at several strengths."""
    asked = collect(model, clips, weights, per_clip, seed, quiet).solve(weights)
    if weights.any():
        return weights + np.float32(TOWARDS) * (asked - weights)
    strengths = np.linspace(1, 0, FILTERS, endpoint=False, dtype=np.float32)
    return asked[:1] * strengths[:, None, None, None, None, None]


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
                    here, n = plane[y + ABOVE, x + ABOVE], 0
                    for pair in range(len(pairs)):
                        down, right = pairs[pair]
                        a = plane[y + ABOVE + down, x + ABOVE + right] - here
                        b = plane[y + ABOVE - down, x + ABOVE - right] - here
                        for limit in limits:
                            taps[n] = max(min(a, limit), -limit) + max(min(b, limit), -limit)
                            n += 1
                    for i in range(TAPS):
                        side[k, i] += taps[i] * error[y, x]
                        for j in range(TAPS):
                            gram[k, i, j] += taps[i] * taps[j]
