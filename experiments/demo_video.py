"""What the demo shows: the original beside what was on screen in each run, frame by frame, and the figures."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from lrae.codec.types import Frame, VideoFormat
from lrae.experiments.metrics import psnr_yuv, ssim_db, ssim_y

FONT = cv2.FONT_HERSHEY_SIMPLEX
WHITE, BLACK = (235, 128, 128), (16, 128, 128)  # Y, U, V
GREEN, RED = (150, 44, 21), (81, 90, 240)
MAX_WIDTH = 640  # of a panel; larger pictures are scaled down for the video, never for the figures


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
        """A few words for people: what became of its packets and, if known, what happens in the picture."""
        label = f", {self.label} {self.confidence:.0%}" if self.label else ""
        if not self.packets or not self.used:
            return f"all packets lost: extrapolated{label}"
        lost = self.packets - self.used
        return (f"{lost} of {self.packets} packets lost" if lost else "complete") + label


@dataclass(frozen=True, eq=False)
class Run:
    """One way in which the clip was carried. received: the frames of `shown`, as many and in this order."""

    caption: str
    received: Iterable[Frame]
    shown: list[Shown]


@dataclass(frozen=True, eq=False)
class Screen:
    """What a viewer of one run sees at one moment. held: an older frame stays."""

    caption: str
    frame: Frame
    shown: Shown
    held: bool


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


def watch(run: Run) -> Iterator[Screen | None]:
    """For every source frame in turn, without end: what is on screen in its place; None before there is anything."""
    ahead = zip(run.received, run.shown, strict=False)
    upcoming = next(ahead, None)
    current: tuple[Frame, Shown] | None = None
    for index in itertools.count():
        while upcoming is not None and upcoming[1].index <= index:
            current, upcoming = upcoming, next(ahead, None)
        yield current and Screen(run.caption, *current, held=current[1].index < index)


def panel_size(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of one picture in the demo's, both even. size: the frame's."""
    width, height = (side + side % 2 for side in size)
    scale = min(1.0, MAX_WIDTH / width)
    return round(width * scale / 2) * 2, max(2, round(height * scale / 2) * 2)


def side_by_side(video: VideoFormat, runs: int) -> VideoFormat:
    """The format of the demo's pictures: the original and the runs in a row, a caption band on top, even sides."""
    width, height = panel_size((video.width, video.height))
    return replace(video, width=(1 + runs) * width, height=height + band_height(height))


def band_height(height: int) -> int:
    """Rows of the caption band, even."""
    return max(20, height // 12 // 2 * 2)


def compose(original: Frame, screens: Sequence[Screen]) -> Frame:
    """One picture of the demo."""
    width, height = panel_size(original.size)
    panels = [_fitted(frame, width, height) for frame in (original, *(screen.frame for screen in screens))]
    planes = [np.hstack(row) for row in zip(*panels, strict=True)]
    band = band_height(height)
    for number, level in enumerate(BLACK):
        rows = band if number == 0 else band // 2
        planes[number] = np.vstack([np.full((rows, planes[number].shape[1]), level, np.uint8), planes[number]])
    _write(planes[0][:band, :width], "original")
    for number, screen in enumerate(screens, 1):
        _caption(planes, number * width, width, band, screen)
    return Frame(*planes, time=original.time)


def _fitted(frame: Frame, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Y, U, V of a picture in the size of a panel."""
    rows, columns = frame.y.shape
    y = np.pad(frame.y, ((0, rows % 2), (0, columns % 2)), mode="edge")
    if y.shape == (height, width):
        return y, frame.u, frame.v
    half = width // 2, height // 2
    sizes = (width, height), half, half
    planes = zip((y, frame.u, frame.v), sizes, strict=True)
    return tuple(cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane, size in planes)


def _caption(planes: list[np.ndarray], left: int, width: int, band: int, screen: Screen) -> None:
    """Words, and a cell for every packet of the frame: green if it was used."""
    shown, pitch = screen.shown, band // 2 + 2
    cells = min(0 if screen.held else shown.packets or 0, width // 2 // pitch)
    start = left + width - cells * pitch
    status = "held" if screen.held else shown.status
    _write(planes[0][:band, left : start - 4], f"{screen.caption}   {status}")
    for cell in range(cells):
        _fill(planes, start + cell * pitch, band // 4, band // 2, GREEN if cell < shown.used else RED)


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


def tell(originals: Iterable[Frame], runs: Sequence[Run], write: Callable[[Frame], None]) -> list[Figures]:
    """Compose and write every picture from which on all runs show something, and measure on the way."""
    figures = [Figures() for _ in runs]
    for result, run in zip(figures, runs, strict=True):
        for record in run.shown:
            result.count(record)
    for original, *screens in zip(originals, *map(watch, runs), strict=False):
        if any(screen is None for screen in screens):
            continue
        for result, screen in zip(figures, screens, strict=True):
            result.held += screen.held
            result.psnr.append(psnr_yuv(original, screen.frame))
            result.ssim.append(ssim_y(original, screen.frame))
        write(compose(original, screens))
    return figures
