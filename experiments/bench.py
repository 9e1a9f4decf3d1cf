"""lrae-bench: measurements that print a table and write JSON (keys: docs/benchmarks.md)."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from lrae.cli import Parser, run_main
from lrae.errors import ConfigError, SinkError
from lrae.experiments import (
    actions,
    congestion,
    fec,
    loss_cli,
    rd,
    session,
    soak,
    speed,
    viewers,
    webrtc_speed,
    wire_speed,
)
from lrae.experiments.anchors import ANCHORS, CRFS, DEFAULT_ANCHORS
from lrae.experiments.arguments import count, levels, names_of, sizes
from lrae.experiments.clips import find_clips
from lrae.experiments.environment import environment
from lrae.experiments.pool import progress
from lrae.experiments.replay import speed as replay_speed
from lrae.experiments.tables import plot_rd, rd_tables, speed_tables

QS = (0, 10, 20, 30, 40, 50)
SPEED_CLIP = "sample:bigbuckbunny"  # the sample with the most pixels


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = Parser(prog="lrae-bench", description="Measure LRAE; every figure is reproducible.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--clips", help="folder, file or input (default: sample footage)")
    common.add_argument("--frames", type=count, default=48, help="frames of each clip (default 48)")
    common.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    common.add_argument("--model", default="m", help="shipped model or weights file (default m)")
    common.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    common.add_argument("--threads", type=count, help="torch's threads (default: torch decides)")
    commands = parser.add_subparsers(dest="command", required=True)

    sub = commands.add_parser("rd", parents=[common], help="bits and quality without loss, against x264, x265")
    sub.set_defaults(run=run_rd)
    sub.add_argument("--q", type=levels, default=QS, help="comma-separated q, 0 to 63, at least 4 of them")
    packets = "packets per frame (default 1; 0: as a session would cut it)"
    sub.add_argument("--packets", type=int, default=1, choices=range(65), metavar="K", help=packets)
    sub.add_argument("--anchors", type=names_of(ANCHORS), default=DEFAULT_ANCHORS, help=f"of {', '.join(ANCHORS)}")
    sub.add_argument("--reuse", type=Path, metavar="FILE", help="take the anchors' points from an earlier --json")
    sub.add_argument("--plot", type=Path, metavar="FILE.png")

    sub = commands.add_parser("speed", parents=[common], help="frames per second, by stage")
    sub.set_defaults(run=run_speed)
    sub.add_argument("--q", type=levels, default=(32,), help="one q (default 32)")
    sub.add_argument("--sizes", type=sizes, default=speed.SIZES, help="default 448x256,640x360,1280x720")
    loss_cli.add_commands(commands, common)
    congestion.add_command(commands)
    fec.add_command(commands)
    actions.add_command(commands)
    session.add_command(commands, common)
    wire_speed.add_command(commands)
    replay_speed.add_command(commands)
    soak.add_command(commands)
    webrtc_speed.add_command(commands)
    viewers.add_command(commands)
    return parser


def run_rd(args: argparse.Namespace, console: Console) -> dict:
    """`lrae-bench rd`: measure, print, plot."""
    clips = find_clips(args.clips or "sample")
    reuse = read_json(args.reuse) if args.reuse else None
    fresh = 0 if reuse else len(args.anchors) * len(CRFS)
    with progress(len(clips) * (fresh + len(args.q))) as step:
        result = rd.measure(
            clips,
            args.frames,
            args.model,
            args.q,
            args.anchors,
            packets=args.packets,
            device=args.device,
            reuse=reuse,
            step=step,
        )
    for table in rd_tables(result):
        console.print(table)
    if args.plot:
        plot_rd(result, args.plot)
    return result


def run_speed(args: argparse.Namespace, console: Console) -> dict:
    """`lrae-bench speed`: measure and print."""
    if len(args.q) != 1:
        raise ConfigError("speed takes one q")
    clips = find_clips(args.clips or SPEED_CLIP)
    with progress(len(clips) * len(args.sizes) + 1) as step:
        result = speed.measure(clips, args.frames, args.model, args.q[0], args.sizes, device=args.device, step=step)
    for table in speed_tables(result):
        console.print(table)
    return result


def read_json(path: Path) -> dict:
    """An earlier result. ConfigError: not there, not JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not a result of lrae-bench: {error}") from error


def write_json(path: Path, result: dict) -> None:
    """SinkError where that cannot be."""
    try:
        path.write_text(json.dumps(result, indent=1, default=str) + "\n")
    except OSError as error:
        raise SinkError(f"{path}: {error.strerror}") from error


def bench(argv: Sequence[str] | None) -> None:
    """Parse, measure, print, write."""
    args = build_parser().parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    result = args.run(args, Console())
    if args.json:
        arguments = {key: value for key, value in vars(args).items() if key not in ("run", "json")}
        write_json(args.json, {**result, "arguments": arguments, "environment": environment()})


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    return run_main(bench, argv)


if __name__ == "__main__":
    sys.exit(main())
