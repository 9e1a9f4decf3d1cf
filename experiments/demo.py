"""lrae-demo: sender, lossy channel and receiver on this machine, with and without imputation, and a video of it."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from lrae.cli import Parser, run_main
from lrae.codec.types import Frame, VideoFormat
from lrae.codec.y4m import Y4mReader, frame_bytes, header
from lrae.errors import ConfigError, LraeError, SinkError, SourceError
from lrae.experiments.demo_programs import transmit
from lrae.experiments.demo_video import Run, match, read_events, side_by_side, tell
from lrae.receiver.sink import VIDEO_SUFFIXES, check_sink, open_sink
from lrae.sender.source import open_source, parse_fps, parse_size

RUNS = {"zero": "without imputation", "full": "with imputation"}  # by concealment, in the order of the panels
LIVE_PIXELS, LIVE_FPS = 90_000, 15  # without --size and --fps: at most this large and fast


def build_parser() -> argparse.ArgumentParser:
    """Every option of the program."""
    parser = Parser(
        prog="lrae-demo",
        description="The main job on this machine: video, loss, video; once without and once with imputation. Both "
        "runs draw their losses from one seed, packet for packet; they send about as many packets, not the same ones.",
    )
    add = parser.add_argument
    add("--input", default="sample", help="as lrae-send takes it (default sample: real footage)")
    add("--output", default="demo.mp4", metavar="FILE", help="original beside both runs (default demo.mp4)")
    add("--frames", type=int, default=150, help="how many (default 150)")
    add("--size", type=parse_size, metavar="WxH", help="scale the input (default: to what two CPU cores do live)")
    add("--fps", type=parse_fps, metavar="FPS", help="drop or repeat frames (default: likewise)")
    add("--loss", default="0.2", help="as lrae-channel takes it, each way (default 0.2)")
    add("--delay", type=float, default=40, metavar="MS", help="of the channel, each way (default 40)")
    add("--deadline", type=float, default=150, metavar="MS", help="of the receiver (default 150)")
    add("--bitrate", metavar="RATE", help="such as 400k (default: 0.25 bit/pixel)")
    add("--q", help="fixed quality instead of a bitrate")
    add("--fec", default="none", help="as lrae-send takes it (default none: what is lost is left to the imputation)")
    add("--model", default="m", help="name or file of weights (default m)")
    add("--classifier", default="none", metavar="NAME", help="actions, a file, or none (default)")
    add("--device", default="auto", choices=("auto", "cpu", "cuda"))
    add("--seed", type=int, default=1, help="of the channel's losses (default 1)")
    add("--json", type=Path, metavar="FILE", help="write the figures here too")
    return parser


def live_size(args: argparse.Namespace) -> tuple[tuple[int, int] | None, Fraction | None]:
    """(size, fps) as asked for, else what two CPU cores encode, decode and lose packets of, live."""
    source = open_source(args.input)
    video = source.format
    source.close()
    shrink = math.sqrt(LIVE_PIXELS / (video.width * video.height))
    small = round(video.width * shrink / 2) * 2, round(video.height * shrink / 2) * 2
    slow = video.fps / math.ceil(video.fps / LIVE_FPS)
    return args.size or (small if shrink < 1 else None), args.fps or (slow if slow < video.fps else None)


def record(args: argparse.Namespace, path: Path) -> tuple[VideoFormat, int]:
    """Writes the frames to be sent as y4m, so that what is measured is exactly what was sent."""
    size, fps = (args.size, args.fps) if args.size and args.fps else live_size(args)
    source = open_source(args.input, size=size, fps=fps)
    try:
        with path.open("wb") as stream:
            stream.write(header(source.format))
            count = 0
            for frame in itertools.islice(source, args.frames):
                stream.write(frame_bytes(frame))
                count += 1
    except OSError as error:
        raise SinkError(f"{path}: {error.strerror}") from error
    finally:
        source.close()
    if count == 0:
        raise SourceError(f"{args.input}: no frames in it")
    return source.format, count


def frames_of(path: Path) -> Iterator[Frame]:
    """The pictures of a y4m file."""
    with path.open("rb") as stream:
        yield from Y4mReader(stream)


def conclude(args: argparse.Namespace, folder: Path, video: VideoFormat, report) -> dict[str, dict]:
    """Composes the video; returns the figures of each run."""
    runs, results = [], {}
    for impute, name in RUNS.items():
        sender, receiver, channel = (
            read_events(folder / impute / f"{program}.jsonl") for program in ("sender", "receiver", "channel")
        )
        shown = match(sender.get("sent", ()), receiver.get("shown", ()), float(video.fps))
        if not shown:
            raise LraeError(f"nothing was received {name}")
        total, network = sender["sender-summary"][-1], channel["channel-summary"][-1]["up"]
        results[impute] = {
            "sent": total["frames"],
            "dropped": total["dropped"] + total["skipped"],
            "kbps": total["kbps"],
            "packets_sent": network["sent"],
            "packets_lost": network["lost"],
            "loss": network["lost"] / max(network["sent"], 1),
        }
        caption = f"{name}, {results[impute]['loss']:.0%} loss"
        runs.append(Run(caption, frames_of(folder / impute / "received.y4m"), shown))
    sink = open_sink(args.output, side_by_side(video, len(runs)))
    try:
        figures = tell(report(frames_of(folder / "original.y4m")), runs, sink.write)
    finally:
        sink.close()
    return {impute: figure.summary() | results[impute] for impute, figure in zip(RUNS, figures, strict=True)}


def closing_table(results: dict[str, dict], title: str) -> Table:
    """The figures for people, a column for each run."""
    rows = {
        "rate on the wire": "{kbps:.0f} kbit/s",
        "packets lost": "{packets_lost} of {packets_sent} ({loss:.1%})",
        "frames shown": "{shown} of {sent} sent",
        "  complete": "{complete}",
        "  from some packets": "{partial}",
        "  from none": "{extrapolated}",
        "frames left out": "{dropped} by the sender",
        "frames held on screen": "{held}",
        "PSNR-YUV on screen": "{psnr_yuv:.2f} dB",
        "SSIM on screen": "{ssim:.4f} ({ssim_db:.2f} dB)",
        "delay, capture to screen": "P50 {delay_ms_p50:.0f} ms, P95 {delay_ms_p95:.0f} ms",
    }
    table = Table("", *(RUNS[impute] for impute in results), title=title, title_justify="left")
    for name, text in rows.items():
        table.add_row(name, *(text.format(**result) for result in results.values()))
    return table


@contextlib.contextmanager
def bars(frames: int) -> Iterator[tuple]:
    """Progress on standard error, if that is a terminal: (for transmit, for conclude)."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        sending = progress.add_task("starting the programs", total=frames)

        def on_air(stats: Path) -> None:
            count = stats.read_bytes().count(b"\n") if stats.exists() else 0
            told = f"on the air {RUNS[stats.parent.name]}" if count else "starting the programs"
            progress.update(sending, completed=count, description=told)

        def composing(pictures):
            progress.remove_task(sending)
            return progress.track(pictures, total=frames, description="composing the video")

        yield on_air, composing


