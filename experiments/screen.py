"""What a viewer sees of a session: the picture on screen whenever a frame of the clip is due, and how it came about.

The display delays every frame alike: frame i is due at its capture time plus the viewing delay. It shows frame i if
that was on the receiver's screen by then, else the newest earlier one. What never came, was skipped by the encoder
or came too late is so an older picture, measured against the frame that should be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrae.codec.types import Frame
from lrae.experiments.clips import Clip
from lrae.experiments.virtual import Outcome, Shown

STATES = ("whole", "partial", "extrapolated", "late", "still", "frozen")
EPSILON = 1e-6  # seconds; virtual times are sums of floats


@dataclass(frozen=True, eq=False)
class Instant:
    """One frame of the clip is due.

    index: of that frame. time: when it is due, seconds of virtual time. source: index of the frame whose picture is on
    screen, None before the first one (the screen is grey). shown: how that came, None likewise. picture: on screen.
    delay: seconds from the capture of frame `index` until it or a newer picture was first on the receiver's screen; if
    none ever was: until the last instant of the clip, at least so long.

    state: one of STATES. whole, partial, extrapolated: frame `index` itself, from all its packets, from some, from none
    but the past. late: an older frame, newer than at the instant before. frozen: the picture of the instant before, bit
    for bit, though the clip has moved on (a decoder that repeats its last picture counts as frozen, a frame that came
    whole and looks the same does not). still: the same picture where the clip shows the same, too.
    """

    index: int
    time: float
    source: int | None
    shown: Shown | None
    picture: Frame
    delay: float
    state: str


def same(a: Frame, b: Frame) -> bool:
    """Whether two pictures are equal, bit for bit."""
    return a is b or all(np.array_equal(p, q) for p, q in ((a.y, b.y), (a.u, b.u), (a.v, b.v)))


def blank(like: Frame) -> Frame:
    """A screen on which nothing has been shown yet: mid-grey, what decoders show before their first picture."""
    return Frame(*(np.full_like(plane, 128) for plane in (like.y, like.u, like.v)))


def came_whole(shown: Shown) -> bool:
    """Whether a frame was decoded from all its packets."""
    return shown.decoded.complete and bool(shown.decoded.used)


def frames_shown(outcome: Outcome) -> list[tuple[int, Shown]]:
    """(frame of the clip, how it was shown) in order."""
    return [(outcome.sent[shown.number][0], shown) for shown in outcome.shown if shown.number in outcome.sent]


def new_pictures(clip: Clip, outcome: Outcome) -> list[bool]:
    """Of each of frames_shown(): whether it is a picture of its own. It is not if it equals the picture before it
    although the clip has moved, unless it came whole."""
    result: list[bool] = []
    before, before_index = blank(clip.frames[0]), None
    for index, shown in frames_shown(outcome):
        picture = shown.decoded.frame
        new = came_whole(shown) or not same(picture, before)
        if not new and before_index is not None:
            new = same(clip.frames[index], clip.frames[before_index])
        result.append(new)
        before, before_index = picture, index
    return result


def undecodable(clip: Clip, outcome: Outcome) -> int:
    """Frames sent that never made a new picture: not shown, or shown as a copy of the picture before."""
    return len(outcome.sent) - sum(new_pictures(clip, outcome))


def on_screen(clip: Clip, outcome: Outcome, viewing_delay: float) -> list[Instant]:
    """One Instant for each frame of the clip. viewing_delay: seconds from capture until a frame is due on screen."""
    fps, count = float(clip.format.fps), len(clip.frames)
    first = min((capture - index / fps for index, _, capture in outcome.sent.values()), default=0.0)
    captures = first + np.arange(count) / fps
    delays = _delays(clip, outcome, captures, float(captures[-1] + viewing_delay))
    screen: list[Instant] = []
    coming, following = frames_shown(outcome), 0
    newest, source, picture = None, None, blank(clip.frames[0])
    for index, (frame, capture, delay) in enumerate(zip(clip.frames, captures.tolist(), delays, strict=True)):
        due = capture + viewing_delay
        while following < len(coming) and coming[following][0] <= index and coming[following][1].time <= due + EPSILON:
            source, newest = coming[following]
            following += 1
        before, picture = picture, picture if newest is None else newest.decoded.frame
        moved = index == 0 or not same(frame, clip.frames[index - 1])
        repeated = same(picture, before)
        state = _state(newest, source == index, repeated, moved)
        screen.append(Instant(index, due, source, newest, picture, delay, state))
    return screen


def _state(shown: Shown | None, due: bool, repeated: bool, moved: bool) -> str:
    if due and came_whole(shown):
        return "whole"
    if repeated:
        return "frozen" if moved else "still"
    if not due:
        return "late"
    return "partial" if shown.decoded.used else "extrapolated"


def _delays(clip: Clip, outcome: Outcome, captures: np.ndarray, end: float) -> list[float]:
    """Of each frame of the clip, as Instant.delay says. end: of the run, seconds."""
    at = np.full(len(captures), np.inf)
    for (index, shown), new in zip(frames_shown(outcome), new_pictures(clip, outcome), strict=True):
        if new:
            at[index] = min(at[index], shown.time)
    soonest = np.minimum.accumulate(at[::-1])[::-1]  # of this frame or any newer one
    soonest[np.isinf(soonest)] = end
    return (soonest - captures).tolist()


def gaps(screen: Sequence[Instant], fps: float) -> list[float]:
    """Seconds between pictures that are not frozen, from one frame before the clip to one after it."""
    moving = [-1, *(instant.index for instant in screen if instant.state != "frozen"), len(screen)]
    return (np.diff(moving) / fps).tolist()
