"""Decoder and outputs of one receiver, as blocking calls for its one worker thread."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from lrae import codec
from lrae.codec.types import DecodedFrame
from lrae.codec.wire import Config
from lrae.errors import ModelError, SinkError
from lrae.receiver.draw import draw
from lrae.receiver.jitter import ReadyFrame
from lrae.receiver.sink import VIDEO_SUFFIXES, Sink, check_sink, open_sink

DEFAULT_MODEL = "m"


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame that went to the outputs. seconds: that decoding took; label: None without a classifier, before it
    knows anything, or below its threshold; confidence: of the likeliest class, 0..1, None without."""

    decoded: DecodedFrame
    seconds: float
    label: str | None = None
    confidence: float | None = None


class Player:
    """outputs: texts for open_sink; opened with the first stream's format, they stay for the next ones.

    model: name or file of weights, None: whatever shipped weights the sender names. classifier: name or file, None:
    no labels; drawn: write them into the picture of windows and video files (never into raw video).
    """

    def __init__(
        self, outputs: Sequence[str], model: str | None, device: str, classifier: str | None = None, drawn: bool = False
    ) -> None:
        for text in outputs:
            check_sink(text)
        self._outputs, self._model, self._device = outputs, model, device
        self._drawn = [drawn and (text == "window" or text.lower().endswith(VIDEO_SUFFIXES)) for text in outputs]
        self._labeller = None
        if classifier:
            from lrae.receiver.labels import Labeller  # the networks take a second to load

            self._labeller = Labeller(classifier)
        self._sinks: list[Sink] = []
        self._decoder = None
        self._state = None

    def warm_up(self) -> None:
        """Loads the weights that are likely to be wanted. Raises ModelError if they were named in vain."""
        codec.share_cores()
        try:
            codec.model_hash(self._model or DEFAULT_MODEL)
        except ModelError:
            if self._model:
                raise

    def prepare(self, config: Config) -> None:
        """Gets ready for a stream, with the concealment that its sender reckons with.

        Raises ModelError (weights), SinkError (outputs), ConfigError (device).
        """
        if self._model is None and "." in config.model:
            raise ModelError(f"the sender uses weights of its own ({config.model}): start with --model FILE")
        decoder = codec.make_decoder(self._model or config.model, config.format, self._device, config.impute)
        if decoder.model_hash != config.model_hash:
            raise ModelError(
                f"the weights of {config.model!r} differ: "
                f"sender {config.model_hash}, receiver {decoder.model_hash}"
            )
        if not self._sinks:
            self._sinks = [open_sink(text, config.format) for text in self._outputs]
        self._decoder, self._state = decoder, decoder.initial_state()
        if self._labeller:
            self._labeller.start(config.format)

    def show(self, frame: ReadyFrame) -> Shown:
        """Decodes what arrived, labels it, and hands it to the outputs. Raises SinkError."""
        start = time.perf_counter()
        decoded, self._state = self._decoder.decode(self._state, frame.header, frame.payloads, frame.capture)
        seconds = time.perf_counter() - start
        packets = frame.header.packets if frame.header else "?"
        info = f"frame {frame.number}, {len(frame.payloads)} of {packets} packets"
        label = confidence = None
        if self._labeller:
            label, confidence = self._labeller.look(self._state, frame.capture)
        told = f"{label} {confidence:.0%}" if label else ""
        for sink, drawn in zip(self._sinks, self._drawn, strict=True):
            sink.write(draw(decoded.frame, told) if drawn and told else decoded.frame, f"{info} {told}".rstrip())
        return Shown(decoded, seconds, label, confidence)

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