def demo(argv: Sequence[str] | None) -> None:
    """Record, transmit, compose, print."""
    args = build_parser().parse_args(argv)
    if args.frames < 1:
        raise ConfigError("--frames must be 1 or more")
    if not args.output.lower().endswith(VIDEO_SUFFIXES):
        raise ConfigError(f"--output {args.output}: give a name that ends in {' or '.join(VIDEO_SUFFIXES)}")
    check_sink(args.output)
    with tempfile.TemporaryDirectory(prefix="lrae-demo-") as name:
        folder = Path(name)
        video, count = record(args, folder / "original.y4m")
        seconds = count / float(video.fps)
        with bars(count) as (on_air, composing):
            for impute in RUNS:  # one after the other: each has the machine for itself, as in earnest
                (folder / impute).mkdir()
                transmit(args, folder / "original.y4m", video, seconds, impute, folder / impute, on_air)
            results = conclude(args, folder, video, composing)
    size = f"{video.width}x{video.height} at {float(video.fps):.4g} fps"
    title = f"lrae-demo: {args.input}, {size}, {args.delay:g} ms of delay in the channel each way"
    console = Console()
    console.print(closing_table(results, title))
    console.print(f"video of it: {args.output}", highlight=False)
    if args.json:
        try:
            args.json.write_text(json.dumps({"runs": results, "output": args.output}, indent=1) + "\n")
        except OSError as error:
            raise SinkError(f"{args.json}: {error.strerror}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    return run_main(demo, argv)


if __name__ == "__main__":
    sys.exit(main())
