"""An Encoder with what a session knows: reference state, q, copies of the side information. One thread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lrae.codec.api import Encoder
from lrae.codec.types import MAX_PACKETS, PROGRESSIVE, Q_LEVELS, TILES, EncodedFrame, EncodeHints, Frame
from lrae.codec.wire import DATA_OVERHEAD, payload_room
from lrae.codec.wire.data import ENTRY
from lrae.codec.wire.serial import wrap
from lrae.errors import ConfigError
from lrae.models.rates import step_of
from lrae.sender.bundling import bundle, entry_bytes
from lrae.sender.events import News
from lrae.sender.rate import RateControl
from lrae.sender.reference import ReferenceTracker
from lrae.sender.refresh import Refresher

HISTORY_PIXELS = 64e6  # of all states kept: about 0.4 GB of them in fp32
HISTORY_FRAMES = 8, 48  # least and most unconfirmed frames kept
SIDE_LOSS = {False: 1e-2, True: 1e-4}  # how often inter and intra frames may lose all copies of it
PATIENCE = 16  # frames without news after which tiles are refreshed
MAX_EXPOSED = 12  # frames that a loss spoils, at most, in what spare motion is worth
HELD = 2  # times as much is it worth at a given q; at a given rate its bits are missing elsewhere
FAR_TOO_BIG, BIG = 5.0, 4.0  # an inter frame this many times over its target is encoded again, to so many times that
TOO_BIG = 1.25  # an intra frame this many times over its target is encoded again
MAX_INTERVAL = 0.5  # seconds; a longer pause between frames saves up no more bits
TOO_LONG = 1.15  # an inter frame of the layout progressive is cut to this many times its target
COARSER = 6  # steps of q, where a frame does not fit MAX_PACKETS packets
MAX_CREDIT = 1.0  # seconds of computing time that may be saved up for a replay
MIN_SHARE = 0.1  # of the time: replays get it however slow the encoder is
BUSY, IDLE = 0.9, 0.8  # shares of the frame interval: encoding that takes more makes q coarser, less lets it rise again
COARSEST_BUSY = 42  # computing time alone makes it no coarser: below, coarser frames take hardly less time
SPREAD = 0.15  # share of packets lost from which a frame of several payloads takes at least two datagrams
MISSING_FIRST, MISSING_WEIGHT = 0.05, 0.03  # share of payloads that are not recovered: at first; of a frame in the mean
NO_LOSS = 1e-3  # of these: too few for spare motion
SILENT = 8  # frames without news after which all that the network loses counts, for nobody knows what parity recovers
MAX_QUEUE = 0.25  # seconds that packets may wait to leave; beyond that a frame is skipped


class FrameEncoder:
    """An Encoder with its reference tracker and its q: a number, or a RateControl that chooses one.

    interval: seconds of computing per frame that replays have to fit in, beside encoding; None: no limit.
    clock: seconds, to measure computing time with. skipped: frames left out to keep the rate. cut: frames of the layout
    progressive whose last packets were left out for it.
    replayed: frames decoded again because the receiver had not got all of them.
    reference: what is known of the receiver.
    patience: frames without news after which tiles are coded without prediction where damage is to be expected (layout
    tiles only), None: never. seed: of the losses that the sender imagines then. finest: q is never above it.
    """

    def __init__(
        self,
        encoder: Encoder,
        q: int | RateControl,
        packets: int | None = None,
        layout: int = 0,
        interval: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
        first_number: int = 0,
        patience: int | None = PATIENCE,
        seed: int = 0,
        room: int = payload_room(),
        overhead: int = DATA_OVERHEAD,
        worth: bool = False,
        coarsen: bool = True,
        finest: int = Q_LEVELS - 1,
    ) -> None:
        pixels = encoder.format.width * encoder.format.height
        low, high = HISTORY_FRAMES
        self.skipped = self.replayed = self.cut = 0
        self._encoder = encoder
        self._q = q
        self._packets, self._layout = packets, layout
        self.reference = ReferenceTracker(encoder.initial_state(), int(min(high, max(low, HISTORY_PIXELS / pixels))))
        self._number = first_number
        self._time = 0.0
        self._interval, self._clock = interval, clock
        self._credit = MAX_CREDIT
        self._encode_time = self._pass_time = 0.0
        self._most = self._finest = float(finest)  # q that there is time for
        self._patience = patience if layout == TILES else None
        self._silent = 0
        self._missing = MISSING_FIRST
        self._refresher: Refresher | None = None
        self._rng = np.random.default_rng(seed)
        self._room, self._overhead, self._worth, self._coarsen = room, overhead, worth, coarsen

    def encode(self, frame: Frame, news: News) -> EncodedFrame | None:
        """The next frame, predicted from what the receiver has as far as `news` tell. None: skipped."""
        self._resync(news)
        self._watch(bool(news.confirmed))
        intra = news.intra_wanted or self.reference.needs_intra
        interval = min(MAX_INTERVAL, max(0.0, frame.time - self._time))
        self._time = frame.time
        q = self._choose(intra, interval, news)
        if q is None:
            self.skipped += 1
            return None
        start, before = self._clock(), self.reference.state
        encoded, after, q = self._encode(frame, q, intra, news.loss)
        intra = encoded.header.intra
        if isinstance(self._q, RateControl):
            bits = self.size_bits(encoded)
            if intra and bits > TOO_BIG * self._q.target(True):
                self._q.learn(True, q, bits)
                encoded, after, q = self._encode(frame, self._q.fitting(True), intra, news.loss)
                bits = self.size_bits(encoded)
            elif not intra and bits > FAR_TOO_BIG * self._q.target(False):
                # the reference has turned out to be damaged: q is that of a scene that needed few bits
                encoded, after, q = self._encode(frame, self._q.coarser(q, bits, BIG), intra, news.loss)
                intra, bits = encoded.header.intra, self.size_bits(encoded)
            if encoded.header.layout == PROGRESSIVE and not intra:
                encoded, after = self._cut(encoded, after, before, TOO_LONG * self._q.target(False))
            self._q.update(intra, q, bits, self.size_bits(encoded))
        if self._worth:
            encoded = replace(encoded, worth=self._encoder.worth(encoded, before, after))
        self._watch_time(self._clock() - start, q)
        self.reference.sent(encoded, after)
        if self._refresher is not None:
            start = self._clock()
            self._refresher.sent(encoded, after, news.loss)
            if self._interval is not None and self._encode_time + self._clock() - start > self._interval:
                self._refresher.lighten()
        self._number = wrap(self._number + 1)
        return encoded

    def _watch_time(self, seconds: float, q: int) -> None:
        """Fine frames take longer: what cannot be encoded in time is better sent coarser than not at all."""
        self._encode_time += 0.1 * (seconds - self._encode_time)
        if self._interval is None or not self._coarsen:
            return
        if self._encode_time > BUSY * self._interval:
            self._finest = max(COARSEST_BUSY, min(self._finest, q) - 0.25)
        elif self._encode_time < IDLE * self._interval:
            self._finest = min(self._most, self._finest + 0.1)

    def size_bits(self, encoded: EncodedFrame) -> int:
        """Bits of a frame's UDP payloads, headers included."""
        datagrams = len(encoded.bundles or encoded.sent)
        return 8 * (sum(map(len, encoded.payloads)) + entry_bytes(encoded.bundles) + self._overhead * datagrams)

    def _bundle(self, encoded: EncodedFrame, loss: float) -> EncodedFrame:
        """The same frame, its payloads sharing datagrams. Not in the other layouts: there a few packets are to have
        copies of the side information, or come in an order; nor where the user has said how many there are to be."""
        if encoded.header.layout != TILES or self._packets or not all(encoded.payloads):
            return encoded
        sizes = [len(payload) for payload in encoded.payloads]
        return replace(encoded, bundles=bundle(sizes, self._room, self._least(loss)))

    def _least(self, loss: float) -> int:
        """Datagrams that a frame takes at least, if it has as many payloads."""
        return 1 if loss < SPREAD and self._layout == TILES else 2

    def _choose(self, intra: bool, interval: float, news: News) -> int | None:
        """q of the next frame, None: it is to be skipped."""
        if not isinstance(self._q, RateControl):
            return self._q
        if news.target > 0:
            self._q.follow(news.target)
        q = self._q.choose(intra, interval, news.excess)
        return None if q is None or (news.queue > MAX_QUEUE and not intra) else min(q, int(self._finest))

    def _cut(self, encoded: EncodedFrame, after: object, before: object, bits: float) -> tuple[EncodedFrame, object]:
        """(frame, state) without the packets at its end by which it exceeds `bits`; the first is always kept."""
        room, kept = bits, 0
        for payload in encoded.payloads:
            room -= 8 * (len(payload) + self._overhead)
            kept += room >= 0 or kept == 0
            if room < 0:
                break
        if kept == len(encoded.payloads):
            return encoded, after
        payloads = encoded.payloads[:kept] + (b"",) * (len(encoded.payloads) - kept)
        encoded = replace(encoded, payloads=payloads)
        self.cut += 1
        return encoded, self._encoder.state_after(before, encoded, encoded.sent)

    def _encode(self, frame: Frame, q: int, intra: bool, loss: float) -> tuple[EncodedFrame, object, int]:
        """(frame, state, q used). What does not fit its packets is tried as an intra frame, then coarser."""
        tracker, state = self.reference, self.reference.state
        room = self._room - ENTRY
        while True:
            rated = isinstance(self._q, RateControl)
            repair = min(MAX_EXPOSED, len(tracker) + 1) * (1 if rated else HELD)
            copies = side_copies(loss, intra)
            refresh = frozenset() if intra or self._refresher is None else self._refresher.choose(frame.y, step_of(q))
            missing = self._missing if self._silent < SILENT else max(self._missing, loss)
            missing = missing * (missing > NO_LOSS)
            least, layout = self._least(loss), self._layout
            hints = EncodeHints(intra, self._packets, layout, copies, room, missing, repair, refresh, least, rated)
            encoded, after = self._encoder.encode(state, frame, self._number, q, hints, tracker.number)
            if max(map(len, encoded.payloads)) <= room:
                return self._bundle(encoded, loss), after, q
            if intra and q == 0:
                raise ConfigError(f"a frame does not fit {MAX_PACKETS} packets even at the lowest quality")
            if intra:
                q = max(0, q - COARSER)
            intra = True  # new scenes are cheaper without motion

    def _watch(self, heard: bool) -> None:
        """Imagines receivers when nothing has been heard of the real one for a while. They start in the last state
        that is known, or else the oldest one kept, as if nothing since had arrived."""
        self._silent = 0 if heard else self._silent + 1
        if heard or self.reference.needs_intra:
            self._refresher = None
        if self._refresher is None and self._patience is not None and self._silent >= self._patience:
            self._refresher = Refresher(self._encoder, self.reference.oldest, self._rng)

    def _resync(self, news: News) -> None:
        """Replays a loss if there is time; if not, time is saved up and the codec bears the mismatch."""
        for number, used in news.confirmed:
            missing = self.reference.confirm(number, used)
            if missing is not None:
                self._missing += MISSING_WEIGHT * (missing - self._missing)
        if self._interval is not None:
            spare = max(self._interval - self._encode_time, MIN_SHARE * self._interval)
            self._credit = min(MAX_CREDIT, self._credit + spare)
        cost = self.reference.replay_cost
        if not cost or news.intra_wanted or self.reference.needs_intra:
            return
        if self._interval is None or cost * self._pass_time <= self._credit:
            start = self._clock()
            self.replayed += self.reference.resync(self._encoder.state_after)
            self._pass_time = (self._clock() - start) / cost
            self._credit = max(0.0, self._credit - self._pass_time * cost)


def side_copies(loss: float, intra: bool) -> int:
    """In how many packets the side information travels, so that losing every copy is rare. loss: 0..1."""
    loss = min(max(loss, 0.005), 0.99)
    return min(MAX_PACKETS, max(1, math.ceil(math.log(SIDE_LOSS[intra]) / math.log(loss) - 1e-9)))

