"""Quality when only the first k of a frame's K packets arrive, for each layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrae.codec import model_hash
from lrae.codec.types import LAYOUTS, EncodeHints
from lrae.experiments.loss import codecs
from lrae.experiments.loss_rates import read
from lrae.experiments.metrics import psnr_yuv, ssim_db, ssim_y
from lrae.experiments.pool import Setup
from lrae.experiments.rd import WHOLE

EVERY = 3  # every third frame is cut; shares no divisor with the 8 frames after which a finer one comes


@dataclass(frozen=True)
class Job:
    """A clip whose frames travel in `packets` packets of one layout."""

    clip: str
    frames: int
    q: int
    packets: int
    layout: str
    setup: Setup


def cut_frames(job: Job) -> dict[str, object]:
    """Lists over k = 0...K: PSNR-YUV and SSIM in dB, and the share of the frame's bytes in the first k packets. Means
    over every EVERY-th frame, each cut for a decoder that has all that came before."""
    clip = read(job.clip, max(job.frames, EVERY + 1))
    encoder, decoder = codecs(job.setup.model, clip.format, job.setup.device, None)
    sent, received = encoder.initial_state(), decoder.initial_state()
    layout = LAYOUTS.index(job.layout)
    psnr, similarity, share = [], [], []
    for number, frame in enumerate(clip.frames):
        hints = EncodeHints(number == 0, job.packets, layout, max_payload=WHOLE)
        encoded, sent = encoder.encode(sent, frame, number, job.q, hints, max(number - 1, 0))
        payloads = dict(enumerate(encoded.payloads))
        if number and number % EVERY == 0 and len(payloads) == job.packets:
            shown = [
                decoder.decode(received, encoded.header if k else None, {i: payloads[i] for i in range(k)})[0].frame
                for k in range(job.packets + 1)
            ]
            psnr.append([psnr_yuv(frame, picture) for picture in shown])
            similarity.append([ssim_y(frame, picture) for picture in shown])
            sizes = np.cumsum([0, *map(len, encoded.payloads)])
            share.append(sizes / sizes[-1])
        _, received = decoder.decode(received, encoded.header, payloads)
    return {
        "clip": clip.name,
        "layout": job.layout,
        "q": job.q,
        "psnr_yuv": np.mean(psnr, 0).tolist(),
        "ssim_db": [ssim_db(value) for value in np.mean(similarity, 0)],
        "bytes": np.mean(share, 0).tolist(),
    }


def measure(
    clips: Sequence[str],
    frames: int,
    qs: Sequence[int],
    packets: int,
    layouts: Sequence[str] = LAYOUTS,
    *,
    setup: Setup = Setup(),
) -> dict[str, object]:
    """The result of `lrae-bench progressive` (keys: docs/loss.md)."""
    weights = model_hash(setup.model)
    jobs = [Job(clip, frames, q, packets, layout, setup) for clip in clips for q in qs for layout in layouts]
    (rows,) = setup.run((cut_frames, jobs))
    means = {
        layout: {
            key: np.mean([row[key] for row in rows if row["layout"] == layout], 0).tolist()
            for key in ("psnr_yuv", "ssim_db", "bytes")
        }
        for layout in layouts
    }
    return {"layouts": means, "packets": packets, "model_hash": weights, "runs": rows}
