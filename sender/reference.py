"""What the receiver really has: unconfirmed frames, and the replay that turns a guess into knowledge.

    sent       0     1     2       3   4     assumed: everything arrives
    confirmed  all   all   {0, 2}            -> replay 2 with {0, 2}, 3 and 4 in full; predict 5 from that
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lrae.codec.types import EncodedFrame

State = Any
StateAfter = Callable[[State, EncodedFrame, frozenset[int]], State]


@dataclass
class _Unconfirmed:
    encoded: EncodedFrame
    after: State  # the receiver's state after this frame, as far as we know
    used: frozenset[int] | None = None  # None: not known yet, assumed complete
    stale: bool = False  # `used` is known and not what `after` was computed with

    @property
    def complete(self) -> frozenset[int]:
        return frozenset(range(self.encoded.header.packets))


class ReferenceTracker:
    """Keeps at most `limit` unconfirmed frames. Once frame n and all before it, since the last intra frame,
    are confirmed and resync() has run, the state kept for n is the receiver's."""

    def __init__(self, limit: int = 48) -> None:
        self.state: State = None  # what the next frame is to be predicted from
        self.number = 0  # the frame after which `state` stands
        self.needs_intra = True
        self._limit = limit
        self._before: State = None  # the state before the oldest unconfirmed frame
        self._frames: deque[_Unconfirmed] = deque()
        self._forgotten = False  # an unconfirmed frame had to be dropped

    def __len__(self) -> int:
        return len(self._frames)

    def sent(self, encoded: EncodedFrame, after: State) -> None:
        """`encoded` is on its way; `after`: the state of a receiver that gets all of it."""
        if encoded.header.intra:
            self._frames.clear()  # nothing before it matters to what comes
            self._forgotten = self.needs_intra = False
        self._frames.append(_Unconfirmed(encoded, after))
        self.state, self.number = after, encoded.header.number
        if len(self._frames) > self._limit:
            self._before = self._frames.popleft().after
            self._forgotten = True

    def confirm(self, number: int, used: frozenset[int]) -> None:
        """The receiver has decoded frame `number` from the payloads `used` (none: extrapolated)."""
        frame = next((f for f in self._frames if f.encoded.header.number == number), None)
        if frame is None or frame.used is not None:
            return
        frame.used = used
        frame.stale = used != frame.complete
        if self._forgotten or (frame.encoded.header.intra and not used):
            self.needs_intra = True
        self._drop_confirmed()

    @property
    def replay_cost(self) -> int:
        """How many state_after calls resync() would make now."""
        stale = self._first_stale()
        return 0 if stale is None else len(self._frames) - stale

    def resync(self, state_after: StateAfter) -> int:
        """Replays from the first loss that `state` does not know of. Returns how many frames."""
        first = self._first_stale()
        if first is None:
            return 0
        frames = list(self._frames)[first:]
        state = self._frames[first - 1].after if first else self._before
        for frame in frames:
            used = frame.complete if frame.used is None else frame.used
            state = frame.after = state_after(state, frame.encoded, used)
            frame.stale = False
        self.state = state
        self._drop_confirmed()
        return len(frames)

    def _first_stale(self) -> int | None:
        return next((i for i, frame in enumerate(self._frames) if frame.stale), None)

    def _drop_confirmed(self) -> None:
        while self._frames and self._frames[0].used is not None and not self._frames[0].stale:
            self._before = self._frames.popleft().after
