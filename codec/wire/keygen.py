"""lrae-keygen: a key that lrae-send and lrae-recv share."""

from __future__ import annotations

import argparse

from lrae.cli import Parser, run_main
from lrae.codec.wire.keys import write_key


def build_parser() -> argparse.ArgumentParser:
    """Every option of the program."""
    parser = Parser(
        prog="lrae-keygen",
        description="Writes a fresh 256-bit key, readable by you alone; bring it to both ends and give it to --key.",
    )
    parser.add_argument("file", metavar="FILE", help="where to")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    return parser


def _main(argv: list[str] | None) -> None:
    args = build_parser().parse_args(argv)
    write_key(args.file, args.force)


def main(argv: list[str] | None = None) -> int:
    """Entry point of lrae-keygen; returns the exit code."""
    return run_main(_main, argv)
