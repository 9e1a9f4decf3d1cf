"""What parity would have left lost: the fates of datagrams that were sent, replayed against any plans."""

from __future__ import annotations

import numpy as np

from lrae.codec.jit import kernel


@kernel
def replay(lost, packets, shares, windows, slack, starts):
    """float64 [plans, starts, 3]: how many frames begin at a start or later, how many of their media packets stay lost,
    and the sum of the roots of each frame's share of these. Frames of `packets`, each followed by its parity, meet the
    datagrams `lost`.

    lost: bool [datagrams]. shares float64, windows int64 [plans]: parity packets per packet, frames covered by each.
    slack: frames later that a recovered packet still is of use. starts: int64, indices of datagrams. Frames whose
    packets parity may still bring back at the end of `lost` are not counted.

    Counts equations against unknowns ("information debt", Rudow and Rashmi 2022): unknown packets are recovered
    together once as many parity packets have arrived; those that leave the window before are lost, and the parity that
    covered them is wasted.
    """
    most = len(lost) // packets
    begin, missing, left = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    counts = np.zeros((len(shares), len(starts), 3))
    for plan in range(len(shares)):
        at = frame = oldest = debt = 0  # oldest: frame whose packets may be unknown, while there is a debt
        owed = 1e-9
        while True:
            owed += shares[plan] * packets
            parity = int(owed)
            owed -= parity
            if at + packets + parity > len(lost):
                break
            gone = np.sum(lost[at : at + packets])
            arrived = parity - np.sum(lost[at + packets : at + packets + parity])
            begin[frame], missing[frame], left[frame] = at, gone, gone
            at += packets + parity
            if not debt:
                oldest = frame
            debt += gone
            if debt and debt <= arrived:
                left[max(oldest, frame - slack) : frame + 1] = 0
                debt = 0
            elif debt:
                debt -= arrived
                while not missing[oldest]:
                    oldest += 1
                if oldest <= frame - windows[plan] + 1:
                    oldest += 1
                    debt = min(debt, np.sum(missing[oldest : frame + 1]))
            frame += 1
        known = oldest if debt else frame
        for start in range(len(starts)):
            for number in range(known):
                if begin[number] >= starts[start]:
                    counts[plan, start, 0] += 1
                    counts[plan, start, 1] += left[number]
                    counts[plan, start, 2] += np.sqrt(left[number] / packets)
    return counts
