"""lrae-demo: sender, lossy channel and receiver as real processes on this machine, and a video of the result."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from lrae.cli import Parser, run_main
from lrae.codec.types import VideoFormat
from lrae.codec.y4m import Y4mReader, frame_bytes, header
from lrae.errors import ConfigError, LraeError, SinkError, SourceError
from lrae.experiments.demo_video import Figures, match, read_events, side_by_side, tell
from lrae.receiver.sink import VIDEO_SUFFIXES, check_sink, open_sink
from lrae.sender.source import open_source, parse_fps, parse_size

START, FINISH, STOP = 90.0, 20.0, 10.0  # seconds: to load and connect; for the last frames; after SIGINT
POLL = 0.2
DEMO_BPP = 0.25  # bit/pixel with all headers, where no rate is given
LIVE_PIXELS, LIVE_FPS = 90_000, 15  # without --size and --fps: at most this large and fast


def build_parser() -> argparse.ArgumentParser:
    """Every option of the program."""
    parser = Parser(prog="lrae-demo", description="The main job on this machine: video, loss, video.")
    add = parser.add_argument
    add("--input", default="sample", help="as lrae-send takes it (default sample: real footage)")
    add("--output", default="demo.mp4", metavar="FILE", help="original beside received (default demo.mp4)")
    add("--frames", type=int, default=150, help="how many (default 150)")
    add("--size", type=parse_size, metavar="WxH", help="scale the input (default: to what two CPU cores do live)")
    add("--fps", type=parse_fps, metavar="FPS", help="drop or repeat frames (default: likewise)")
    add("--loss", default="0.2", help="as lrae-channel takes it, each way (default 0.2)")
    add("--delay", type=float, default=40, metavar="MS", help="of the channel, each way (default 40)")
    add("--deadline", type=float, default=150, metavar="MS", help="of the receiver (default 150)")
    add("--bitrate", metavar="RATE", help="such as 400k (default: 0.25 bit/pixel)")
    add("--q", help="fixed quality instead of a bitrate")
    add("--model", default="m", help="name or file of weights (default m)")
    add("--classifier", default="actions", metavar="NAME", help="of the receiver, or none (default actions)")
    add("--device", default="auto", choices=("auto", "cpu", "cuda"))
    add("--seed", type=int, default=1, help="of the channel's losses (default 1)")
    add("--json", type=Path, metavar="FILE", help="write the figures here too")
    return parser


class Programs:
    """Child processes by name, their standard error in files; none outlives this object's `with` block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def start(self, name: str, module: str, *arguments: object) -> None:
        """Run main() of a module with these arguments in a Python of its own."""
        program = f"import sys; from {module} import main; sys.exit(main())"
        command = [sys.executable, "-c", program, *map(str, arguments)]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with (self._folder / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    def done(self, name: str) -> bool:
        """It has left by itself. LraeError if it has failed."""
        code = self._running[name].poll()
        if code:
            lines = (self._folder / f"{name}.log").read_text(errors="replace").splitlines()
            told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
            told = told or [line for line in lines if re.search(r"\w", line)] or [f"exit code {code}"]
            raise LraeError(f"the {name} failed: {told[-1]}")
        return code is not None

    def finish(self, name: str, seconds: float) -> None:
        """Wait for it, then ask it to leave (SIGINT), then wait again. LraeError if it has failed."""
        process = self._running[name]
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP)
            except subprocess.TimeoutExpired:
                raise LraeError(f"the {name} does not leave") from None
        self.done(name)


