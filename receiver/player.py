"""Decoder and outputs of one receiver, as blocking calls for its one worker thread."""

from __future__ import annotations

import time
from collections.abc import Sequence

from lrae import codec
from lrae.codec.types import DecodedFrame
from lrae.codec.wire import Config
from lrae.errors import ModelError, SinkError
from lrae.receiver.jitter import ReadyFrame
from lrae.receiver.sink import Sink, check_sink, open_sink

DEFAULT_MODEL = "m"


class Player:
    """outputs: texts for open_sink; opened with the first stream's format, they stay for the next ones.

    model: name or file of weights, None: whatever shipped weights the sender names.
    """

    def __init__(self, outputs: Sequence[str], model: str | None, device: str) -> None:
        for text in outputs:
            check_sink(text)
        self._outputs, self._model, self._device = outputs, model, device
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
        """Gets ready for a stream. Raises ModelError (weights), SinkError (outputs), ConfigError (device)."""
        if self._model is None and "." in config.model:
            raise ModelError(f"the sender uses weights of its own ({config.model}): start with --model FILE")
        decoder = codec.make_decoder(self._model or config.model, config.format, self._device)
        if decoder.model_hash != config.model_hash:
            raise ModelError(
                f"the weights of {config.model!r} differ: "
                f"sender {config.model_hash}, receiver {decoder.model_hash}"
            )
        if not self._sinks:
            self._sinks = [open_sink(text, config.format) for text in self._outputs]
        self._decoder, self._state = decoder, decoder.initial_state()

    def show(self, frame: ReadyFrame) -> tuple[DecodedFrame, float]:
        """(the frame decoded from what arrived, seconds that took). Raises SinkError."""
        start = time.perf_counter()
        decoded, self._state = self._decoder.decode(self._state, frame.header, frame.payloads, frame.capture)
        seconds = time.perf_counter() - start
        packets = frame.header.packets if frame.header else "?"
        info = f"frame {frame.number}, {len(frame.payloads)} of {packets} packets"
        for sink in self._sinks:
            sink.write(decoded.frame, info)
        return decoded, seconds

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
