"""The compiler of the codec's inner loops: numba, kept on disk after the first run.

A kernel sees numpy arrays and numbers only and holds no interpreter lock, so that other threads run beside it. No
fast-math: a kernel gives the same floats on every machine. Compiled code lies in __pycache__ beside the source, or in
the user's cache folder where that may not be written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numba


def _sources() -> str:
    """A digest of codec/ and models/."""
    here = Path(__file__).parent
    files = [file for folder in (here, here.parent / "models") for file in sorted(folder.glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


SOURCES = _sources()


def _compiler(**options: str) -> Callable:
    def compiled(function: Callable) -> Callable:
        made = numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
        # What is kept holds the constants and kernels of other modules too, but numba compares only the function's own
        # file: without this a changed range coder would leave its callers as they were.
        file = made._cache._cache_file
        file._source_stamp = file._source_stamp, SOURCES
        return made

    return compiled


kernel = _compiler()
inline = _compiler(inline="always")
