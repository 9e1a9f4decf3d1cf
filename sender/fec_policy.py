"""How much parity pays: the losses of late replayed against every plan, and the price of what stays lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf, log2

import numpy as np

from lrae.codec.fec import MAX_WINDOW, Plan
from lrae.sender.retransmit import SHARE as RESENT
from lrae.sender.retransmit import Retransmitter

MEMORY = 1000  # datagrams whose fate is remembered: about 10 s at 1 Mbit/s, 20 s at 400 kbit/s
RECENT, SIGMAS = 48, 4.0  # the last datagrams; if they fared so differently from those before, only they count
ENOUGH = 32  # datagrams to know before the first parity
EVERY = 1 / 16  # of the datagrams known must be new for another choice
FEW = 300  # datagrams; where fewer are known, independent losses of the same rate stand in for the others
FIRST_FRAME, FIRST = 3 / 4, 1 / 2  # share of parity of the first frame, on which all build, and of those before ENOUGH
MARGIN = 0.2  # dB by which another plan must be better than the present one
SHARES = (1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1, 3 / 2, 2)  # parity packets per packet
WINDOWS = (1, 2, 3, 4, 6, 8)  # frames; 1: block
BEYOND = 2  # a window may have so many frames more than can be waited for: most of it is repaired before its end
FRAMES = 48  # whose sizes are remembered
HEADERS = 52  # bytes of a DATA datagram beside the payload: DATA, envelope, UDP and IP
PARITY_HEADERS = 64  # bytes of a PARITY datagram beyond the longest payload that it covers
DELAY = 0.03  # seconds of the deadline that sending and decoding take
# Prices in dB of PSNR-YUV at a given rate of all datagrams, from sessions with deadline and feedback of 36 to 43 dB
# without loss (docs/transport.md). Losses cost more than in docs/loss.md: a frame has 2 or 3 packets, and a report
# of what is lost waits for the deadline.
DOUBLING = 2.3  # dB that twice the bits buy
TOLD, AGE = 0.15, 2.5  # s, 1/s: the round trip that PRICE is for; how much more a loss costs for each second beyond it
PARITY, WAITING = 0.1, 0.15  # dB: of having parity at all; of each frame that the damaged ones wait for it
LOST = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # share of the packets
PRICE = (0.0, 1.7, 3.6, 7.5, 10.0, 14.0, 18.0)  # from 0.5 on: a guess that no choice hangs on


def price_of_bits(extra: float) -> float:
    """What 1 + extra times the bits would buy, dB."""
    return DOUBLING * log2(1 + extra)


def price_of_loss(share: float) -> float:
    """dB that `share` of the packets lost costs."""
    return float(np.interp(share, LOST, PRICE))


class LossHistory:
    """The fate of the last MEMORY datagrams, in the order of sending."""

    def __init__(self) -> None:
        self._lost: deque[bool] = deque(maxlen=MEMORY)

    def __len__(self) -> int:
        return len(self._lost)

    def add(self, lost: Sequence[bool]) -> None:
        self._lost.extend(lost)

    @property
    def pattern(self) -> np.ndarray:
        """bool [n], oldest first."""
        return np.fromiter(self._lost, bool, len(self._lost))

    def forget_past(self) -> None:
        """Keeps the last RECENT alone if so many more or fewer of them were lost that chance hardly explains it: the
        path has become another."""
        lost = self.pattern
        before, recent = lost[:-RECENT], lost[-RECENT:]
        if len(before) < RECENT:
            return
        share = lost.mean()
        deviation = np.sqrt(share * (1 - share) * (1 / len(before) + 1 / RECENT))
        if abs(recent.mean() - before.mean()) > SIGMAS * deviation:
            self._lost = deque(recent.tolist(), maxlen=MEMORY)

    def bursts(self) -> tuple[float, float, float]:
        """(share lost, mean length of a run of losses, mean length of the guard space between runs); 0 where none."""
        lost = self.pattern
        count = int(lost.sum())
        runs = int(np.count_nonzero(lost & ~np.append(False, lost[:-1])))
        return (count / len(lost), count / runs, (len(lost) - count) / runs) if runs else (0.0, 0.0, 0.0)


def still_lost(pattern: np.ndarray, packets: int, share: float, window: int, slack: int) -> float:
    """Share of the media packets that stay lost: frames of `packets`, each followed by its parity, meet `pattern`.

    pattern: bool [n], which datagrams are lost. share: parity packets per packet. window: frames covered by each.
    slack: frames later that a recovered packet still is of use. Counts equations against unknowns ("information
    debt", Rudow and Rashmi 2022): unknown packets are recovered together once as many parity packets have arrived;
    those that leave the window before are lost, and the parity that covered them is wasted.
    """
    frames = int(len(pattern) / (packets * (1 + share)))
    if not frames:
        return float(pattern.mean()) if len(pattern) else 0.0
    parity = np.diff(np.floor(np.arange(frames + 1) * packets * share + 1e-9).astype(int))
    begin = np.append(0, np.cumsum(packets + parity)[:-1])
    sums = np.append(0, np.cumsum(pattern))
    missing = sums[begin + packets] - sums[begin]
    arrived = parity - (sums[begin + packets + parity] - sums[begin + packets])
    lost = debt = 0
    pending: deque[tuple[int, int]] = deque()
    for number, (gone, repair) in enumerate(zip(missing.tolist(), arrived.tolist(), strict=True)):
        if gone:
            pending.append((number, gone))
            debt += gone
        if not pending:
            continue
        debt -= repair
        if debt <= 0:
            lost += sum(count for since, count in pending if number - since > slack)
            pending.clear()
            debt = 0
        elif pending[0][0] <= number - window + 1:
            lost += pending.popleft()[1]
            debt = sum(count for _, count in pending)
    return (lost + debt) / (frames * packets)


def _filled(pattern: np.ndarray) -> np.ndarray:
    """The pattern, before it independent losses of the same rate, as many as make it FEW."""
    missing = max(0, FEW - len(pattern))
    return np.append(np.random.default_rng(missing).random(missing) < pattern.mean(), pattern)


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

    retransmit: lost packets are sent again where they can still be in time, so parity has to better that.
    share, window: of the plan in force; share 0: none. cost: its dB when it was last looked at. loss: share of
    the datagrams lost then.
    """

    def __init__(self, retransmit: bool = True) -> None:
        self.history = LossHistory()
        self.share, self.window, self.cost, self.loss = FIRST, 1, 0.0, 0.0
        self._retransmit = retransmit
        self._owed: float | None = None  # parity packets; None before the first frame
        self._sizes = FrameSizes()
        self._fresh = 0  # datagrams since the last choice
        self._slack: int | None = None

    def observe(self, lost: Sequence[bool]) -> None:
        """The fate of the next datagrams, in the order of sending."""
        self.history.add(lost)
        self._fresh += len(lost)

    def plan(self, sizes: Sequence[int], rtt: float | None, deadline: float, interval: float) -> Plan:
        """What to add to a frame of packets of so many bytes. rtt (None: not known), deadline, interval: seconds."""
        self._sizes.add(sizes)
        slack = min(MAX_WINDOW - 1, max(0, int((deadline - DELAY) / interval)))
        if slack != self._slack or self._fresh >= max(ENOUGH, EVERY * len(self.history)):
            again = self._retransmit and Retransmitter.wait(rtt, interval, deadline) > 0
            self._choose(slack, again, rtt)
            self._fresh, self._slack = 0, slack
        if not self.share:
            return Plan()
        self._owed = FIRST_FRAME * len(sizes) if self._owed is None else self._owed + self.share * len(sizes)
        parity = int(self._owed + 1e-9)
        self._owed -= parity
        return Plan("streaming" if self.window > 1 else "block", parity, self.window, self.loss)

    def _choose(self, slack: int, again: bool, rtt: float | None) -> None:
        self.history.forget_past()
        pattern, packets = self.history.pattern, self._sizes.packets
        if len(pattern) < ENOUGH:
            return
        self.loss = float(pattern.mean())
        pattern = _filled(pattern)
        dearer = 1.0 if rtt is None else max(0.5, 1 + AGE * (rtt - TOLD))  # older news, longer damage
        damaged = 1 - (1 - self.loss) ** packets
        longer = {window: self._sizes.longer(window) for window in WINDOWS if window <= slack + BEYOND}

        def cost(share: float, window: int, most: float) -> float:
            """dB; infinite where it must be more than `most`."""
            bits = share * longer.get(window, inf)
            fixed = (PARITY + WAITING * (window - 1) * damaged) * (share > 0)
            if price_of_bits(bits) + fixed >= most:
                return inf
            left = still_lost(pattern, packets, share, window, slack)
            resent = min(left, RESENT) if again else 0.0
            return price_of_bits(bits + resent) + dearer * price_of_loss(left - resent * (1 - self.loss)) + fixed

        self.cost = cost(self.share, self.window, inf)
        best, choice = self.cost - MARGIN, None
        for share, window in [(0.0, 1), *((share, window) for share in SHARES for window in longer)]:
            if (found := cost(share, window, best)) < best:
                best, choice = found, (share, window)
        if choice:
            (self.share, self.window), self.cost, self._owed = choice, best, 0.0
