"""Both legs, their codecs and the screens, sans IO: frames in, instants out, on whatever clock.

    offer() ─► newest frame ─┬─► LRAE's encoder ─► Leg ─► LRAE's decoder ─┐
                             ├─► x264 ───────────► Leg ─► libav ──────────┼─► Display ─► emit(Instant, …)
                             └────────────────────────────────────────────┘
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

from lrae.codec.conventional import model_hash
from lrae.codec.types import EncodedFrame, Frame, VideoFormat
from lrae.receiver.events import FrameDue, FramesMended, StreamEnded, StreamStarted
from lrae.sender.fec_fixed import FixedFec
from lrae.sender.fec_policy import AdaptiveFec
from lrae.webrtc.display import Arrived, Display, Instant
from lrae.webrtc.ends import Decoding, Encoding, Mode, Seen
from lrae.webrtc.fec import LossFec
from lrae.webrtc.leg import Leg, deadline
from lrae.webrtc.situation import Situation
from lrae.webrtc.weather import Weather

LRAE, H264 = "lrae", "h264"
FIXED_SHARE = 0.5  # parity packets per packet where FEC is "on"
MAX_STEPS = 10_000  # of the sessions at one call
TICK = 1e-6  # seconds: timers are sums of floats, and a hair before its time nothing is done
MAX_BEHIND = 3  # frames that wait for a decoder: beyond that no new ones are taken
REMEMBERED = 256  # frames

Run = Callable[[str, Callable[[], Any], Callable[[Any, float], None]], None]


@dataclass(frozen=True, eq=False)
class Report:
    """What goes with an instant. wait: seconds that its frame waited for the encoder. dropped: frames offered in vain.
    sent: bytes so far by kind, by leg."""

    instant: Instant
    situation: Situation
    wait: float
    dropped: int
    packets: dict[str, list[int]]
    sent: dict[str, Counter[str]]


class Side:
    """A leg and its codec, one encoding and one decoding at a time.

    run(name, call, done): has call() made by the worker of that name, those of one name one after the other, and then
    done(its result, now) called where everything here is called.
    """

    def __init__(self, name: str, leg: Leg, encoding: Encoding, decoding: Decoding, run: Run, display: Display) -> None:
        self.name, self.leg = name, leg
        self.encoding_now = self.ready = False  # ready: has encoded a frame
        self._encoding, self._decoding, self._run, self._display = encoding, decoding, run, display
        self._dues: deque[FrameDue] = deque()  # the session bounds them
        self._decoding_now = False
        self._impute: OrderedDict[int, str] = OrderedDict()  # of frames sent
        self._newest_impute = Mode().impute

    @property
    def behind(self) -> int:
        """Frames, not counting lost ones, that wait for the decoder."""
        return sum(due.frame.header is not None for due in self._dues)

    def encode(self, frame: Frame, mode: Mode, now: float) -> None:
        """The next frame; its time is that of its capture. Left out where one is being encoded, or nobody listens."""
        if self.encoding_now or not self.leg.connected:
            return
        self.encoding_now = True
        news = self.leg.news(now)
        call = lambda: self._encoding.encode(frame, news, mode)  # noqa: E731
        self._run(f"{self.name}-encode", call, lambda encoded, at: self._encoded(encoded, frame.time, mode, at))

    def _encoded(self, encoded: EncodedFrame | None, capture: float, mode: Mode, now: float) -> None:
        self.encoding_now, self.ready = False, True
        if encoded is None:
            return
        self._impute[encoded.header.number] = mode.impute
        if len(self._impute) > REMEMBERED:
            self._impute.popitem(last=False)
        self.leg.send(encoded, capture, now)

    def handle(self, event: Any, now: float) -> None:
        """What the leg's receiver says."""
        if isinstance(event, StreamStarted):
            self._run(f"{self.name}-decode", self._decoding.start, lambda _, at: None)
        elif isinstance(event, FrameDue):
            self._dues.append(event)
            self._decode(now)
        elif isinstance(event, FramesMended) and not (self._dues or self._decoding_now):
            again = lambda used, at: self.leg.decoded_again(event, used, at)  # noqa: E731
            self._run(f"{self.name}-decode", lambda: self._decoding.mend(event.frames), again)
        elif isinstance(event, StreamEnded):
            self._dues.clear()

    def _decode(self, now: float) -> None:
        """The next frame, if the decoder is free. What is older than an intra frame that has come whole does not matter
        to it: it is left out where there is no time for it."""
        if self._decoding_now or not self._dues:
            return
        renewed = (i for i, due in enumerate(self._dues) if _renews(due))
        for _ in range(max(renewed, default=0)):
            old = self._dues.popleft()
            self.leg.decoded(old, frozenset(old.frame.payloads), now)
        due = self._dues.popleft()
        self._newest_impute = impute = self._impute.get(due.frame.number, self._newest_impute)
        self._decoding_now = True
        call = lambda: self._decoding.decode(due.frame, impute)  # noqa: E731
        self._run(f"{self.name}-decode", call, lambda seen, at: self._decoded(due, seen, impute, at))

    def _decoded(self, due: FrameDue, seen: Seen, impute: str, now: float) -> None:
        self._decoding_now = False
        self.leg.decoded(due, seen.used, now, imputed=self.name == LRAE and impute == Mode().impute)
        capture = self.leg.captures.get(due.frame.number, due.frame.capture)
        self._display.arrived(self.name, Arrived(seen, capture, now), now)
        self._decode(now)


