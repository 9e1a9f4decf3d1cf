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
    def renews(self) -> bool:
        """An intra frame that arrived whole, as far as we know: nothing before it matters."""
        return self.encoded.header.intra and self.used in (None, self.complete)

    @property
    def complete(self) -> frozenset[int]:
        return frozenset(range(self.encoded.header.packets))


class ReferenceTracker:
    """Keeps at most `limit` frames that may matter. Once frame n and all before it, since the last intra frame that
    arrived whole, are confirmed and resync() has run, the state kept for n is the receiver's. Where that cannot come
    true any more, an intra frame is asked for when feedback is there, once in `limit` frames.

    initial: the receiver's state before the first frame.
    """

    def __init__(self, initial: State, limit: int = 48) -> None:
        self.state = initial  # what the next frame is to be predicted from
        self.number = 0  # the frame after which `state` stands
        self.needs_intra = True
        self.oldest = initial  # the state before the oldest frame kept
        self._known = True  # it is the receiver's
        self._limit = limit
        self._age = 0  # frames since the last intra frame
        self._frames: deque[_Unconfirmed] = deque()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def forgotten(self) -> bool:
        """A frame was dropped that still matters: its fate was not told, and no intra frame has made up for it."""
        return not self._known and not any(frame.renews for frame in self._frames)

    def sent(self, encoded: EncodedFrame, after: State) -> None:
        """`encoded` is on its way; `after`: the state of a receiver that gets all of it."""
        self._age += 1
        if encoded.header.intra:
            self.needs_intra, self._age = False, 0
        self._frames.append(_Unconfirmed(encoded, after))
        self.state, self.number = after, encoded.header.number
        if len(self._frames) > self._limit:
            self.oldest, self._known = self._frames.popleft().after, False

    def confirm(self, number: int, used: frozenset[int]) -> None:
        """The receiver has decoded frame `number` from the payloads `used` (none: extrapolated).

        What cannot be (another frame, other payloads, something else than was said before) is ignored.
        """
        frame = next((f for f in self._frames if f.encoded.header.number == number), None)
        if frame is None or frame.used is not None or not used <= frame.complete:
            return
        frame.used = used
        frame.stale = used != frame.complete
        lost = not used and frame is self._last_intra()
        if lost or (self.forgotten and self._age >= self._limit):  # not at once: intra frames must not follow in a row
            self.needs_intra = True
        self._drop_known()

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
        state = self._frames[first - 1].after if first else self.oldest
        for frame in frames:
            used = frame.complete if frame.used is None else frame.used
            state = frame.after = state_after(state, frame.encoded, used)
            frame.stale = False
        self.state = state
        self._drop_known()
        return len(frames)

    def _last_intra(self) -> _Unconfirmed | None:
        return next((f for f in reversed(self._frames) if f.encoded.header.intra), None)

    def _first_stale(self) -> int | None:
        """Index of the first loss to replay. What was before an intra frame matters only if that arrived in part."""
        first = None
        for index, frame in enumerate(self._frames):
            if frame.renews:
                first = None
            elif frame.stale and first is None:
                first = index
        return first

    def _drop_known(self) -> None:
        """Drops the frames at the front that no replay will need."""
        whole = next((f for f in reversed(self._frames) if f.encoded.header.intra and f.used == f.complete), None)
        if whole is not None:
            self._known = True
            while self._frames[0] is not whole:
                self._frames.popleft()
        while self._frames and self._frames[0].used is not None and not self._frames[0].stale:
            self.oldest = self._frames.popleft().after