def free_ports(count: int) -> list[int]:
    """UDP ports of this machine that were free a moment ago, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


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


def transmit(args: argparse.Namespace, folder: Path, seconds: float, pixels_per_second: float, report) -> None:
    """Runs the three programs until the stream is over; their files are in `folder`."""
    receiver, channel = free_ports(2)
    rate = ("--q", args.q) if args.q else ("--bitrate", args.bitrate or round(DEMO_BPP * pixels_per_second))
    codec = ("--model", args.model, "--device", args.device)
    with Programs(folder) as programs:
        programs.start(
            "receiver", "lrae.receiver.main", "--listen", f"127.0.0.1:{receiver}", "--once",
            "--output", folder / "received.y4m", "--deadline", args.deadline,
            "--classifier", args.classifier, "--stats", folder / "receiver.jsonl", *codec,
        )  # fmt: skip
        programs.start(
            "channel", "lrae.channel.main", "--listen", f"127.0.0.1:{channel}",
            "--forward", f"127.0.0.1:{receiver}", "--loss", args.loss, "--delay", args.delay,
            "--seed", args.seed, "--stats", folder / "channel.jsonl",
        )  # fmt: skip
        programs.start(
            "sender", "lrae.sender.main", "--input", folder / "original.y4m",
            "--to", f"127.0.0.1:{channel}", "--stats", folder / "sender.jsonl", *rate, *codec,
        )  # fmt: skip
        until = time.monotonic() + START + seconds
        while not programs.done("sender"):
            programs.done("receiver")
            if programs.done("channel") or time.monotonic() > until:
                raise LraeError(f"the stream did not end within {START + seconds:.0f} seconds")
            report(folder / "receiver.jsonl")
            time.sleep(POLL)
        programs.finish("receiver", FINISH)
        programs.finish("channel", 0.0)


def conclude(args: argparse.Namespace, folder: Path, video: VideoFormat, report) -> dict:
    """Composes the video; returns the figures."""
    sender, receiver, channel = (read_events(folder / f"{name}.jsonl") for name in ("sender", "receiver", "channel"))
    shown = match(sender.get("sent", ()), receiver.get("shown", ()), float(video.fps))
    if not shown:
        raise LraeError("nothing was received")
    total, network = sender["sender-summary"][-1], channel["channel-summary"][-1]["up"]
    caption = f"LRAE {total['kbps']:.0f} kbit/s, {network['lost'] / max(network['sent'], 1):.0%} loss"
    sink = open_sink(args.output, side_by_side(video))
    try:
        with (folder / "original.y4m").open("rb") as sent, (folder / "received.y4m").open("rb") as received:
            pictures = report(Y4mReader(sent))
            figures: Figures = tell(pictures, Y4mReader(received), shown, caption, sink.write)
    finally:
        sink.close()
    return {
        **figures.summary(),
        "sent": total["frames"],
        "dropped": total["dropped"] + total["skipped"],
        "kbps": total["kbps"],
        "packets_sent": network["sent"],
        "packets_lost": network["lost"],
        "output": args.output,
    }


def closing_table(result: dict, video: VideoFormat, args: argparse.Namespace) -> Table:
    """The figures for people."""
    table = Table(show_header=False, title="lrae-demo", title_justify="left")
    loss = result["packets_lost"] / max(result["packets_sent"], 1)
    rows = {
        "video": f"{video.width}x{video.height} at {float(video.fps):.4g} fps",
        "rate": f"{result['kbps']:.0f} kbit/s on the wire",
        "packets lost": f"{result['packets_lost']} of {result['packets_sent']} ({loss:.1%})",
        "frames shown": f"{result['shown']} of {result['sent']} sent: {result['complete']} complete, "
        f"{result['partial']} from some packets, {result['extrapolated']} from none",
        "frames left out": f"{result['dropped']} by the sender, {result['held']} held on screen",
        "PSNR-YUV": f"{result['psnr_yuv']:.2f} dB (of what was on screen)",
        "SSIM": f"{result['ssim']:.4f} ({result['ssim_db']:.2f} dB)",
        "delay": f"P50 {result['delay_ms_p50']:.0f} ms, P95 {result['delay_ms_p95']:.0f} ms, capture to screen, "
        f"{args.delay:g} of it in the channel",
        "video of it": result["output"],
    }
    for name, value in rows.items():
        table.add_row(name, value)
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
            progress.update(sending, completed=count, description="on the air" if count else None)

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
        with bars(count) as (on_air, composing):
            pixels_per_second = video.width * video.height * float(video.fps)
            transmit(args, folder, count / float(video.fps), pixels_per_second, on_air)
            result = conclude(args, folder, video, composing)
    Console().print(closing_table(result, video, args))
    if args.json:
        try:
            args.json.write_text(json.dumps(result, indent=1) + "\n")
        except OSError as error:
            raise SinkError(f"{args.json}: {error.strerror}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    return run_main(demo, argv)


if __name__ == "__main__":
    sys.exit(main())