def _renews(due: FrameDue) -> bool:
    header = due.frame.header
    return header is not None and header.intra and len(due.frame.payloads) == header.packets


class Pipeline:
    """offer(), set(), drop() at any time; advance() when next_time() says so. Times: seconds since the start, rising.

    ends: (encoding, decoding) by leg. emit(report): at each instant. run: as Side says. first_number: of the frame
    before the first.
    """

    def __init__(
        self,
        video: VideoFormat,
        situation: Situation,
        ends: dict[str, tuple[Encoding, Decoding]],
        run: Run,
        emit: Callable[[Report], None],
        seed: int = 0,
        first_number: int = 0,
    ) -> None:
        self.situation = situation
        self.dropped = 0
        self._video, self._emit = video, emit
        self._ways = [Weather(f"{seed}:{way}", situation) for way in ("up", "down")]
        size, network = (video.width, video.height), situation.delay_ms * 1e-3
        self.display = Display(ends, size, network, deadline(situation, float(video.fps)))
        policies = {
            LRAE: {"policy": AdaptiveFec(True), "off": None, "on": FixedFec("block", FIXED_SHARE)},
            H264: {"policy": LossFec(), "off": None, "on": FixedFec("block", FIXED_SHARE)},
        }
        self.sides: dict[str, Side] = {}
        for name, (encoding, decoding) in ends.items():
            sequential = name == H264
            told = name, model_hash(name), video, situation, policies[name], *self._ways, seed, sequential
            self.sides[name] = Side(name, Leg(*told), encoding, decoding, run, self.display)
        self._waiting: Frame | None = None
        self.number = first_number  # of the newest frame taken
        self._wait = self._now = 0.0

    def offer(self, frame: Frame, capture: float, now: float) -> None:
        """A frame of the source. If the one before still waits for the encoder, that is dropped."""
        if self.situation.paused:
            return
        if self._waiting is not None and self.sides[LRAE].ready:
            self.dropped += 1
        self._waiting = replace(frame, time=capture)
        self._take(now)

    def set(self, situation: Situation, now: float) -> None:
        """Acts from now on."""
        self.situation = situation
        for way in self._ways:
            way.set(situation)
        for side in self.sides.values():
            side.leg.set(situation)
        self.display.adjust(situation.delay_ms * 1e-3, deadline(situation, float(self._video.fps)))
        if situation.paused:
            self._waiting = None

    def drop(self, seconds: float, now: float) -> None:
        """Everything is lost for so long."""
        for way in self._ways:
            way.drop(now + seconds)

    def next_time(self) -> float:
        """When advance() has something to do; inf: not known."""
        return min(self.display.next_time(), *(side.leg.next_time() for side in self.sides.values()))

    def advance(self, now: float) -> None:
        """Everything that happens up to now, in order."""
        for _ in range(MAX_STEPS):
            at, side = min(((side.leg.next_time(), side) for side in self.sides.values()), key=itemgetter(0))
            if at > now:
                break
            self._now = max(self._now, at + TICK)
            for event in side.leg.step(self._now):
                side.handle(event, now)
        self._now = max(self._now, now)
        self._take(now)
        if instant := self.display.instant(now):
            legs = {name: side.leg for name, side in self.sides.items()}
            packets = {name: leg.packets(instant.capture) for name, leg in legs.items()}
            sent = {name: leg.sent_bytes() for name, leg in legs.items()}
            self._emit(Report(instant, self.situation, self._wait, self.dropped, packets, sent))

    def _take(self, now: float) -> None:
        """The frame that waits, if LRAE's encoder is free and the decoders keep up: both legs get the same frames."""
        frame, lrae = self._waiting, self.sides[LRAE]
        if frame is None or lrae.encoding_now or any(side.behind > MAX_BEHIND for side in self.sides.values()):
            return
        self._waiting = None
        self.number += 1
        self._wait = now - frame.time
        self.display.captured(self.number, frame, frame.time)
        mode = Mode.of(self.situation)
        for side in self.sides.values():
            side.encode(frame, mode, now)
