"""A conventional encoder as a session uses one: packets, the rate it is told, keyframes after unrecoverable loss."""

from __future__ import annotations

import math
from collections import OrderedDict

from lrae.codec.conventional import Coded, ConventionalEncoder
from lrae.codec.conventional.packets import pack
from lrae.codec.types import MAX_PACKETS, EncodedFrame, Frame, FrameHeader
from lrae.codec.wire import DATA_OVERHEAD, payload_room
from lrae.codec.wire.serial import wrap
from lrae.sender.events import News

# Seconds at least between keyframes that losses cause. libwebrtc has 0.3; with 0.1, what is on screen is up to 4 dB
# better (H.264, VP8, VP9 at 5 to 30 % loss, 40 ms round trip) and nowhere more than 0.8 dB worse.
KEYFRAME_EVERY = 0.1
RISE, FALL = 4.0, 0.7  # seconds in which a rate that costs a keyframe follows: only one that lasts is worth it
REOPEN_EVERY = 2.0  # seconds at least between keyframes that another rate causes
REOPEN_AT = 0.15  # a wanted rate that differs by this share is worth a keyframe,
REOPEN_KEYFRAME_AT = 0.03  # and by this share where a keyframe is due anyway
REPAY_SECONDS = 2.0  # a debt of bits is paid back in about this time
REPAY_MOST = {False: 0.25, True: 0.07}  # the rate falls or rises by this share at most; True: where it costs a keyframe
CREDIT_SECONDS = 0.4  # bits saved beyond this are forgotten
SKIP_SECONDS = 1.0  # a debt beyond this: the frame is skipped
MAX_QUEUE = 0.25  # seconds that packets may wait to leave; beyond that a frame is skipped
MAX_INTERVAL = 0.5  # seconds; a longer pause between frames saves up no more bits
SMOOTH = 0.05  # per frame: how fast the share of packet headers is followed
MAX_UNCONFIRMED = 256  # frames


class ConventionalFrameEncoder:
    """What FrameEncoder is to an Encoder, to a ConventionalEncoder.

    bitrate: bit/s of DATA datagrams, where the session's news name none. room, overhead: bytes of a payload at most,
    and of what is sent around it. refresh: see ConventionalEncoder; losses then ask for no keyframe. first_number: of
    frames. skipped: frames left out to keep the rate, or because they do not fit MAX_PACKETS packets (the next is a
    keyframe then). keyframes: that losses have caused. replayed, cut: always 0.
    """

    def __init__(
        self,
        encoder: ConventionalEncoder,
        bitrate: float,
        first_number: int = 0,
        room: int = payload_room(),
        overhead: int = DATA_OVERHEAD,
    ) -> None:
        self.skipped = self.keyframes = self.replayed = self.cut = 0
        self._encoder = encoder
        self._bitrate = bitrate
        self._number = first_number
        self._room, self._overhead = room, overhead
        self._time: float | None = None
        self._interval = 1 / float(encoder.format.fps)  # seconds since the frame before
        self._debt = 0.0  # bits sent beyond the rate; negative: saved
        self._headers = self._first_headers()  # share of packet headers in the bits sent
        self._lasting = 0.0  # bit/s of coded frames, smoothed; 0: none yet
        self._sent: OrderedDict[int, frozenset[int]] = OrderedDict()  # packets by number, since the last keyframe
        self._keyframe, self._keyframe_time = first_number, float("-inf")  # the last one; never: one is due
        self._damaged = False  # the receiver needs a keyframe

    def encode(self, frame: Frame, news: News) -> EncodedFrame | None:
        """The next frame; its time has to rise. None: skipped."""
        if self._time is not None:
            self._interval = min(MAX_INTERVAL, max(0.0, frame.time - self._time))
        self._time = frame.time
        target = news.target or self._bitrate
        self._debt = max(self._debt + news.excess - target * self._interval, -target * CREDIT_SECONDS)
        self._hear(news)
        keyframe = self._wants_keyframe(news)
        if not keyframe and (news.queue > MAX_QUEUE or self._debt > target * SKIP_SECONDS):
            self.skipped += 1
            return None
        self._set_rate(target, keyframe)
        coded = self._encoder.encode(frame, keyframe)
        payloads = tuple(pack(coded.units, self._room))
        if len(payloads) > MAX_PACKETS:  # it cannot be sent, and nothing that is predicted from it
            self._keyframe_time = float("-inf")
            self.skipped += 1
            return None
        return self._sending(coded, payloads)

    def size_bits(self, encoded: EncodedFrame) -> int:
        """Bits of a frame's UDP payloads, headers included."""
        return 8 * sum(len(payload) + self._overhead for payload in encoded.payloads)

    def _hear(self, news: News) -> None:
        """Frames since the last keyframe that were not decoded from all of their packets leave damage. An intra refresh
        mends it, unless it is the keyframe's own."""
        for number, used in news.confirmed:
            sent = self._sent.pop(number, None)
            counts = number == self._keyframe or not self._encoder.refreshes
            self._damaged |= counts and sent is not None and used != sent

    def _wants_keyframe(self, news: News) -> bool:
        """Whether the next frame has to be one. What is heard of older frames than the last keyframe does not count, so
        that there is at most one in a round trip."""
        if news.intra_wanted or self._keyframe_time == float("-inf"):
            return True
        if not self._damaged or self._time - self._keyframe_time < KEYFRAME_EVERY:
            return False
        self.keyframes += 1
        return True

    def _set_rate(self, target: float, keyframe: bool) -> None:
        encoder = self._encoder
        media = target * (1 - self._headers)
        if encoder.reopens:
            follow = min(1.0, self._interval / (RISE if media > self._lasting else FALL)) if self._lasting else 1.0
            self._lasting += follow * (media - self._lasting)
            media = self._lasting
        most = REPAY_MOST[encoder.reopens]
        rate = media * (1 - min(most, max(-most, self._debt / (target * REPAY_SECONDS))))
        if encoder.reopens:
            off = media / encoder.bitrate - 1
            at_once = off < -REOPEN_AT or (off > REOPEN_AT and self._debt <= 0)
            at_once &= self._time - self._keyframe_time >= REOPEN_EVERY
            if not at_once and not (keyframe and abs(rate / encoder.bitrate - 1) > REOPEN_KEYFRAME_AT):
                return
        encoder.bitrate = rate

    def _first_headers(self) -> float:
        frame = self._bitrate / 8 / float(self._encoder.format.fps)  # bytes
        headers = self._overhead * math.ceil(frame / self._room)
        return headers / (frame + headers)

    def _sending(self, coded: Coded, payloads: tuple[bytes, ...]) -> EncodedFrame:
        """The frame as it goes to the receiver."""
        number = self._number
        if coded.keyframe:
            self._damaged, self._keyframe, self._keyframe_time = False, number, self._time
            self._sent.clear()
        reference = 0 if coded.keyframe else wrap(number - 1)
        header = FrameHeader(number, coded.keyframe, 0, len(payloads), reference=reference)
        encoded = EncodedFrame(header, payloads, side_bytes=0)
        bits = self.size_bits(encoded)
        self._debt += bits
        self._headers += SMOOTH * (8 * self._overhead * len(payloads) / bits - self._headers)
        self._sent[number] = encoded.sent
        if len(self._sent) > MAX_UNCONFIRMED:
            self._sent.popitem(last=False)
        self._number = wrap(number + 1)
        return encoded
