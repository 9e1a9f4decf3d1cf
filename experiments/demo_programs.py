"""The demo's three programs, sender, channel and receiver, as processes on this machine."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lrae.codec.types import VideoFormat
from lrae.errors import LraeError

START, FINISH, STOP = 90.0, 20.0, 10.0  # seconds: to load and connect; for the last frames; after SIGINT
POLL = 0.2
DEMO_BPP = 0.25  # bit/pixel with all headers, where no rate is given


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


def transmit(
    args: argparse.Namespace,
    original: Path,
    video: VideoFormat,
    seconds: float,
    impute: str,
    folder: Path,
    report: Callable[[Path], None],
) -> None:
    """Sends a y4m file once through the three programs, in real time; their files are in `folder`.

    args: of lrae-demo. video, seconds: what the file holds. impute: of IMPUTE. report: called now and then with the
    path of the receiver's statistics.
    """
    receiver, channel = free_ports(2)
    usual = round(DEMO_BPP * video.width * video.height * float(video.fps))
    rate = ("--q", args.q) if args.q else ("--bitrate", args.bitrate or usual)
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
            "sender", "lrae.sender.main", "--input", original, "--to", f"127.0.0.1:{channel}",
            "--impute", impute, "--fec", args.fec, "--stats", folder / "sender.jsonl", *rate, *codec,
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
