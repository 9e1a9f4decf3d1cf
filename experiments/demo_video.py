"""What the demo shows: original beside received, frame by frame, and the figures of the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from lrae.codec.types import Frame, VideoFormat
from lrae.experiments.metrics import psnr_yuv, ssim_db, ssim_y

FONT = cv2.FONT_HERSHEY_SIMPLEX
WHITE, BLACK = (235, 128, 128), (16, 128, 128)  # Y, U, V
GREEN, RED = (150, 44, 21), (81, 90, 240)


@dataclass(frozen=True)
class Shown:
    """One frame that the receiver showed. index: which source frame it is; delay: capture to screen, seconds.

    packets: K, None where nothing of the frame arrived; used: how many were decoded. label, confidence: what the
    receiver's classifier saw, None where it was not sure enough.
    """

    index: int
    delay: float
    packets: int | None
    used: int
    label: str | None = None
    confidence: float | None = None

    @property
    def status(self) -> str:
        """A few words for people: what happens in the picture, else what became of its packets."""
        if self.label:
            return f"{self.label} {self.confidence:.0%}"
        if not self.packets or not self.used:
            return "all packets lost: extrapolated"
        lost = self.packets - self.used
        return f"{lost} of {self.packets} packets lost" if lost else "complete"


@dataclass
class Figures:
    """What the table says; lists have one entry per source frame, or per shown frame (delays)."""

    psnr: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    complete: int = 0
    partial: int = 0
    extrapolated: int = 0
    held: int = 0  # source frames in whose place an older one stayed on screen

    def count(self, shown: Shown) -> None:
        self.delays.append(shown.delay)
        whole = shown.packets is not None and shown.used == shown.packets
        self.complete += whole
        self.extrapolated += not shown.used
        self.partial += bool(shown.used) and not whole

    def summary(self) -> dict[str, float]:
        """JSON-ready means and percentiles; delays in ms."""
        p50, p95 = np.percentile(self.delays, (50, 95)) * 1e3
        return {
            "psnr_yuv": float(np.mean(self.psnr)),
            "ssim": float(np.mean(self.ssim)),
            "ssim_db": ssim_db(float(np.mean(self.ssim))),
            "delay_ms_p50": float(p50),
            "delay_ms_p95": float(p95),
            "shown": len(self.delays),
            "complete": self.complete,
            "partial": self.partial,
            "extrapolated": self.extrapolated,
            "held": self.held,
        }


def read_events(path: Path) -> dict[str, list[dict]]:
    """The lines of a statistics file by event; a line cut off at the end is left out."""
    events: dict[str, list[dict]] = {}
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        events.setdefault(record["event"], []).append(record)
    return events


def match(sent: Iterable[dict], shown: Iterable[dict], fps: float) -> list[Shown]:
    """The shown frames with their places in the source, found through frame number and capture time."""
    captures = {record["number"]: record["capture"] for record in sent}
    start = min(captures.values(), default=0.0)
    return [
        Shown(
            index=round((captures[record["number"]] - start) * fps),
            delay=record["time"] - captures[record["number"]],
            packets=record["packets"],
            used=record["used"],
            label=record["label"],
            confidence=record["label_confidence"],
        )
        for record in shown
        if record["number"] in captures
    ]


def pair(
    originals: Iterable[Frame], received: Iterable[Frame], shown: Iterable[Shown]
) -> Iterator[tuple[Frame, Frame, Shown]]:
    """For every source frame from the first shown one on: it, and what was on screen in its place."""
    ahead = zip(received, shown, strict=False)
    upcoming = next(ahead, None)
    current: tuple[Frame, Shown] | None = None
    for index, original in enumerate(originals):
        while upcoming is not None and upcoming[1].index <= index:
            current, upcoming = upcoming, next(ahead, None)
        if current is not None:
            yield original, *current


def side_by_side(video: VideoFormat) -> VideoFormat:
    """The format of the demo's pictures: two frames wide, a caption band on top, even sides."""
    width, height = video.width + video.width % 2, video.height + video.height % 2
    return replace(video, width=2 * width, height=height + band_height(height))


def band_height(height: int) -> int:
    """Rows of the caption band, even."""
    return max(20, height // 12 // 2 * 2)


def compose(original: Frame, screen: Frame, shown: Shown, held: bool, right: str) -> Frame:
    """One picture of the demo. right: the caption over the received half; held: an older frame stays."""
    halves = [_even(original), _even(screen)]
    planes = [np.hstack(pair) for pair in zip(*halves, strict=True)]
    band = band_height(planes[0].shape[0])
    for number, level in enumerate(BLACK):
        rows = band if number == 0 else band // 2
        planes[number] = np.vstack([np.full((rows, planes[number].shape[1]), level, np.uint8), planes[number]])
    middle = planes[0].shape[1] // 2
    _write(planes[0][:band, :middle], "original")
    status = "held" if held else shown.status
    cells = min(0 if held else shown.packets or 0, middle // 2 // (band // 2 + 2))
    room = cells * (band // 2 + 2)
    _write(planes[0][:band, middle : 2 * middle - room - 4], f"{right}   {status}")
    for cell in range(cells):
        left = 2 * middle - room + cell * (band // 2 + 2)
        _fill(planes, left, band // 4, band // 2, GREEN if cell < shown.used else RED)
    return Frame(*planes, time=original.time)


def _even(frame: Frame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    height, width = frame.y.shape
    return np.pad(frame.y, ((0, height % 2), (0, width % 2)), mode="edge"), frame.u, frame.v


def _write(area: np.ndarray, text: str) -> None:
    """White text in a band of luma, as large as fits; `area` is changed."""
    height, width = area.shape
    canvas = np.ascontiguousarray(area)
    (across, _), _ = cv2.getTextSize(text, FONT, 1.0, 1)
    scale = min(height / 36, (width - 8) / max(across, 1))
    cv2.putText(canvas, text, (4, height * 2 // 3), FONT, scale, WHITE[0], 1, cv2.LINE_AA)
    area[:] = canvas


def _fill(planes: list[np.ndarray], left: int, top: int, side: int, color: tuple[int, int, int]) -> None:
    planes[0][top : top + side, left : left + side] = color[0]
    for plane, level in zip(planes[1:], color[1:], strict=True):
        plane[top // 2 : (top + side) // 2, left // 2 : (left + side) // 2] = level


def tell(
    originals: Iterable[Frame],
    received: Iterable[Frame],
    shown: list[Shown],
    caption: str,
    write: Callable[[Frame], None],
) -> Figures:
    """Compose and write every picture, and measure on the way."""
    figures = Figures()
    for record in shown:
        figures.count(record)
    before = -1
    for original, screen, record in pair(originals, received, shown):
        held = record.index == before
        before = record.index
        figures.held += held
        figures.psnr.append(psnr_yuv(original, screen))
        figures.ssim.append(ssim_y(original, screen))
        write(compose(original, screen, record, held, caption))
    return figures
