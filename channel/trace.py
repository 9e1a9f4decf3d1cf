"""Reads trace files, whole or line by line, bounded in size, with errors that name the file and the line."""

from __future__ import annotations

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


def shown(text: str) -> str:
    """A piece of a user's file as it may stand in an error message: quoted, short."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
