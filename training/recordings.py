"""What receivers of lossy streams see, recorded: the real encoder, real packet masks, diverging states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F

from lrae.channel.loss import parse_loss
from lrae.codec.lrae import LraeDecoder, LraeEncoder
from lrae.codec.state import CodedFrame, State
from lrae.codec.types import Frame, VideoFormat
from lrae.models.blocks import pack
from lrae.models.rates import step_of
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
OTHERS = 2  # masks beside that of the stream, which a frame is looked at under
FLOOR = 0.02  # of the squared step: errors up to here hardly show beside those of the rest of the picture


@dataclass(frozen=True, eq=False)
class Damaged:
    """A frame of which part of the motion did not arrive. number: among those of the stream's memory; rows: int64 [R],
    those that the imputer looks at; seen: float16 [SEEN,R,w]; lost: bool [R,w]; gram: float32 [N,GUESSES,GUESSES], of
    the places lost, mean products of the guesses' errors, so that weights w leave the mean square error w·gram·w;
    floor: what the quantiser's step leaves of it anyway, about."""

    number: int
    rows: np.ndarray
    seen: np.ndarray
    lost: np.ndarray
    gram: np.ndarray
    floor: float


@dataclass(frozen=True, eq=False)
class Recording:
    """One stream at the receiver. memory: what the imputer's memory sees of each inter frame, float16
    [T,REMEMBERED,h/2,w/2]; damaged: its frames that the imputer has something to choose in; starts: bool [T], the first
    frames after intra frames, before which nothing is remembered."""

    memory: np.ndarray
    starts: np.ndarray
    damaged: tuple[Damaged, ...]


def record(model: Model, clip: Clip, rng: np.random.Generator, frames: int) -> Recording | None:
    """One stream of a clip: random pictures of it in a row, forwards or backwards, random rate, number of packets,
    layout, loss process, with or without feedback."""
    video = VideoFormat(*clip.size, Fraction(30))
    encoder, decoder = LraeEncoder(model, video), LraeDecoder(model, video)
    q, packets = int(rng.integers(*RATES)), int(rng.integers(2, 17))
    loss = float(rng.choice(LOSSES))
    spec = f"ge:{loss / 3 / (1 - loss):.4f},0.3333,0,1" if rng.random() < BURST and loss < 0.55 else f"{loss}"
    layout = int(rng.choice(3, p=LAYOUT_SHARES))
    lost, sender = parse_loss(spec).outcomes(rng), FrameEncoder(encoder, q, packets, layout)
    told, pending, state = rng.random() < FEEDBACK, [], decoder.initial_state()
    memory, starts, damaged, start = [], [], [], True
    begin = int(rng.integers(max(1, len(clip.pictures) - frames + 1)))
    order = range(begin, min(begin + frames, len(clip.pictures)))[:: rng.choice((1, -1))]
    for number, picture in enumerate(map(clip.frame, order)):
        news = tuple(pending[:-AGE]) if told else ()
        pending = pending[-AGE:]
        encoded = sender.encode(picture, News(news, loss=loss if told else 0.5 * loss))
        gone = number and rng.random() < GONE
        kept = {i: p for i, p in enumerate(encoded.payloads) if not number or not (next(lost) or gone)}
        before = state
        output, state = decoder.decode(before, encoded.header if kept else None, kept)
        pending.append((number, output.used))
        if encoded.header.intra and kept:
            start = True
            continue
        coded = decoder.parse(encoded.header, kept)[0] if kept else None
        others = ([i for i in encoded.sent if rng.random() >= loss] for _ in range(OTHERS))
        for got in (kept, *({i: encoded.payloads[i] for i in some} for some in others)):
            part = decoder.parse(encoded.header, got)[0] if got else None
            if part is not None and part.unmoved is not None and part.unmoved.any() and not part.unmoved.all():
                damaged.append(_damaged(decoder, before, part, picture, len(memory)))
        memory.append(_remembered(decoder, before, state, coded))
        starts.append(start)
        start = False
    return Recording(np.stack(memory), np.array(starts), tuple(damaged)) if damaged else None


def _damaged(decoder: LraeDecoder, before: State, coded: CodedFrame, frame: Frame, number: int) -> Damaged:
    look = decoder._core.look(coded, before)
    planes = (torch.from_numpy(plane)[None, None].float() for plane in (frame.y, frame.u, frame.v))
    wanted = pack(*planes)[0].permute(1, 2, 0).numpy()[look.lost]
    errors = torch.from_numpy((look.pictures - wanted)[:, coded.unmoved[look.lost]]).transpose(0, 1)
    gram = (errors @ errors.mT / errors.shape[-1]).numpy()
    floor = FLOOR * step_of(coded.q) ** 2
    return Damaged(number, look.rows, look.seen.astype(np.float16), coded.unmoved[look.rows], gram, floor)


def _remembered(decoder: LraeDecoder, before: State, after: State, coded: CodedFrame | None) -> np.ndarray:
    core = decoder._core
    activity = torch.zeros(1, 1, *core.grid)
    if coded is None:
        coded = CodedFrame(False, after.q, missing=np.ones(core.grid, np.float32))
    else:
        activity = F.avg_pool2d(core.residual(coded).abs().mean(1, keepdim=True), 2)
    motion = after.motion or core.motion_before(before)
    return core.remembered(before, replace(coded, motion=motion), activity)[0].numpy().astype(np.float16)


def record_all(model: Model, clips: list[Clip], rng: np.random.Generator, frames: int) -> Iterator[Recording]:
    """A recording of every clip in which something was lost."""
    for clip in clips:
        with torch.inference_mode():
            recording = record(model, clip, rng, frames)
        if recording is not None:
            yield recording
