"""Rate-distortion without loss: real bytes of LRAE and of the anchors on the same frames, and BD-rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from lrae.codec import make_decoder, make_encoder, model_hash
from lrae.codec.types import EncodeHints, Frame
from lrae.codec.wire import DATA_OVERHEAD, MTU
from lrae.errors import LraeError
from lrae.experiments.anchors import CRFS, run_anchor
from lrae.experiments.bdrate import bd_rate
from lrae.experiments.clips import Clip, read_clip
from lrae.experiments.metrics import mean_psnr_yuv, ssim_db, ssim_y

LRAE = "lrae"
UDP_IP = 28  # bytes of the UDP and IPv4 headers
RTP = 12  # bytes of the RTP header (RFC 3550, section 5.1)
WHOLE = 1 << 20  # a payload limit that no frame reaches: K stays what was asked for

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Point:
    """One codec at one setting on one clip (or the mean over clips).

    setting: q or CRF. bpp: payload or elementary-stream bits per luma sample; wire_bpp: with all headers
    down to IP. psnr_yuv: 6:1:1, dB, mean over frames; psnr_end: the same over the last 8 frames (does quality
    hold?); ssim_db: of the luma's mean SSIM. intra_share: the first frame's share of the bits.
    """

    setting: float
    bpp: float
    wire_bpp: float
    psnr_yuv: float
    psnr_end: float
    ssim_db: float
    intra_share: float


def make_point(clip: Clip, setting: float, sizes: list[int], wire: int, decoded: Sequence[Frame]) -> Point:
    """sizes: bytes per frame; wire: bytes with headers, of all frames."""
    similarity = float(np.mean([ssim_y(a, b) for a, b in zip(clip.frames, decoded, strict=True)]))
    return Point(
        setting=setting,
        bpp=8 * sum(sizes) / clip.pixels,
        wire_bpp=8 * wire / clip.pixels,
        psnr_yuv=mean_psnr_yuv(clip.frames, decoded),
        psnr_end=mean_psnr_yuv(clip.frames[-8:], decoded[-8:]),
        ssim_db=ssim_db(similarity),
        intra_share=sizes[0] / sum(sizes),
    )


def datagrams(size: int, header: int) -> int:
    """How many datagrams of MTU bytes, `header` of them the protocol's, carry `size` bytes."""
    return max(1, math.ceil(size / (MTU - header)))


def anchor_point(clip: Clip, name: str, crf: float) -> Point:
    """An anchor; on the wire each frame goes in RTP packets of at most MTU bytes."""
    result = run_anchor(clip.frames, clip.format, name, crf)
    wire = sum(size + datagrams(size, RTP) * (RTP + UDP_IP) for size in result.sizes)
    return make_point(clip, crf, list(result.sizes), wire, result.decoded)


def lrae_point(clip: Clip, model: str, q: int, packets: int, device: str) -> Point:
    """LRAE: every frame is encoded, its bytes decoded by a decoder of its own, and the two compared.

    packets: K per frame, a frame that does not fit MTU bytes counted as cut; 0: K as a session chooses it.
    LraeError: the decoder's picture is not the encoder's.
    """
    encoder = make_encoder(model, clip.format, device)
    decoder = make_decoder(model, clip.format, device)
    sent, received = encoder.initial_state(), decoder.initial_state()
    sizes, wire, decoded = [], 0, []
    for number, frame in enumerate(clip.frames):
        hints = EncodeHints(intra=number == 0)
        if packets:
            hints = EncodeHints(intra=number == 0, packets=packets, max_payload=WHOLE)
        encoded, sent = encoder.encode(sent, frame, number, q, hints, max(number - 1, 0))
        output, received = decoder.decode(received, encoded.header, dict(enumerate(encoded.payloads)))
        if not (output.complete and torch.equal(sent.packed, received.packed)):
            raise LraeError(f"{clip.name}, q {q}, frame {number}: the decoder's picture is not the encoder's")
        lengths = [len(payload) for payload in encoded.payloads]
        sizes.append(sum(lengths))
        wire += sum(n + datagrams(n, DATA_OVERHEAD) * (DATA_OVERHEAD + UDP_IP) for n in lengths)
        decoded.append(output.frame)
    return make_point(clip, q, sizes, wire, decoded)


