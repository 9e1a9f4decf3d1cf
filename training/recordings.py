"""What receivers of lossy streams see, recorded: the real encoder, real packet masks, diverging states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch

from lrae.channel.loss import parse_loss
from lrae.codec.lrae import LraeDecoder, LraeEncoder
from lrae.codec.motion_field import CELL
from lrae.codec.types import VideoFormat
from lrae.models.store import Model
from lrae.sender.encoding import FrameEncoder
from lrae.sender.events import News
from lrae.training.footage import Clip

RATES = 4, 46
LOSSES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
BURST = 0.3  # share of the streams with bursts (Gilbert-Elliott) instead of independent loss
GONE = 0.04  # share of frames lost whole
LAYOUT_SHARES = (0.7, 0.15, 0.15)  # of the streams: tiles, interleaved, progressive
AGE = 3  # frames that feedback takes, in the streams that have it
FEEDBACK = 0.75  # share of the streams


@dataclass(frozen=True, eq=False)
class Recording:
    """T inter frames of one stream at the receiver. before: its picture before each; residual: what arrived; filtered:
    what the loop filters changed; all fp16 [T,96,h,w]; guess, last: vectors of this frame (guessed where they did not
    arrive) and of the frame before, int16 [T,h,w,2]; unmoved: bool [T,h,w], where the imputer chooses: nowhere in a
    frame that is lost whole; missing: float16 [T,h,w]; pictures: the originals, I420 uint8 [T,H·3/2,W]. h, w: 1/8."""

    before: np.ndarray
    residual: np.ndarray
    filtered: np.ndarray
    guess: np.ndarray
    last: np.ndarray
    unmoved: np.ndarray
    missing: np.ndarray
    pictures: np.ndarray


def record(model: Model, clip: Clip, rng: np.random.Generator, frames: int) -> Recording | None:
    """One stream of a clip: random rate, number of packets, layout, loss process, with or without feedback."""
    video = VideoFormat(*clip.size, Fraction(30))
    encoder = LraeEncoder(model, video, impute="neighbours")
    decoder = LraeDecoder(model, video, impute="neighbours")
    q, packets = int(rng.integers(*RATES)), int(rng.integers(2, 17))
    loss = float(rng.choice(LOSSES))
    spec = f"ge:{loss / 3 / (1 - loss):.4f},0.3333,0,1" if rng.random() < BURST and loss < 0.55 else f"{loss}"
    layout = int(rng.choice(3, p=LAYOUT_SHARES))
    lost, sender = parse_loss(spec).outcomes(rng), FrameEncoder(encoder, q, packets, layout)
    told, pending, state, rows = rng.random() < FEEDBACK, [], decoder.initial_state(), []
    for number in range(min(frames, len(clip.pictures))):
        news = tuple(pending[:-AGE]) if told else ()
        pending = pending[-AGE:]
        encoded = sender.encode(clip.frame(number), News(news, loss=loss if told else 0.5 * loss))
        gone = number and rng.random() < GONE
        kept = {i: p for i, p in enumerate(encoded.payloads) if not number or not (next(lost) or gone)}
        before = state
        output, state = decoder.decode(before, encoded.header if kept else None, kept)
        pending.append((number, output.used))
        if encoded.header.intra:
            continue
        coded = decoder.parse(encoded.header, kept)[0] if kept else None
        rows.append(_row(decoder, before, state, coded, clip.pictures[number]))
    return Recording(*(np.stack(column) for column in zip(*rows, strict=True))) if rows else None


def _row(decoder: LraeDecoder, before, after, coded, picture: np.ndarray) -> tuple:
    core = decoder._core
    cells = core.height // CELL, core.width // CELL
    still = np.zeros((*cells, 2), np.int16)
    residual = filtered = np.zeros((96, *cells), np.float16)
    missing, unmoved = np.ones(cells, np.float16), np.zeros(cells, bool)
    if coded is not None:
        residual = core.residual(coded)[0].numpy().astype(np.float16)
        if coded.filters is not None:
            plain = core.after(before, replace(coded, filters=None), after.number)
            filtered = (after.packed - plain.packed)[0].numpy().astype(np.float16)
        missing, unmoved = np.zeros(cells, np.float16), np.zeros(cells, bool)
        if coded.missing is not None:
            missing = coded.missing.repeat(2, 0).repeat(2, 1).astype(np.float16)
            unmoved = coded.unmoved if coded.unmoved is not None else unmoved
    last = still if before.motion is None else before.motion.vectors
    guess = still if after.motion is None else after.motion.vectors
    return before.packed[0].numpy().astype(np.float16), residual, filtered, guess, last, unmoved, missing, picture


def record_all(model: Model, clips: list[Clip], rng: np.random.Generator, frames: int) -> Iterator[Recording]:
    """A recording of every clip that is not all cuts."""
    for clip in clips:
        with torch.inference_mode():
            recording = record(model, clip, rng, frames)
        if recording is not None:
            yield recording
