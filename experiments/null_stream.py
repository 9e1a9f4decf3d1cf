"""Sessions without a codec: random payloads in, and whatever arrives counts as decoded."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping

from lrae.codec.types import DecodedFrame, EncodedFrame, Frame, FrameHeader, VideoFormat
from lrae.codec.wire import Config
from lrae.codec.wire.keys import Keys
from lrae.codec.wire.serial import wrap
from lrae.receiver.events import FrameDue, FramesMended, StreamEnded, StreamStarted
from lrae.receiver.session import ReceiverSession
from lrae.sender.congestion import FixedRate
from lrae.sender.events import News
from lrae.sender.flow import FecPolicy, Flow
from lrae.sender.pacer import Pacer
from lrae.sender.session import SenderSession

FPS = 30
PACKETS, PAYLOAD = 4, 1000  # of a frame; bytes: about 1 Mbit/s
REFRESH = 32  # frames: so often one is intra where nothing else asks for it


def null_sender(
    stream: int, keys: Keys, now: float, policy: FecPolicy | None = None, retransmit: bool = False, horizon: float = 0.0
) -> SenderSession:
    """A sender that calls its receiver. horizon: seconds over which the pacer spreads a frame."""
    flow = Flow(stream, Pacer(0.0, horizon), FixedRate(0.0), policy, retransmit)
    return SenderSession(Config(stream, VideoFormat(448, 256), "m", "0" * 16), flow, keys, now)


class NullFrames:
    """What an encoder would make: frames of `packets` payloads of `size` bytes."""

    def __init__(self, rng: random.Random, packets: int = PACKETS, size: int = PAYLOAD) -> None:
        self.number = 0
        self._payloads = [rng.randbytes(size) for _ in range(packets)]

    def next(self, intra: bool) -> EncodedFrame:
        """The next frame, predicted from the one before unless `intra`."""
        number, self.number = self.number, self.number + 1
        intra = intra or number % REFRESH == 0
        reference = 0 if intra else wrap(number - 1)
        return EncodedFrame(FrameHeader(number, intra, 32, len(self._payloads), 0, reference), tuple(self._payloads), 0)


class NullEncoder:
    """What a session takes for a FrameEncoder; arguments as of NullFrames."""

    skipped = replayed = 0

    def __init__(self, rng: random.Random, packets: int = PACKETS, size: int = PAYLOAD) -> None:
        self._frames = NullFrames(rng, packets, size)

    def encode(self, frame: Frame, news: News) -> EncodedFrame:
        """The next frame, whatever it shows."""
        return self._frames.next(news.intra_wanted)


class NullDecoder:
    """A Decoder that uses all that arrives and shows one picture."""

    model_hash = "0" * 16

    def __init__(self, picture: Frame) -> None:
        self._picture = picture

    def initial_state(self) -> int:
        """No state at all."""
        return 0

    def decode(
        self, state: int, header: FrameHeader | None, payloads: Mapping[int, bytes], time: float = 0.0
    ) -> tuple[DecodedFrame, int]:
        """As Decoder says."""
        whole = header is not None and len(payloads) == header.packets
        return DecodedFrame(self._picture, frozenset(payloads), whole), state


def decode_nothing(receiver: ReceiverSession, now: float) -> Counter[str]:
    """Answers a receiver's events as a program would; how many there were of each kind, and frames by fate."""
    seen: Counter[str] = Counter()
    while event := receiver.next_event():
        seen[type(event).__name__] += 1
        if isinstance(event, StreamStarted):
            receiver.accept(event, now)
        elif isinstance(event, FrameDue):
            frame = event.frame
            whole = frame.header is not None and len(frame.payloads) == frame.header.packets
            seen["whole" if whole else "partial" if frame.payloads else "lost"] += 1
            receiver.decoded(event, frozenset(frame.payloads), now)
        elif isinstance(event, FramesMended):
            receiver.decoded_again(event, {f.number: frozenset(f.payloads) for f in event.frames}, now)
        elif isinstance(event, StreamEnded):
            seen["clean"] += event.clean
    return seen
