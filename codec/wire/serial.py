"""32-bit serial numbers that wrap around (RFC 1982)."""

from __future__ import annotations

WRAP = 1 << 32
_HALF = 1 << 31


def wrap(value: int) -> int:
    """The 32 bits of `value` that travel."""
    return value % WRAP


def difference(a: int, b: int) -> int:
    """a - b on the circle, in [-2^31, 2^31): positive if a is newer."""
    return (a - b + _HALF) % WRAP - _HALF


def unwrap(value: int, near: int) -> int:
    """The unbounded integer with the 32 bits `value` that lies nearest to the unbounded `near`."""
    return near + difference(value, near)


def unwrap16(value: int, near: int) -> int:
    """The unbounded integer with the low 16 bits `value` that lies nearest to the unbounded `near`."""
    return near + (value - near + 0x8000) % 0x10000 - 0x8000
