"""lrae-replay: sessions of LRAE and of conventional codecs over a matrix of networks, and what comes of them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console

from lrae.cli import Parser, run_main
from lrae.experiments import fit
from lrae.experiments.replay import report, run
from lrae.experiments.replay.table import replace_file


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = Parser(prog="lrae-replay", description="Replay sessions in virtual time: same seed, same result.")
    commands = parser.add_subparsers(dest="command", required=True)
    for module in (run, report, fit):
        module.add_command(commands)
    return parser


def replay(argv: Sequence[str] | None) -> int:
    """Parse and do; returns the exit code."""
    args = build_parser().parse_args(argv)
    if args.command != "fit":
        return args.run(args)
    result = args.run(args, Console())  # in the shape of the subcommands of lrae-bench
    if args.json:
        replace_file(args.json, json.dumps(result, indent=1) + "\n")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    return run_main(replay, argv)


if __name__ == "__main__":
    sys.exit(main())