def mean_point(points: Iterable[Point]) -> Point:
    """The mean of the points of several clips at one setting, field by field."""
    rows = [asdict(point) for point in points]
    return Point(**{key: float(np.mean([row[key] for row in rows])) for key in rows[0]})


def compare(points: dict[str, list[Point]], rate: str) -> dict[str, float | None]:
    """BD-rate in percent of LRAE against each anchor; None: no overlap. rate: "bpp" or "wire_bpp"."""
    curves = {name: [(getattr(p, rate), p.psnr_yuv) for p in row] for name, row in points.items()}
    return {name: bd_rate(curve, curves[LRAE]) for name, curve in curves.items() if name != LRAE}


def reused(reuse: dict | None, clip: Clip, anchor: str) -> list[Point] | None:
    """An anchor's points from an earlier result, if they are of these very frames."""
    known = (reuse or {}).get("clips", {}).get(clip.name)
    if known is None or known["clip"] != describe(clip):
        return None
    points = [Point(**row) for row in known["points"].get(anchor, ())]
    return points if [point.setting for point in points] == list(CRFS) else None


def describe(clip: Clip) -> dict[str, object]:
    """What was measured: enough to tell two selections of frames apart."""
    checksum = int(sum(int(frame.y.sum(dtype=np.int64)) for frame in clip.frames))
    video = clip.format
    return {
        "width": video.width,
        "height": video.height,
        "fps": float(video.fps),
        "frames": len(clip.frames),
        "skipped": clip.first,
        "luma_sum": checksum,
    }


def measure(
    names: Sequence[str],
    count: int,
    model: str,
    qs: Sequence[int],
    anchors: Sequence[str],
    *,
    packets: int = 1,
    device: str = "auto",
    reuse: dict | None = None,
    step: Progress = lambda text: None,
) -> dict[str, object]:
    """The result of `lrae-bench rd` (keys: docs/benchmarks.md). step: called before each point.

    SourceError, ModelError, ConfigError as the clips, weights and settings deserve.
    """
    weights = model_hash(model)  # a wrong name shows before the anchors take their minute
    clips: dict[str, dict] = {}
    for name in names:
        clip = read_clip(name, count)
        points: dict[str, list[Point]] = {}
        for anchor in anchors:
            points[anchor] = reused(reuse, clip, anchor) or []
            for crf in CRFS[len(points[anchor]) :]:
                step(f"{clip.name}: {anchor} crf {crf}")
                points[anchor].append(anchor_point(clip, anchor, crf))
        points[LRAE] = []
        for q in qs:
            step(f"{clip.name}: {LRAE} q {q}")
            points[LRAE].append(lrae_point(clip, model, q, packets, device))
        clips[clip.name] = {"clip": describe(clip), "points": points, "bd_rate": compare(points, "bpp")}
    codecs = [*anchors, LRAE]
    means = {
        codec: [mean_point(row) for row in zip(*(c["points"][codec] for c in clips.values()), strict=True)]
        for codec in codecs
    }
    return {
        "bd_rate": compare(means, "bpp"),
        "bd_rate_wire": compare(means, "wire_bpp"),
        "bd_rate_clip_mean": {anchor: _mean([c["bd_rate"][anchor] for c in clips.values()]) for anchor in anchors},
        "model_hash": weights,
        "points": _plain(means),
        "clips": {name: {**c, "points": _plain(c["points"])} for name, c in clips.items()},
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _plain(points: dict[str, list[Point]]) -> dict[str, list[dict[str, float]]]:
    return {codec: [asdict(point) for point in row] for codec, row in points.items()}
