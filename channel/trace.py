"""Reads trace files, whole, line by line or as AlphaRTC's steps, bounded in size, with errors that name the line."""

from __future__ import annotations

import json
from collections.abc import Iterator

from lrae.errors import TraceError

MAX_TRACE_BYTES = 64 << 20


def trace_bytes(path: str) -> bytes:
    """A whole trace file. Raises TraceError if it cannot be read or is larger than 64 MiB."""
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_TRACE_BYTES + 1)
    except OSError as error:
        raise TraceError(f"cannot read trace {path}: {error.strerror}") from None
    if len(raw) > MAX_TRACE_BYTES:
        raise TraceError(f"{path}: larger than {MAX_TRACE_BYTES >> 20} MiB, not a trace")
    return raw


def trace_lines(path: str) -> Iterator[tuple[int, str]]:
    """(line number from 1, stripped text) of every line that is neither empty nor a `#` comment.

    Raises TraceError if the file cannot be read, is not text, is larger than 64 MiB or has no such line.
    """
    found = False
    for number, line in enumerate(trace_bytes(path).split(b"\n"), start=1):
        try:
            text = line.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise TraceError(f"{path}, line {number}: not text") from None
        if text and not text.startswith("#"):
            found = True
            yield number, text
    if not found:
        raise TraceError(f"{path}: the trace is empty")


def alphartc_steps(path: str) -> Iterator[tuple[int, int, dict]]:
    """OpenNetLab's AlphaRTC JSON: (step number from 1, its duration in ns, all it says) of uplink.trace_pattern.

    Raises TraceError with file and step, or if there is no step.
    """
    try:
        steps = json.loads(trace_bytes(path))["uplink"]["trace_pattern"]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise TraceError(f"{path}: not JSON with uplink.trace_pattern") from None
    if not (isinstance(steps, list) and steps):
        raise TraceError(f"{path}: uplink.trace_pattern is not a list of steps")
    for number, step in enumerate(steps, start=1):
        duration = step.get("duration") if isinstance(step, dict) else None
        if type(duration) not in (int, float) or not 0.001 <= duration <= 1e10:
            raise TraceError(f"{path}, step {number}: expected `duration`, a number of ms above 0")
        yield number, round(duration * 1e6), step


def shown(text: str) -> str:
    """A piece of a user's file as it may stand in an error message: quoted, short."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
