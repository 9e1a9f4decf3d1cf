"""Which q hits a bitrate: a log-linear model of bits over q, and a leaky bucket of debt."""

from __future__ import annotations

import math

from lrae.codec.types import Q_LEVELS

SLOPE = 0.09  # log2(bits) per step of q: the quantiser's step is 1/12 octave, bits follow a little faster
PRIOR_Q = 32
PRIOR_BPP = {True: 0.35, False: 0.03}  # bits per pixel of intra and inter frames at PRIOR_Q, at first
LEARN = {True: 0.7, False: 0.12}  # intra frames are rare, so the last one counts most
FIRST_LEARN = 0.7  # the first inter frames after an intra frame: the model knows little of the scene
# q moves slowly: a frame that is much finer than its reference pays for all that the reference left out, and the
# frame after it pays nothing, so that a q that follows every frame's bits swings between extremes
DOWN, UP = 3, 1
SMALL, FAST_UP = 0.5, 2  # a frame below this share of its target lets q rise faster
INTRA_SECONDS = 0.12  # an intra frame may take as many bits as this time of the stream
REPAY_SECONDS = 1.2  # a debt of bits is paid back in about this time
SKIP_SECONDS = 2.0  # a debt beyond this: the frame is skipped
CREDIT_SECONDS = 0.4  # bits saved beyond this are forgotten
FOLLOW, COLLAPSE = 0.3, 0.6  # per frame: how a changing rate is followed; share of it that is followed at once
SMOOTH = 0.2  # how fast the mean time between frames follows frames that were dropped


class RateControl:
    """Per frame: q = choose(intra, interval); encode; update(intra, q, bits).

    bitrate: bit/s, of whole datagrams. interval: seconds of the stream since the frame before, kept or not.
    """

    def __init__(self, bitrate: float, fps: float, pixels: int) -> None:
        self.bitrate = bitrate
        self._interval = 1 / fps
        self._bits_at_prior = {kind: math.log2(bpp * pixels) for kind, bpp in PRIOR_BPP.items()}
        self._debt = 0.0  # bits sent beyond the rate; negative: saved
        self._last_bits = 0.0
        self._last: int | None = None  # q of the inter frame before, None after an intra frame
        self._limit = Q_LEVELS - 1  # of the first inter frames after an intra frame: no finer than that one
        self._since_intra = 0
        self._fresh = True  # no frame yet

    def target(self, intra: bool) -> float:
        """Bits that the next frame should take."""
        if intra:
            return self.bitrate * INTRA_SECONDS
        share = 1 - self._debt / (self.bitrate * REPAY_SECONDS)
        return self.bitrate * self._interval * min(1.5, max(0.25, share))

    def follow(self, bitrate: float) -> None:
        """The rate is another: smoothly, as estimates of it swing, but at once where it has collapsed."""
        if self._fresh or bitrate < COLLAPSE * self.bitrate:
            self.bitrate = bitrate
        else:
            self.bitrate += FOLLOW * (bitrate - self.bitrate)

    def choose(self, intra: bool, interval: float, excess: float = 0.0) -> int | None:
        """q for the next frame; None: the stream is so far over its rate that this frame is to be skipped.

        excess: bits that others have taken of the rate since the frame before.
        """
        self._interval += SMOOTH * (interval - self._interval)
        self._debt = max(self._debt + excess - self.bitrate * interval, -self.bitrate * CREDIT_SECONDS)
        if self._debt > self.bitrate * SKIP_SECONDS and not intra:
            return None
        q = self.fitting(intra)
        if intra:
            return q
        if self._last is None:
            return min(q, self._limit)
        up = FAST_UP if self._last_bits < SMALL * self.target(False) else UP
        return min(self._last + up, max(self._last - DOWN, q))

    def fitting(self, intra: bool) -> int:
        """The q at which a frame should come to target() bits."""
        q = PRIOR_Q + (math.log2(self.target(intra)) - self._bits_at_prior[intra]) / SLOPE
        return min(Q_LEVELS - 1, max(0, round(q)))

    def coarser(self, q: int, bits: float, times: float) -> int:
        """The q at which an inter frame that took `bits` at `q` should come to so many times target()."""
        return max(0, round(q - math.log2(max(1.0, bits / (times * self.target(False)))) / SLOPE))

    def learn(self, intra: bool, q: int, bits: float, weight: float = 1.0) -> None:
        """A frame at `q` came to `bits`, whether it is sent or not. weight: 0..1, against what was known."""
        seen = math.log2(max(bits, 1)) - (q - PRIOR_Q) * SLOPE
        self._bits_at_prior[intra] += weight * (seen - self._bits_at_prior[intra])

    def update(self, intra: bool, q: int, bits: float, sent: float | None = None) -> None:
        """A frame at `q` took `bits`. sent: what was sent of it, if not all."""
        self._fresh = False
        self._since_intra = 0 if intra else self._since_intra + 1
        self.learn(intra, q, bits, LEARN[True] if intra else max(LEARN[False], FIRST_LEARN / max(1, self._since_intra)))
        self._last, self._last_bits = None if self._since_intra < 2 else q, bits
        self._limit = q if intra else self._limit
        self._debt += bits if sent is None else sent
