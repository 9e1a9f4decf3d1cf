"""How much parity pays: the losses of late replayed against every plan, and the price of what stays lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import product

import numpy as np

from lrae.codec.fec import MAX_WINDOW, Plan
from lrae.sender.fec_replay import replay
from lrae.sender.retransmit import SHARE as RESENT
from lrae.sender.retransmit import Retransmitter

MEMORY = 1000  # datagrams whose fate is remembered: about 10 s at 1 Mbit/s, 20 s at 400 kbit/s
RECENT, RECENT_FRAMES = 48, 12  # the short memory: datagrams, but at least so many frames with their parity
EVERY, EVERY_FRAMES = 24, 6  # new datagrams, and frames, for another choice
TRUST = 50.0  # dB times datagrams by which one memory must have done better to count e times as much as the other
MOST = 2.0  # times TRUST: more than that does not count, as the path may change
ENOUGH = 16  # datagrams to know before the first parity
FEW = 300  # datagrams; where fewer are known, independent losses of the same rate stand in for the others
FIRST_FRAME, FIRST = 3 / 4, 1 / 2  # share of parity of the first frame, on which all build, and of the next
MARGIN = 0.2  # dB by which another plan must be better than the present one
SHARES = (1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1, 3 / 2, 2)  # parity packets per packet
WINDOWS = (1, 2, 3, 4, 6, 8)  # frames; 1: block
PLANS = ((0.0, 1), *product(SHARES, WINDOWS))
BEYOND = 2  # a window may have so many frames more than can be waited for: most of it is repaired before its end
FRAMES = 48  # whose sizes are remembered
HEADERS = 52  # bytes of a DATA datagram beside the payload: DATA, envelope, UDP and IP
PARITY_HEADERS = 64  # bytes of a PARITY datagram beyond the longest payload that it covers
DELAY = 0.03  # seconds of the deadline that sending and decoding take
# Prices in dB of PSNR-YUV at a given rate of all datagrams, from sessions with deadline and feedback of 36 to 43 dB
# without loss (docs/transport.md). Losses cost more than in docs/loss.md: a report of what is lost waits for the
# deadline. Damage is the root of the share of a frame that is lost, in the mean of all frames: half a frame lost is 0.7
# of what a whole one is, and a burst costs less than as many losses here and there.
DOUBLING = 2.3  # dB that twice the bits buy
LOST = 30.0  # dB, if all frames were lost
TOLD, AGE = 0.15, 2.5  # s, 1/s: the round trip that these are for; how much more a loss costs for each second beyond it
PARITY, WAITING = 0.1, 0.15  # dB: of having parity at all; of each frame that the damaged ones wait for it


def price_of_bits(extra: np.ndarray) -> np.ndarray:
    """What 1 + extra times the bits would buy, dB."""
    return DOUBLING * np.log2(1 + extra)


def price_of_loss(damage: np.ndarray) -> np.ndarray:
    """dB that it costs. damage: mean of the roots of the shares of the frames that stay lost."""
    return LOST * damage


def _filled(lost: np.ndarray) -> np.ndarray:
    """The pattern, before it independent losses of the same rate, as many as make it FEW."""
    missing = max(0, FEW - len(lost))
    return np.append(np.random.default_rng(missing).random(missing) < lost.mean(), lost)


class FrameSizes:
    """The packets of the last FRAMES frames: how many, and how much longer a parity packet is than they are."""

    def __init__(self) -> None:
        self._frames: deque[tuple[int, int, int]] = deque(maxlen=FRAMES)  # packets, bytes, longest

    def add(self, sizes: Sequence[int]) -> None:
        """The payloads of the next frame, in bytes."""
        self._frames.append((len(sizes), sum(sizes), max(sizes, default=0)))

    @property
    def packets(self) -> int:
        """Per frame, at least 1."""
        return max(1, round(sum(count for count, _, _ in self._frames) / max(1, len(self._frames))))

    def longer(self, window: int) -> float:
        """The mean datagram of parity, as long as the longest packet of a window of frames, over that of media."""
        counts, totals, longest = np.array(self._frames, float).reshape(-1, 3).T
        if not counts.sum():
            return 1.0
        window = min(window, len(longest))
        covered = np.lib.stride_tricks.sliding_window_view(longest, window).max(axis=1)
        return float(covered.mean() + PARITY_HEADERS) / float(totals.sum() / counts.sum() + HEADERS)


class AdaptiveFec:
    """Chooses the plan that costs the least, in dB: its bits, and what stays lost. Often that is no parity at all.

    What will be lost is what was: of the last MEMORY datagrams, or of the last few. Which of these memories counts is
    weighed by what the plans that each would have chosen cost in what came after (prediction with expert advice that
    may become good again, Herbster and Warmuth 1998).

    retransmit: lost packets are sent again where they can still be in time, so parity has to better that.
    share, window: of the plan in force; share 0: none. cost: its dB when it was last looked at. loss: share of
    the datagrams lost then.
    """

    def __init__(self, retransmit: bool = True) -> None:
        self.share, self.window, self.cost, self.loss = FIRST, 1, 0.0, 0.0
        self._retransmit = retransmit
        self._lost: deque[bool] = deque(maxlen=MEMORY)
        self._owed: float | None = None  # parity packets; None before the first frame
        self._sizes = FrameSizes()
        self._fresh = 0  # datagrams since the last choice
        self._slack: int | None = None
        self._chosen: int | None = None  # of PLANS
        self._favourites = np.zeros(2, int)  # of PLANS, that of each memory
        self._scores = np.zeros(2)  # what these have cost lately, more than the other
        self._replay(np.zeros(1, bool), 1, 0, [0])  # compiles it, before the stream begins

    def observe(self, lost: Sequence[bool]) -> None:
        """The fate of the next datagrams, in the order of sending."""
        self._lost.extend(lost)
        self._fresh += len(lost)

    def plan(self, sizes: Sequence[int], rtt: float | None, deadline: float, interval: float) -> Plan:
        """What to add to a frame of packets of so many bytes. rtt (None: not known), deadline, interval: seconds."""
        self._sizes.add(sizes)
        slack = min(MAX_WINDOW - 1, max(0, int((deadline - DELAY) / interval)))
        changed = slack != self._slack or self._fresh >= max(EVERY, EVERY_FRAMES * self._per_frame)
        if changed and len(self._lost) >= ENOUGH:
            again = self._retransmit and Retransmitter.wait(rtt, interval, deadline) > 0
            self._choose(slack, again, rtt)
            self._fresh, self._slack = 0, slack
        if not self.share:
            return Plan()
        self._owed = max(1, FIRST_FRAME * len(sizes)) if self._owed is None else self._owed + self.share * len(sizes)
        parity = int(self._owed + 1e-9)
        self._owed -= parity
        return Plan("streaming" if self.window > 1 else "block", parity, self.window, self.loss)

    @property
    def _per_frame(self) -> float:
        return self._sizes.packets * (1 + self.share)

    def _choose(self, slack: int, again: bool, rtt: float | None) -> None:
        lost = _filled(np.fromiter(self._lost, bool, len(self._lost)))
        fresh = self._fresh
        recent = max(RECENT, round(RECENT_FRAMES * self._per_frame))
        costs = self._costs(lost, [fresh, recent, MEMORY], slack, again, rtt)
        self._scores += fresh * costs[self._favourites, 0] / TRUST
        self._scores = np.minimum(MOST, self._scores - self._scores.min())
        weights = np.exp(-self._scores)
        weights /= weights.sum()
        costs[[window > slack + BEYOND for _, window in PLANS]] = np.inf
        self._favourites = costs[:, 1:].argmin(axis=0)
        expected = costs[:, 1:] @ weights
        self.loss = float(weights @ [lost[-recent:].mean(), lost.mean()])
        best = int(expected.argmin())
        if self._chosen is None or expected[best] < expected[self._chosen] - MARGIN:
            self._chosen, (self.share, self.window), self._owed = best, PLANS[best], 0.0
        self.cost = float(expected[self._chosen])

    def _costs(self, lost: np.ndarray, last: Sequence[int], slack: int, again: bool, rtt: float | None) -> np.ndarray:
        """dB [plans, len(last)], if the last so many datagrams are typical."""
        packets = self._sizes.packets
        frames, left, damage = np.moveaxis(self._replay(lost, packets, slack, len(lost) - np.array(last)), -1, 0)
        frames = np.maximum(1, frames)
        left, damage = left / (frames * packets), damage / frames
        share, window = np.array(PLANS).T[:, :, None]
        longer = {each: self._sizes.longer(each) for each in WINDOWS}
        bits = share * np.array([[longer[each]] for _, each in PLANS])
        waiting = (share > 0) * (PARITY + WAITING * (window - 1) * damage[0])
        if again:
            arrive = np.minimum(left, RESENT) * (1 - lost.mean())
            bits = bits + np.minimum(left, RESENT)
            damage = damage * (1 - arrive / np.maximum(left, 1e-9))
        dearer = 1.0 if rtt is None else max(0.5, 1 + AGE * (rtt - TOLD))  # older news, longer damage
        return price_of_bits(bits) + dearer * price_of_loss(damage) + waiting

    @staticmethod
    def _replay(lost: np.ndarray, packets: int, slack: int, starts: Sequence[int]) -> np.ndarray:
        shares, windows = np.array(PLANS).T
        return replay(lost, packets, shares.copy(), windows.astype(int), slack, np.array(starts, int))
