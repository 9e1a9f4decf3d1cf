"""How long things take: encode and decode by stage and picture size, and the sessions per packet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import mean, median
from time import perf_counter

import cv2
import torch

from lrae.codec import make_decoder, make_encoder, model_hash
from lrae.codec.types import EncodeHints
from lrae.codec.wire.keys import NoKey
from lrae.experiments.clips import Clip, read_clip
from lrae.experiments.wire_speed import session_seconds

SIZES = ((448, 256), (640, 360), (1280, 720))
WARM_UP = 4  # frames that are not counted: the intra frame, and what libraries set up on first use
ENTROPY = "entropy"  # the stage of entropy coding and packetising, in encoder and decoder
SESSION_FRAMES = 500  # for the time that the session cores take


@dataclass
class Times:
    """Seconds of each frame, in all and by stage."""

    total: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)

    def add(self, seconds: float, timing: dict[str, float]) -> None:
        self.total.append(seconds)
        for stage, value in timing.items():
            self.stages.setdefault(stage, []).append(value)

    def summary(self) -> dict[str, object]:
        """Medians in ms; the slow end; the share of entropy coding in the median frame."""
        ordered = sorted(self.total)
        stages = {stage: 1e3 * median(values) for stage, values in self.stages.items()}
        return {
            "median_ms": 1e3 * median(ordered),
            "mean_ms": 1e3 * mean(ordered),
            "p95_ms": 1e3 * ordered[int(0.95 * (len(ordered) - 1))],
            "stages_ms": stages,
            "entropy_share": stages.get(ENTROPY, 0.0) / (1e3 * median(ordered)),
        }


def time_clip(clip: Clip, model: str, q: int, device: str, encode: Times, decode: Times) -> float:
    """Adds the times of a clip's frames, packets cut as in a session. Returns bits per luma sample."""
    encoder, decoder = (make(model, clip.format, device) for make in (make_encoder, make_decoder))
    sent, received = encoder.initial_state(), decoder.initial_state()
    size = 0
    for number, frame in enumerate(clip.frames):
        hints = EncodeHints(intra=number == 0)
        start = perf_counter()
        encoded, sent = encoder.encode(sent, frame, number, q, hints, max(number - 1, 0))
        middle = perf_counter()
        payloads = dict(enumerate(encoded.payloads))
        restart = perf_counter()
        output, received = decoder.decode(received, encoded.header, payloads)
        end = perf_counter()
        size += sum(map(len, encoded.payloads))
        if number >= WARM_UP:
            encode.add(middle - start, encoded.timing)
            decode.add(end - restart, output.timing)
    return 8 * size / clip.pixels


def measure(
    names: Sequence[str],
    count: int,
    model: str,
    q: int,
    sizes: Sequence[tuple[int, int]] = SIZES,
    *,
    device: str = "auto",
    step: Callable[[str], None] = lambda text: None,
) -> dict[str, object]:
    """The result of `lrae-bench speed` (keys: docs/benchmarks.md): clips scaled to each size, medians."""
    fps: dict[str, dict[str, float]] = {}
    detail: dict[str, dict[str, object]] = {}
    for size in sizes:
        encode, decode, bpp = Times(), Times(), []
        for name in names:
            step(f"{size[0]}x{size[1]}: {name}")
            clip = read_clip(name, max(count, WARM_UP + 1), scale=size)
            bpp.append(time_clip(clip, model, q, device, encode, decode))
        label = f"{size[0]}x{size[1]}"
        detail[label] = {"encode": encode.summary(), "decode": decode.summary(), "bpp": mean(bpp)}
        fps[label] = {side: 1e3 / detail[label][side]["median_ms"] for side in ("encode", "decode")}
    step("session cores")
    return {
        "fps": fps,
        "detail": detail,
        "session_us_per_packet": 1e6 * sum(session_seconds(NoKey(), SESSION_FRAMES)),
        "threads": {"torch": torch.get_num_threads(), "opencv": cv2.getNumThreads()},
        "model_hash": model_hash(model),
        "q": q,
    }
