"""Forward error correction: block and streaming codes over a frame's packets. No torch, no sockets, no clocks."""

from __future__ import annotations

from lrae.codec.fec.decoder import FecDecoder, Recovered
from lrae.codec.fec.encoder import MAX_PACKET, FecEncoder
from lrae.codec.fec.plan import SCHEMES, Plan
from lrae.codec.wire.parity import MAX_WINDOW, PARITY_OVERHEAD, Parity

OVERHEAD = PARITY_OVERHEAD  # a PARITY body is at most so much longer than the longest packet that it covers

__all__ = [
    "MAX_PACKET",
    "MAX_WINDOW",
    "OVERHEAD",
    "SCHEMES",
    "FecDecoder",
    "FecEncoder",
    "Parity",
    "Plan",
    "Recovered",
]
