"""A decoder with its state that can take back its last frames: late packets mend the state."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from lrae.codec.api import Decoder
from lrae.codec.types import DecodedFrame
from lrae.receiver.jitter import MENDABLE, ReadyFrame


class MendingDecoder:
    """Feed the frames of a stream in order. state: after the newest of them.

    A decoder that has an attribute `sequential` and says True there cannot go back: nothing is mended.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.state: Any = decoder.initial_state()
        self._decoder = decoder
        self._sequential = getattr(decoder, "sequential", False)
        self._past: deque[tuple[Any, ReadyFrame]] = deque(maxlen=MENDABLE)  # (state before it, frame)

    def decode(self, frame: ReadyFrame) -> DecodedFrame:
        """The next frame, from what arrived of it."""
        if self._past and self._past[-1][1].number != frame.number - 1:
            self._past.clear()
        if not self._sequential:
            self._past.append((self.state, frame))
        decoded, self.state = self._decoder.decode(self.state, frame.header, frame.payloads, frame.capture)
        return decoded

    def passes(self, frames: Sequence[ReadyFrame]) -> int:
        """How many frames mend() would decode; 0 where all of `frames` are too far back."""
        numbers = {frame.number for frame in frames}
        return next((len(self._past) - at for at, (_, past) in enumerate(self._past) if past.number in numbers), 0)

    def mend(self, frames: Sequence[ReadyFrame]) -> dict[int, frozenset[int]]:
        """Makes the state what it would be had these frames been what they are now when they were decoded: decodes
        them and all since once more. Returns the payloads used, by number, of those that were not too far back.
        """
        now, used = {frame.number: frame for frame in frames}, {}
        first = len(self._past) - self.passes(frames)
        for at in range(first, len(self._past)):
            before, frame = self._past[at]
            state = before if at == first else self.state
            frame = now.get(frame.number, frame)
            self._past[at] = state, frame
            decoded, self.state = self._decoder.decode(state, frame.header, frame.payloads, frame.capture)
            if frame.number in now:
                used[frame.number] = decoded.used
        return used
