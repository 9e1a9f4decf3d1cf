"""Closed-loop validation by real bytes: the only judge of a checkpoint (never the training loss)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lrae.codec.lrae import LraeDecoder, LraeEncoder
from lrae.codec.types import EncodeHints
from lrae.experiments.bdrate import bd_rate
from lrae.experiments.clips import find_clips, read_clip
from lrae.experiments.metrics import psnr_yuv
from lrae.models.store import Model

RATES = (10, 22, 34, 46)
LOSS, LOSS_PACKETS = 0.2, 4


@dataclass(frozen=True)
class Point:
    """Means over clips at one nominal rate. bpp: all payload bytes; lossy_psnr: 20 % of packets lost, K = 4, no
    feedback (nan where not measured)."""

    q: int
    bpp: float
    psnr: float
    lossy_psnr: float


def validate(model: Model, clips: str, frames: int = 48, lossy: bool = True, quiet: bool = False) -> list[Point]:
    """Encode the clips of a folder at several rates. Deterministic."""
    points = []
    for q in RATES:
        rows = []
        for name in track(find_clips(clips), f"q {q}", disable=quiet, transient=True):
            rows.append(_clip(model, read_clip(name, frames), q, lossy))
        points.append(Point(q, *np.mean(rows, 0).tolist()))
    return points


def _clip(model: Model, clip, q: int, lossy: bool) -> tuple[float, float, float]:
    encoder, decoder = LraeEncoder(model, clip.format), LraeDecoder(model, clip.format)
    state, receiver, rng = encoder.initial_state(), decoder.initial_state(), np.random.default_rng(0)
    size, clean, damaged = 0, [], []
    for number, frame in enumerate(clip.frames):
        packets = LOSS_PACKETS if lossy else 1
        hints = EncodeHints(number == 0, packets, max_payload=1 << 30)
        encoded, state = encoder.encode(state, frame, number, q, hints)
        size += sum(map(len, encoded.payloads))
        clean.append(psnr_yuv(frame, encoder.picture(state)))
        if lossy:
            kept = {i: p for i, p in enumerate(encoded.payloads) if number == 0 or rng.random() >= LOSS}
            output, receiver = decoder.decode(receiver, encoded.header, kept)
            damaged.append(psnr_yuv(frame, output.frame))
    return size * 8 / clip.pixels, float(np.mean(clean)), float(np.mean(damaged)) if lossy else float("nan")


def compare(new: list[Point], old: list[Point]) -> tuple[list[float], float | None, bool]:
    """(dB gained at equal bits at each rate, BD-rate in percent, better at every rate?)."""
    rate = np.log([p.bpp for p in old])
    # at the ends the old curve goes on with the slope of its last segment
    gains = [p.psnr - _extend(np.log(p.bpp), rate, np.array([o.psnr for o in old])) for p in new]
    bd = bd_rate([(p.bpp, p.psnr) for p in old], [(p.bpp, p.psnr) for p in new])
    return gains, bd, all(gain > 0 for gain in gains)


def _extend(x: float, xs: np.ndarray, ys: np.ndarray) -> float:
    i = int(np.clip(np.searchsorted(xs, x) - 1, 0, len(xs) - 2))
    return float(ys[i] + (x - xs[i]) * (ys[i + 1] - ys[i]) / (xs[i + 1] - xs[i]))


def show(points: list[Point], old: list[Point] | None = None) -> None:
    """Print a table, with the gains over `old`."""
    table = Table("q", "bpp", "PSNR-YUV dB", f"at {LOSS:.0%} loss", *(["gain at equal bits"] if old else []))
    gains, bd, better = compare(points, old) if old else ([], None, False)
    for index, p in enumerate(points):
        extra = [f"{gains[index]:+.2f} dB"] if old else []
        table.add_row(str(p.q), f"{p.bpp:.4f}", f"{p.psnr:.2f}", f"{p.lossy_psnr:.2f}", *extra)
    console = Console()
    console.print(table)
    if old:
        text = "no overlap" if bd is None else f"{bd:+.1f} %"
        console.print(f"BD-rate against the other weights: {text}; better at every rate: {'yes' if better else 'no'}")


def as_rows(points: list[Point]) -> list[dict]:
    """JSON-able."""
    return [asdict(p) for p in points]
