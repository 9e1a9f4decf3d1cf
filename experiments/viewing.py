"""The figures of a session as a viewer would judge it: quality, freezes, delay, bits. A row of a result table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

import numpy as np

from lrae.codec.types import Frame
from lrae.codec.wire import DATA_OVERHEAD
from lrae.experiments.clips import Clip
from lrae.experiments.metrics import MS_SSIM_SIDE, SsimReference, psnr_yuv, ssim_and_ms_ssim, ssim_db
from lrae.experiments.screen import STATES, Instant, gaps, on_screen, undecodable
from lrae.experiments.virtual import Outcome
from lrae.experiments.vmaf import vmaf
from lrae.sender.bundling import entry_bytes

STALL = 0.2  # seconds between new pictures from which on people see a freeze
UDP_IP = 28  # bytes of IPv4 and UDP headers
SENT = ("data", "parity", "retransmit", "control")  # datagrams on their way to the receiver
QUALITY = ("psnr_yuv", "ssim_db", "ms_ssim", "vmaf")


def _column(unit: str, meaning: str) -> Any:
    return field(metadata={"unit": unit, "meaning": meaning})


@dataclass(frozen=True)
class Viewing:
    """What a viewer saw and what it took: each field is a column of a result table (units and meanings: COLUMNS)."""

    psnr_yuv: float | None = _column("dB", "PSNR-YUV 6:1:1 of the pictures on screen, the mean of their dB")
    ssim_db: float | None = _column("dB", "-10 log10(1 - s), s: the mean of their luma's SSIM")
    ms_ssim: float | None = _column("", "the mean of their luma's MS-SSIM, 0 to 1; none below 176 samples a side")
    vmaf: float | None = _column("", "the mean of their VMAF v0.6.1, 0 to 100; none without ffmpeg's libvmaf")
    frames: int = _column("", "instants: frames of the clip")
    sent: int = _column("", "frames that were encoded")
    skipped: int = _column("", "frames that were not: rate control, or the encoder was busy")
    whole: int = _column("", "instants at which the frame that is due is shown from all its packets")
    partial: int = _column("", "… from some of its packets")
    extrapolated: int = _column("", "… from no packet, from the past alone, as a new picture")
    late: int = _column("", "instants with an older frame than is due, newer than at the instant before")
    still: int = _column("", "instants with the same picture as before, when the clip shows the same too")
    frozen: int = _column("", "instants with the same picture as before, though the clip has moved")
    undecodable: int = _column("", "frames sent that never made a new picture on screen")
    stall_s: float = _column("s", "gaps of more than 200 ms between pictures that are not frozen, summed")
    longest_gap_s: float = _column("s", "the longest of all such gaps")
    delay_p50_ms: float = _column("ms", "from a frame's capture until it or a newer picture is on screen, median")
    delay_p95_ms: float = _column("ms", "… 95th percentile")
    delay_p98_ms: float = _column("ms", "… 98th percentile")
    viewing_delay_ms: float = _column("ms", "from capture to the instant at which a frame is due")
    seconds: float = _column("s", "length of the clip")
    kbps: float = _column("kbit/s", "all datagrams to the receiver: the next six together")
    media_kbps: float = _column("kbit/s", "payloads without side information")
    side_kbps: float = _column("kbit/s", "side information, all copies")
    parity_kbps: float = _column("kbit/s", "parity packets, without UDP and IP")
    retransmit_kbps: float = _column("kbit/s", "packets sent again, without UDP and IP")
    control_kbps: float = _column("kbit/s", "hello, config, stats, bye (both ways), without UDP and IP")
    headers_kbps: float = _column("kbit/s", "UDP and IP (28 bytes a datagram) and the headers of data packets")
    feedback_kbps: float = _column("kbit/s", "reports to the sender, UDP and IP included; not part of kbps")
    recovered: int = _column("", "packets that parity brought back")
    replayed: int = _column("", "frames that the sender decoded again to follow the receiver")
    clean: bool = _column("", "whether the session ended as it should")


COLUMNS = tuple((f.name, f.metadata["unit"], f.metadata["meaning"]) for f in fields(Viewing))  # (name, unit, meaning)


@dataclass(frozen=True)
class FrameRow:
    """One instant, for per-frame JSON lines. source: frame of the clip on screen. delay: seconds. received: packets of
    that frame that arrived, packets: its K. size: payload bytes that the due frame was encoded to, 0 if skipped."""

    index: int
    time: float
    source: int | None
    state: str
    delay: float
    received: int
    packets: int
    size: int
    psnr_yuv: float | None
    ssim: float | None
    ms_ssim: float | None
    vmaf: float | None


def view(
    clip: Clip, outcome: Outcome, viewing_delay: float, quality: Collection[str] = ("psnr_yuv", "ssim_db")
) -> tuple[Viewing, list[FrameRow]]:
    """The figures of a run, and of its instants.

    viewing_delay: seconds from capture until a frame is due on screen. quality: which of QUALITY to measure; the
    others are None. Milliseconds a frame of 480x272: PSNR 0.1, SSIM 1, both SSIMs 3, VMAF 10.
    """
    screen = on_screen(clip, outcome, viewing_delay)
    scores = _scores(clip.frames, screen, clip, quality)
    sizes = {index: sum(map(len, encoded.payloads)) for index, encoded, _ in outcome.sent.values()}
    rows = [_row(instant, scores, sizes.get(instant.index, 0)) for instant in screen]
    fps = float(clip.format.fps)
    states, between = Counter(instant.state for instant in screen), np.array(gaps(screen, fps))
    percentiles = np.percentile([instant.delay for instant in screen], (50, 95, 98)) * 1e3
    similarity = _mean(scores["ssim"])
    result = Viewing(
        psnr_yuv=_mean(scores["psnr_yuv"]),
        ssim_db=None if similarity is None else ssim_db(similarity),
        ms_ssim=_mean(scores["ms_ssim"]),
        vmaf=_mean(scores["vmaf"]),
        frames=len(screen),
        sent=len(outcome.sent),
        skipped=len(screen) - len(outcome.sent),
        **{state: states[state] for state in STATES},
        undecodable=undecodable(clip, outcome),
        stall_s=float(between[between > STALL].sum()),
        longest_gap_s=float(between.max()),
        **dict(zip(("delay_p50_ms", "delay_p95_ms", "delay_p98_ms"), percentiles.tolist(), strict=True)),
        viewing_delay_ms=viewing_delay * 1e3,
        seconds=len(screen) / fps,
        **bits_by_kind(outcome, len(screen) / fps),
        recovered=outcome.recovered,
        replayed=outcome.replayed,
        clean=outcome.clean,
    )
    return result, rows


def bits_by_kind(outcome: Outcome, seconds: float) -> dict[str, float]:
    """The columns in kbit/s of what was sent in so many seconds."""
    sizes, per_byte = outcome.sizes, 8e-3 / seconds
    encoded = [frame for _, frame, _ in outcome.sent.values()]
    entries = sum(entry_bytes(frame.bundles) for frame in encoded)
    made = sum(len(payload) for frame in encoded for payload in frame.payloads) + entries
    bodies = sizes["data", "bytes"] - DATA_OVERHEAD * sizes["data", "packets"]
    # a full queue leaves out packets: of what was sent, side information has the share that it has of what was made
    side, entries = (size * bodies / made if made else 0.0 for size in (sum(f.side_bytes for f in encoded), entries))
    udp_ip = UDP_IP * sum(sizes[kind, "packets"] for kind in SENT)
    found = {
        "media": bodies - side - entries,
        "side": side,
        **{kind: sizes[kind, "bytes"] for kind in SENT[1:]},
        "headers": udp_ip + DATA_OVERHEAD * sizes["data", "packets"] + entries,
    }
    back = sizes["feedback", "bytes"] + UDP_IP * sizes["feedback", "packets"]
    columns = {f"{kind}_kbps": size * per_byte for kind, size in found.items()}
    return {"kbps": sum(columns.values()), **columns, "feedback_kbps": back * per_byte}


def _scores(
    frames: Sequence[Frame], screen: Sequence[Instant], clip: Clip, quality: Collection[str]
) -> dict[str, list[float] | None]:
    """By measure, the values of all instants."""
    if unknown := set(quality) - set(QUALITY):
        raise ValueError(f"no measure called {', '.join(sorted(unknown))}; known: {', '.join(QUALITY)}")
    pictures = [instant.picture for instant in screen]
    pairs = list(zip(frames, pictures, strict=True))
    found: dict[str, list[float] | None] = dict.fromkeys(("psnr_yuv", "ssim", "ms_ssim", "vmaf"))
    if "psnr_yuv" in quality:
        found["psnr_yuv"] = [psnr_yuv(*pair) for pair in pairs]
    if "ms_ssim" in quality and min(frames[0].size) >= MS_SSIM_SIDE:
        both = [ssim_and_ms_ssim(a.y, b.y) for a, b in pairs]
        found["ms_ssim"] = [several for _, several in both]
        if "ssim_db" in quality:
            found["ssim"] = [one for one, _ in both]
    elif "ssim_db" in quality:
        found["ssim"] = [known.ssim(picture.y) for known, picture in zip(references(clip), pictures, strict=True)]
    if "vmaf" in quality:
        found["vmaf"] = vmaf(frames, pictures, clip.format)
    return found


@lru_cache(maxsize=1)
def references(clip: Clip) -> tuple[SsimReference, ...]:
    """Of each frame of a clip, for all runs with it. Its 5 s in 480x272 come to 150 MB."""
    once = {id(frame): SsimReference(frame.y) for frame in clip.frames}  # a clip that runs forth and back repeats them
    return tuple(once[id(frame)] for frame in clip.frames)


def _row(instant: Instant, scores: dict[str, list[float] | None], size: int) -> FrameRow:
    shown = instant.shown
    values = {name: None if found is None else found[instant.index] for name, found in scores.items()}
    return FrameRow(
        instant.index,
        instant.time,
        instant.source,
        instant.state,
        instant.delay,
        shown.received if shown else 0,
        shown.packets if shown else 0,
        size,
        **values,
    )


def _mean(values: list[float] | None) -> float | None:
    return None if values is None else float(np.mean(values))

