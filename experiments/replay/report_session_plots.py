"""The report's plots of single sessions: a timeline, the delays of their frames, and what was on screen."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from lrae.codec.avframe import to_av
from lrae.codec.types import Frame, VideoFormat
from lrae.errors import SinkError
from lrae.experiments.metrics import psnr_yuv
from lrae.experiments.replay.report_rows import LRAE
from lrae.experiments.replay.report_sessions import MOMENTS, Instants, Pair, Replay
from lrae.experiments.replay.report_style import Picture, colour, legend_below, line_style, name_of, plotting

WIDE_RANGE = 6  # from this ratio on a logarithmic axis


def timeline_plot(pair: Pair, instants: Mapping[str, Instants], folder: Path, name: str) -> Picture:
    """Packets that did not arrive, quality and delay at every instant of two sessions. instants: by codec."""
    with plotting(folder, name, rows=3, size=(7.6, 5.4), sharex=True) as (axes, result):
        for codec, rows in instants.items():
            times = np.array([row["time"] for row in rows])
            times = times - times[0]
            style = {"color": colour(codec), "linewidth": 1.8 if codec == LRAE else 1.1, "zorder": 4 - (codec != LRAE)}
            axes[0].plot(times, [100 * lost_share(row) for row in rows], drawstyle="steps-mid", **style)
            axes[1].plot(times, [row["psnr_yuv"] for row in rows], **style)
            axes[2].plot(times, [1e3 * row["delay"] for row in rows], **style)
            frozen = [(t, row["psnr_yuv"]) for t, row in zip(times, rows, strict=True) if row["state"] == "frozen"]
            if frozen:
                axes[1].plot(*zip(*frozen, strict=True), linestyle="", marker="x", markersize=4, color=colour(codec))
        axes[0].set(ylabel="packets of the\npicture missing, %", ylim=(-4, 104))
        axes[1].set(ylabel="PSNR-YUV, dB")
        axes[2].set(ylabel="delay, ms", xlabel="seconds")
        axes[0].set_title(pair.text)
        legend_below(axes[0], list(instants), patch=True)
    caption = (
        f"Two sessions, instant by instant ({pair.text}): packets missing from the picture on screen, its quality "
        "(a cross: frozen), and how long after its capture a frame or a newer one was on screen. "
        f"{name_of(pair.theirs.codec)} has {pair.theirs.redundancy}, the best redundancy there. The sequence is that "
        "with the median lead."
    )
    return Picture(name, "Timeline of one session", result["svg"], caption, wide=True)


def lost_share(row: Mapping[str, object]) -> float:
    """Of the packets of the frame on screen, those that did not arrive; all where there is none or none is known."""
    return 1 - row["received"] / row["packets"] if row["packets"] else 1.0


def delay_plot(delays: Mapping[str, Sequence[float]], what: str, folder: Path, name: str) -> Picture:
    """Cumulative distribution of delays in seconds, by codec. what: where they come from."""
    with plotting(folder, name) as (axes, result):
        for codec, values in delays.items():
            known = np.sort(values) * 1e3
            style = line_style(codec) | {"marker": ""}
            axes.step(known, 100 * np.arange(1, len(known) + 1) / len(known), where="post", **style)
        axes.axhline(98, color=colour("faint"), linewidth=0.8, linestyle=(0, (4, 2)))
        low, high = axes.get_xlim()
        if high > WIDE_RANGE * max(low, 1):
            axes.set_xscale("log")
            ticks = [tick for tick in (20, 50, 100, 200, 500, 1000, 2000, 5000) if low <= tick <= high]
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.set_xticks([], minor=True)
        axes.set(xlabel="capture to display, ms", ylabel="frames, %", ylim=(0, 101))
        axes.annotate("98 %", (1, 98), xycoords=("axes fraction", "data"), xytext=(-2, -10),
                      textcoords="offset points", ha="right", fontsize=8, color=colour("faint"))  # fmt: skip
        legend_below(axes, list(delays))
    caption = f"Share of frames that were on screen, or a newer one was, so long after their capture: {what}."
    return Picture(name, "Delay of frames", result["svg"], caption)


def still_pictures(pair: Pair, ours: Replay, theirs: Replay, folder: Path) -> list[Picture]:
    """Source, LRAE and the conventional codec side by side at fixed moments. SinkError: a PNG cannot be written."""
    found = []
    for moment in MOMENTS:
        index = int(moment * len(ours.clip))
        source = ours.clip[index]
        shown = {
            "source": (source, ""),
            name_of(LRAE): (ours.pictures[index], _told(source, ours, index)),
            name_of(pair.theirs.codec): (theirs.pictures[index], _told(source, theirs, index)),
        }
        images = {label: to_bgr(frame, ours.video) for label, (frame, _) in shown.items()}
        name = f"still-{index:04d}"
        _write(folder / f"{name}.png", png(np.hstack(list(images.values()))))
        figures = "".join(
            f"<div><img alt='{escape(label)}' src='data:image/png;base64,{base64.b64encode(png(image)).decode()}'>"
            f"<small>{escape(label)}{escape(shown[label][1])}</small></div>"
            for label, image in images.items()
        )
        seconds = index / float(ours.video.fps)
        caption = (
            f"What is on screen {seconds:.2f} s into the clip ({pair.text}; {name_of(pair.theirs.codec)} with "
            f"{pair.theirs.redundancy}), and what should be. The moment is fixed beforehand, not chosen."
        )
        title = f"On screen at {seconds:.2f} s"
        found.append(Picture(name, title, f"<div class=stills>{figures}</div>", caption, wide=True))
    return found


def _told(source: Frame, replay: Replay, index: int) -> str:
    return f", {psnr_yuv(source, replay.pictures[index]):.1f} dB, {replay.instants[index]['state']}"


def to_bgr(frame: Frame, video: VideoFormat) -> np.ndarray:
    """uint8 [H, W, 3] in the video's matrix and range."""
    picture = to_av(frame, video)
    return VideoReformatter().reformat(picture, *frame.size, "bgr24", interpolation="BICUBIC").to_ndarray()


def png(image: np.ndarray) -> bytes:
    """The bytes of a PNG file of BGR samples."""
    return cv2.imencode(".png", image)[1].tobytes()


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise SinkError(f"{path}: {error.strerror}") from error
