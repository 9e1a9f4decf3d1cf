"""Unequal protection: which packets of a frame parity is spent on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import comb


def protect(packets: int, parity: int, window: int, loss: float, worth: Sequence[float] | None) -> list[bool]:
    """Which of a frame's packets are covered.

    The most worthy s of them, s such that the worth expected to be recovered is the greatest: fewer packets
    share the same parity, so each is recovered more surely. Losses are taken as independent, of probability
    `loss`. All where worth is None, or where parity is not scarcer than packets.
    """
    if worth is None or not 0 < parity < packets:
        return [True] * packets
    order = sorted(range(packets), key=lambda i: (-worth[i], i))
    best, most, total = packets, 0.0, 0.0
    for size, index in enumerate(order, 1):
        total += max(worth[index], 0.0)
        value = total * recovered(size * window, parity * window, loss)
        if value >= most * (1 - 1e-9):
            best, most = size, value
    kept = frozenset(order[:best])
    return [i in kept for i in range(packets)]


@lru_cache(maxsize=4096)
def recovered(packets: int, parity: int, loss: float) -> float:
    """Probability that a lost packet of an MDS code is recovered: at most parity - 1 others of the code are lost."""
    others = packets + parity - 1
    return sum(comb(others, k) * loss**k * (1 - loss) ** (others - k) for k in range(parity))
