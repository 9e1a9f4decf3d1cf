"""The ablation of concealment: quality over loss rate by name, and frames of which nothing arrived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lrae.codec import model_hash
from lrae.codec.types import LAYOUTS, EncodeHints, Frame
from lrae.experiments import loss_rates
from lrae.experiments.loss import Condition, codecs
from lrae.experiments.loss_rates import INDEPENDENT, Variant, read
from lrae.experiments.metrics import psnr_yuv
from lrae.experiments.pool import Setup

LOST_EVERY = 7  # frames; has no divisor in common with the 8 frames after which a finer one comes
MOVING = 2.0  # mean absolute difference of consecutive luma pictures, grey levels, from which on a clip moves
REPEAT = "repeat"  # the last picture once more: what a decoder without concealment shows


@dataclass(frozen=True)
class WholeJob:
    """A clip of which every LOST_EVERY-th frame is lost whole, for each of the concealments `names`."""

    clip: str
    frames: int
    condition: Condition
    names: tuple[str, ...]
    setup: Setup


def motion_of(frames: Sequence[Frame]) -> float:
    """Mean absolute difference of consecutive luma pictures, grey levels."""
    planes = [frame.y.astype(np.int16) for frame in frames]
    return float(np.mean([np.abs(b - a).mean() for a, b in pairwise(planes)]))


def lose_frames(job: WholeJob) -> dict[str, object]:
    """Mean PSNR-YUV, dB, of what is shown in place of the lost frames. Every loss meets a decoder in step with the
    sender: the state after it is dropped, and the frame itself decoded for those that follow."""
    clip, condition = read(job.clip, job.frames), job.condition
    codec = job.setup.model, clip.format, job.setup.device
    encoder = codecs(*codec, None)[0]
    decoders = {name: codecs(*codec, name)[1] for name in job.names}
    sent = encoder.initial_state()
    states = {name: decoder.initial_state() for name, decoder in decoders.items()}
    layout, shown = LAYOUTS.index(condition.layout), None
    quality: dict[str, list[float]] = {name: [] for name in (REPEAT, *decoders)}
    for number, frame in enumerate(clip.frames):
        hints = EncodeHints(intra=number == 0, packets=condition.packets, layout=layout)
        encoded, sent = encoder.encode(sent, frame, number, condition.q, hints, max(number - 1, 0))
        lost = number > 0 and number % LOST_EVERY == 0
        if lost:
            quality[REPEAT].append(psnr_yuv(frame, shown))
        for name, decoder in decoders.items():
            if lost:
                quality[name].append(psnr_yuv(frame, decoder.decode(states[name], None, {})[0].frame))
            output, states[name] = decoder.decode(states[name], encoded.header, dict(enumerate(encoded.payloads)))
        shown = output.frame
    means = {name: float(np.mean(values)) for name, values in quality.items()}
    return {"clip": clip.name, "motion": motion_of(clip.frames), "lost": len(quality[REPEAT]), "psnr_yuv": means}


def gains(clips: Sequence[dict], names: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """dB above repeating the last picture, by concealment: mean over the clips that move, and over all."""

    def mean(rows: Sequence[dict], name: str) -> float | None:
        values = [row["psnr_yuv"][name] - row["psnr_yuv"][REPEAT] for row in rows]
        return float(np.mean(values)) if values else None

    moving = [row for row in clips if row["motion"] >= MOVING]
    return {name: {"moving": mean(moving, name), "all": mean(clips, name)} for name in names}


def measure(
    clips: Sequence[str],
    frames: int,
    qs: Sequence[int],
    rates: Sequence[float],
    names: Sequence[str],
    *,
    base: Condition = Condition(),
    setup: Setup = Setup(),
) -> dict[str, object]:
    """The result of `lrae-bench impute` (keys: docs/loss.md)."""
    weights = model_hash(setup.model)
    by_resync = {r: {name: Variant(f"{r}_{name}", r, name) for name in names} for r in ("feedback", "none")}
    variants = [variant for row in by_resync.values() for variant in row.values()]
    jobs = loss_rates.plan(clips, frames, qs, rates, variants, base=base, setup=setup)
    frames = max(frames, LOST_EVERY + 1)
    whole_jobs = [
        WholeJob(clip, frames, Condition(q=q, packets=base.packets, layout=base.layout), tuple(names), setup)
        for clip in clips
        for q in qs
    ]
    rows, whole = setup.run((loss_rates.run_job, jobs), (lose_frames, whole_jobs))
    return {
        **{
            resync: {name: loss_rates.drops(rows, variant, INDEPENDENT) for name, variant in row.items()}
            for resync, row in by_resync.items()
        },
        "whole_frame_gain": gains(whole, names),
        "whole_frames": whole,
        "moving_from": MOVING,
        "model_hash": weights,
        "runs": rows,
    }
