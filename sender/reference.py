"""What the receiver really has: frames, what is known of them, and the replay that turns a guess into knowledge.

    sent       0     1     2       3   4     assumed: everything arrives
    confirmed  all   all   {0, 2}            -> replay 2 with {0, 2}, 3 and 4 in full; predict 5 from that
    later            {0, 1, 2}: mended       -> replay 2, 3 and 4 once more
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lrae.codec.types import EncodedFrame

State = Any
StateAfter = Callable[[State, EncodedFrame, frozenset[int]], State]
SETTLED = 16  # frames kept although they are known, for late packets may still mend them: as many as FEEDBACK names
REMEMBERED = 64  # frames beyond those kept: what we believed of them


@dataclass
class _Sent:
    encoded: EncodedFrame
    after: State  # the receiver's state after this frame, as far as we know
    assumed: frozenset[int]  # what `after` was computed with
    used: frozenset[int] | None = None  # None: not known yet, assumed complete

    @property
    def complete(self) -> frozenset[int]:
        return self.encoded.sent

    @property
    def believed(self) -> frozenset[int]:
        return self.complete if self.used is None else self.used

    @property
    def renews(self) -> bool:
        """An intra frame that arrived whole, as far as we know: nothing before it matters."""
        return self.encoded.header.intra and self.believed == self.complete

    @property
    def stale(self) -> bool:
        """`after` is not what it should be, whatever was before."""
        return self.believed != self.assumed


class ReferenceTracker:
    """Keeps at most `limit` frames that may matter. A frame is settled once it and all before it, since the last intra
    frame that arrived whole, are confirmed and resync() has run: then the state kept for it is the receiver's, until
    the receiver says that it has mended one of them. Where that cannot come true any more, an intra frame is asked for
    when feedback is there, once in `limit` frames.

    initial: the receiver's state before the first frame. len(): frames that are not settled.
    """

    def __init__(self, initial: State, limit: int = 48) -> None:
        self.state = initial  # what the next frame is to be predicted from
        self.number = 0  # the frame after which `state` stands
        self.needs_intra = True
        self._before = initial  # the state before the oldest frame kept
        self._known = True  # it is the receiver's
        self._limit = limit
        self._age = 0  # frames since the last intra frame
        self._frames: deque[_Sent] = deque()
        self._settled = 0  # so many of them, from the front
        self._dropped: deque[tuple[int, frozenset[int]]] = deque(maxlen=REMEMBERED)  # (number, what was believed)

    def __len__(self) -> int:
        return len(self._frames) - self._settled

    @property
    def oldest(self) -> State:
        """The state before the oldest frame that is not settled."""
        return self._frames[self._settled - 1].after if self._settled else self._before

    @property
    def forgotten(self) -> bool:
        """A frame was dropped that still matters: its fate was not told, and no intra frame has made up for it."""
        return not self._known and not any(frame.renews for frame in self._frames)

    def sent(self, encoded: EncodedFrame, after: State) -> None:
        """`encoded` is on its way; `after`: the state of a receiver that gets all of it."""
        self._age += 1
        if encoded.header.intra:
            self.needs_intra, self._age = False, 0
        self._frames.append(_Sent(encoded, after, encoded.sent))
        self.state, self.number = after, encoded.header.number
        if len(self._frames) > self._limit:
            self._known = self._known and self._settled > 0
            self._drop_oldest()

    def confirm(self, number: int, used: frozenset[int]) -> float | None:
        """The receiver has decoded frame `number` from the payloads `used` (none: extrapolated), or has decoded it
        again from more than it had told before. Returns the share of the payloads that it misses, where this is news.

        What cannot be (another frame, other payloads, fewer than before) is ignored.
        """
        frame = next((f for f in self._frames if f.encoded.header.number == number), None)
        if frame is None and any(number == gone and used > believed for gone, believed in self._dropped):
            self._known = False  # mended too late for us to follow
            self._wish_intra(False)
        if frame is None or not used <= frame.complete or not (frame.used is None or used > frame.used):
            return None
        frame.used = used
        self._wish_intra(not used and frame is self._last_intra())
        self._settle()
        return 1 - len(used) / len(frame.complete)

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
            state = frame.after = state_after(state, frame.encoded, frame.believed)
            frame.assumed = frame.believed
        self.state = state
        self._settle()
        return len(frames)

    def _wish_intra(self, lost: bool) -> None:
        """lost: the last intra frame was."""
        if lost or (self.forgotten and self._age >= self._limit):  # not at once: intra frames must not follow in a row
            self.needs_intra = True

    def _last_intra(self) -> _Sent | None:
        return next((f for f in reversed(self._frames) if f.encoded.header.intra), None)

    def _first_stale(self) -> int | None:
        """Index of the first frame to replay. What was before an intra frame matters only if that arrived in part."""
        first = None
        for index, frame in enumerate(self._frames):
            if frame.renews:
                first = None
            if frame.stale and first is None:
                first = index
        return first

    def _settle(self) -> None:
        """Finds what is settled, and drops what no replay will need."""
        renewed = (i for i, f in enumerate(self._frames) if f.encoded.header.intra and f.used == f.complete)
        newest = max(renewed, default=None)
        if newest is not None:
            self._known = True
            self._dropped.clear()
            for _ in range(newest):
                self._frames.popleft()
        open_ = (i for i, f in enumerate(self._frames) if f.used is None or f.stale)
        self._settled = next(open_, len(self._frames))
        while self._settled > SETTLED:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        frame = self._frames.popleft()
        self._before = frame.after
        self._dropped.append((frame.encoded.header.number, frame.believed))
        self._settled = max(0, self._settled - 1)
