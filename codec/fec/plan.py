"""What to add to a frame."""

from __future__ import annotations

from dataclasses import dataclass

from lrae.codec.wire.parity import MAX_WINDOW

SCHEMES = ("none", "block", "streaming")


@dataclass(frozen=True)
class Plan:
    """scheme: of SCHEMES. parity: parity packets to send with this frame; 0: it is covered by those of later
    frames only (streaming) or not at all. window: frames that a parity packet covers, its own included. loss:
    share of packets that is expected to be lost, for unequal protection.
    """

    scheme: str = "none"
    parity: int = 0
    window: int = 1
    loss: float = 0.1

    def __post_init__(self):
        fits = self.scheme in SCHEMES and self.parity >= 0 and 1 <= self.window <= MAX_WINDOW and 0 <= self.loss <= 1
        if not fits:
            raise ValueError(f"no such plan: {self}")
