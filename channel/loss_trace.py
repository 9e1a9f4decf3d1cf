"""Recorded losses, datagram by datagram."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from lrae.channel.trace import shown, trace_lines
from lrae.errors import TraceError


@dataclass(frozen=True)
class LossTrace:
    """A recorded pattern, one datagram per entry, from its beginning; starts over when exhausted.

    pattern: one byte per datagram, 0 = arrived, 1 = lost. name: the file, for messages.
    """

    pattern: bytes = field(repr=False)
    name: str = ""

    def __post_init__(self):
        if not self.pattern or max(self.pattern) > 1:
            raise TraceError(f"{self.name}: a loss trace is a non-empty list of 0 and 1")

    @property
    def mean(self) -> float:
        return sum(self.pattern) / len(self.pattern)

    @property
    def mean_burst(self) -> float:
        lost = np.frombuffer(self.pattern, np.uint8)
        bursts = np.count_nonzero(lost & ~np.roll(lost, 1))  # the trace repeats: its end meets its beginning
        if bursts:
            return float(lost.sum() / bursts)
        return math.inf if lost[0] else 0.0

    def outcomes(self, rng: object) -> Iterator[bool]:
        """rng is not drawn from."""
        return map(bool, itertools.cycle(self.pattern))

    def __str__(self) -> str:
        return f"trace:{self.name}"


def read_loss_trace(path: str) -> LossTrace:
    """A CSV with a header that names a column `lost` (0/1 per datagram), or a plain list of 0 and 1.

    The plain list may stand on one line or many, with or without spaces and commas. A line that starts with
    `#` is a comment. Raises TraceError with file and line.
    """
    lines = trace_lines(path)
    first = next(lines)
    number, text = first
    header = [name.strip().lower() for name in text.split(",")]
    pattern = bytearray()
    if "lost" in header:
        for number, text in lines:
            pattern.append(lost_cell(path, number, text.split(","), header.index("lost")))
        if not pattern:
            raise TraceError(f"{path}, line {number}: nothing below the header")
    else:
        for number, text in itertools.chain([first], lines):
            digits = re.sub(r"[\s,]", "", text)
            if not re.fullmatch(r"[01]+", digits):
                raise TraceError(f"{path}, line {number}: {shown(text)} is not a list of 0 and 1")
            pattern += digits.encode().translate(_DIGIT_TO_BIT)
    return LossTrace(bytes(pattern), path)


def lost_cell(path: str, number: int, cells: list[str], column: int) -> bool:
    """What a row says of its datagram in column `lost`. Raises TraceError with file and line."""
    cell = cells[column].strip() if column < len(cells) else ""
    if cell not in ("0", "1"):
        raise TraceError(f"{path}, line {number}: column 'lost' is {shown(cell)}, expected 0 or 1")
    return cell == "1"


_DIGIT_TO_BIT = bytes.maketrans(b"01", b"\x00\x01")
