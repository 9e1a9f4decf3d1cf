"""The 64 rates of one model: quantiser step, and how much finer some frames are."""

from __future__ import annotations

from lrae.codec.types import Q_LEVELS

COARSEST_STEP = 96.0  # grey levels of an orthonormal coefficient at q = 0
STEPS_PER_OCTAVE = 12
INTRA_FINER = 12  # q steps: the first frame is inherited by all others
EIGHTH_FINER = 6  # q steps: every 8th frame is inherited by the next seven


def step_of(q: int) -> float:
    """Quantiser step in grey levels (orthonormal 16x16 block transform). q = 0 coarsest … 63 finest."""
    return COARSEST_STEP * 2.0 ** (-q / STEPS_PER_OCTAVE)


def frame_q(q: int, number: int, intra: bool) -> int:
    """The q of one frame of a stream whose nominal rate index is q."""
    finer = INTRA_FINER if intra else EIGHTH_FINER if number % 8 == 0 else 0
    return min(Q_LEVELS - 1, max(0, q + finer))
