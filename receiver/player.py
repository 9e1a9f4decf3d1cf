"""Decoder and outputs of one receiver, as blocking calls: one thread decodes, one shows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from lrae import codec
from lrae.codec.types import DecodedFrame, VideoFormat
from lrae.codec.wire import Config
from lrae.errors import ModelError, SinkError
from lrae.receiver.draw import draw
from lrae.receiver.jitter import ReadyFrame
from lrae.receiver.mending import MendingDecoder
from lrae.receiver.sink import VIDEO_SUFFIXES, Screen, Sink, check_sink, open_sink

DEFAULT_MODEL = "m"
SMOOTH = 0.1  # per frame: how fast the time that decoding takes is followed


@dataclass(frozen=True, eq=False)
class Shown:
    """A decoded frame for the outputs. seconds: that decoding took; label: None without a classifier, before it
    knows anything, or below its threshold; confidence: of the likeliest class, 0..1, None without. info: a line for
    people."""

    decoded: DecodedFrame
    seconds: float
    label: str | None = None
    confidence: float | None = None
    info: str = ""


class Player:
    """outputs: texts for open_sink; opened with the first stream's format, they stay for the next ones.

    model: name or file of weights, None: whatever shipped weights the sender names. classifier: name or file, None:
    no labels; drawn: write them into the picture of windows and video files (never into raw video). screens: more
    outputs, open already; whoever made them closes them.

    prepare(), decode() and mend() belong to one thread, open(), show() and close() to one, which may be another.
    """

    def __init__(
        self,
        outputs: Sequence[str],
        model: str | None,
        device: str,
        classifier: str | None = None,
        drawn: bool = False,
        screens: Sequence[Screen] = (),
    ) -> None:
        for text in outputs:
            check_sink(text)
        self._outputs, self._model, self._device, self._screens = outputs, model, device, screens
        self._drawn = [drawn and (text == "window" or text.lower().endswith(VIDEO_SUFFIXES)) for text in outputs]
        self._labeller = None
        if classifier:
            from lrae.receiver.labels import Labeller  # the networks take a second to load

            self._labeller = Labeller(classifier)
        self._sinks: list[Sink] = []
        self._decoder: MendingDecoder | None = None
        self._seconds, self._budget = 0.0, 0.0  # that a frame takes; that mending may take

    def warm_up(self) -> None:
        """Loads what is likely to be wanted. Raises ModelError if weights were named in vain."""
        codec.share_cores()
        try:
            codec.warm_up(self._model or DEFAULT_MODEL)
        except ModelError:
            if self._model:
                raise

    def prepare(self, config: Config) -> None:
        """Gets ready for a stream, with the concealment that its sender reckons with.

        Raises ModelError (weights), ConfigError (device).
        """
        if self._model is None and "." in config.model:
            raise ModelError(f"the sender uses weights of its own ({config.model}): start with --model FILE")
        decoder = codec.make_decoder(self._model or config.model, config.format, self._device, config.impute)
        if decoder.model_hash != config.model_hash:
            raise ModelError(
                f"the weights of {config.model!r} differ: "
                f"sender {config.model_hash}, receiver {decoder.model_hash}"
            )
        self._decoder = MendingDecoder(decoder)
        self._budget = float(1 / config.format.fps) if config.realtime else float("inf")
        if self._labeller:
            self._labeller.start(config.format)

    def decode(self, frame: ReadyFrame) -> Shown:
        """Decodes what arrived, and labels it."""
        start = time.perf_counter()
        decoded = self._decoder.decode(frame)
        seconds = time.perf_counter() - start
        self._seconds += SMOOTH * (seconds - self._seconds)
        label = confidence = None
        if self._labeller:
            label, confidence = self._labeller.look(self._decoder.state, frame.capture)
        packets = frame.header.packets if frame.header else "?"
        info = f"frame {frame.number}, {len(frame.payloads)} of {packets} packets"
        return Shown(decoded, seconds, label, confidence, info)

    def mend(self, frames: Sequence[ReadyFrame]) -> dict[int, frozenset[int]]:
        """Mends the state (receiver/mending.py) for nobody to see, unless that would take longer than one frame
        interval of a stream in real time. Returns the payloads used, by number, of the frames mended.
        """
        if self._decoder.passes(frames) * self._seconds > self._budget:
            return {}
        return self._decoder.mend(frames)

    def open(self, video: VideoFormat) -> None:
        """Opens the outputs, unless they are. Raises SinkError."""
        if not self._sinks:
            self._sinks = [open_sink(text, video) for text in self._outputs]
        for screen in self._screens:
            screen.start(video)

    def show(self, shown: Shown) -> None:
        """Hands a frame to the outputs. Raises SinkError."""
        told = f"{shown.label} {shown.confidence:.0%}" if shown.label else ""
        picture, info = shown.decoded.frame, f"{shown.info} {told}".rstrip()
        for sink, drawn in zip(self._sinks, self._drawn, strict=True):
            sink.write(draw(picture, told) if drawn and told else picture, info)
        for screen in self._screens:
            screen.write(picture, info)

    @property
    def wanted(self) -> bool:
        """False once the user has closed an output."""
        return all(sink.wanted for sink in self._sinks)

    def close(self) -> None:
        """Finishes every output; raises the first SinkError after all have been tried."""
        failed = None
        for sink in self._sinks:
            try:
                sink.close()
            except SinkError as error:
                failed = failed or error
        self._sinks = []
        if failed:
            raise failed
