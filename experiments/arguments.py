"""What lrae-bench's options are made of; each raises what argparse turns into one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection

from lrae.codec.types import Q_LEVELS
from lrae.sender.source import parse_size


def count(text: str) -> int:
    """A number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def levels(text: str) -> tuple[int, ...]:
    """Comma-separated q, in order."""
    values = tuple(sorted({int(word) for word in text.split(",")}))
    if values[0] < 0 or values[-1] >= Q_LEVELS:
        raise argparse.ArgumentTypeError(f"q is 0 to {Q_LEVELS - 1}")
    return values


def rates(text: str) -> tuple[float, ...]:
    """Comma-separated loss rates, 0 to below 1, in order."""
    values = tuple(sorted({float(word) for word in text.split(",")}))
    if not all(0 <= value < 1 for value in values):
        raise argparse.ArgumentTypeError("a loss rate is from 0 to below 1")
    return values


def names_of(known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Comma-separated names, all of them known."""

    def parse(text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(text.split(",")))
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
        return names

    return parse


def sizes(text: str) -> tuple[tuple[int, int], ...]:
    """Comma-separated WIDTHxHEIGHT."""
    return tuple(parse_size(word) for word in text.split(","))
