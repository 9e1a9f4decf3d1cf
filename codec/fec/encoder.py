"""The sender's side of forward error correction: packets of frames to parity packets."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lrae.codec.fec.coverage import protect
from lrae.codec.fec.gf256 import COLUMNS, ROWS, cauchy, product, product_by, reed_solomon, tables
from lrae.codec.fec.plan import Plan
from lrae.codec.types import MAX_PACKETS
from lrae.codec.wire.parity import BLOCK, LENGTH_BYTES, MAX_COVERAGE, MAX_WINDOW, STREAMING, Parity, coverage

MAX_PACKET = 1200  # bytes of a packet that can be protected


@dataclass(eq=False)
class _Sent:
    """A frame that parity packets may still cover. base: its first packet's column. parity: sent with it."""

    number: int
    bits: int
    base: int
    packets: list[bytes]
    parity: int = 0


class FecEncoder:
    """Frames in, parity packets out. Sans IO; remembers the packets of the last MAX_WINDOW frames at most."""

    def __init__(self) -> None:
        self._sent: deque[_Sent] = deque(maxlen=MAX_WINDOW)
        self._column = self._row = 0  # the next of each

    def add(
        self, number: int, packets: Sequence[bytes], plan: Plan, worth: Sequence[float] | None = None
    ) -> list[Parity]:
        """The parity packets to send right after the packets of frame `number`; at most plan.parity.

        number: greater than the one before (otherwise the streaming code starts afresh). packets: up to 64
        of up to 1200 bytes each, as the receiver will hand them to FecDecoder.add. worth: how much each packet
        is missed when lost, any unit; the least worthy may be left out where parity is scarce. None: all equal.
        """
        if len(packets) > MAX_PACKETS or max(map(len, packets), default=0) > MAX_PACKET:
            raise ValueError("too many packets, or too long ones")
        if self._sent and number <= self._sent[-1].number:
            self._sent.clear()
        window = plan.window if plan.scheme == "streaming" else 1
        kept = protect(len(packets), plan.parity, window, plan.loss, worth)
        covered = [packet for packet, keep in zip(packets, kept, strict=True) if keep]
        bits = sum(1 << index for index, keep in enumerate(kept) if keep)
        frame = _Sent(number, bits, self._column, covered)
        self._column = (self._column + len(covered)) % COLUMNS
        self._sent.append(frame)
        if not plan.parity:
            return []
        if plan.scheme == "block":
            return self._block(frame, min(plan.parity, ROWS))
        if plan.scheme == "streaming":
            return self._streaming(frame, plan)
        return []

    def _block(self, frame: _Sent, parity: int) -> list[Parity]:
        if not frame.packets:
            return []
        rows = _matrix(frame.packets)
        payloads = product_by(_block_tables(len(rows), parity), rows)[:parity]
        return [
            Parity(frame.number, BLOCK, row, parity, (frame.bits,), payload.tobytes())
            for row, payload in enumerate(payloads)
        ]

    def _streaming(self, newest: _Sent, plan: Plan) -> list[Parity]:
        window = self._window(newest.number, plan.window)
        packets = [packet for frame in window for packet in frame.packets]
        parity = min(plan.parity, ROWS - sum(frame.parity for frame in window))
        if not packets or parity <= 0:
            return []
        newest.parity = parity
        rows = [(self._row + i) % ROWS for i in range(parity)]
        self._row = (self._row + parity) % ROWS
        base = window[0].base
        columns = (base + np.arange(len(packets))) % COLUMNS
        payloads = product(cauchy(rows, columns), _matrix(packets))
        covered = _bitmaps(window, newest.number)
        return [
            Parity(newest.number, STREAMING, row, base, covered, payload.tobytes())
            for row, payload in zip(rows, payloads, strict=True)
        ]

    def _window(self, number: int, frames: int) -> list[_Sent]:
        """The last frames, oldest first, as many as a parity packet can cover and name."""
        window = [frame for frame in self._sent if frame.number > number - frames]
        while window and (
            not window[0].packets
            or sum(len(frame.packets) for frame in window) > COLUMNS
            or len(coverage(_bitmaps(window, number))) > MAX_COVERAGE
        ):
            window.pop(0)
        return window


@lru_cache(maxsize=16)  # up to 1 MiB each, commonly 10 KiB
def _block_tables(packets: int, parity: int) -> list[np.ndarray]:
    return tables(reed_solomon(packets, parity))


def _bitmaps(window: list[_Sent], number: int) -> tuple[int, ...]:
    """Of every frame from `number` back to the oldest of the window, frames that do not exist included."""
    bits = {frame.number: frame.bits for frame in window}
    return tuple(bits.get(n, 0) for n in range(number, window[0].number - 1, -1))


def framed(packets: Sequence[bytes], length: int) -> list[bytes]:
    """Each packet behind its length, filled with zeros to `length` bytes."""
    room = length - LENGTH_BYTES
    return [len(p).to_bytes(LENGTH_BYTES, "big") + p.ljust(room, b"\0") for p in packets]


def _matrix(packets: Sequence[bytes]) -> np.ndarray:
    """uint8 [K, L] of packets framed as short as fits them all."""
    length = max(map(len, packets)) + LENGTH_BYTES
    return np.frombuffer(b"".join(framed(packets, length)), np.uint8).reshape(len(packets), length)
