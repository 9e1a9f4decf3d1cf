"""The compiler of the codec's inner loops: numba, kept on disk after the first run.

A kernel sees numpy arrays and numbers only and holds no interpreter lock, so that other threads run beside it. No
fast-math: a kernel gives the same floats on every machine. Compiled code lies in __pycache__ beside the source, or in
the user's cache folder where that may not be written.
"""

from __future__ import annotations

import numba

kernel = numba.njit(cache=True, nogil=True, error_model="numpy")
inline = numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
