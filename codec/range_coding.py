"""The range coder of `constriction`, its bytes, and its errors contained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import constriction
import numpy as np

from lrae.errors import WireError

RangeEncoder = constriction.stream.queue.RangeEncoder
RangeDecoder = constriction.stream.queue.RangeDecoder
Categorical = constriction.stream.model.Categorical
Uniform = constriction.stream.model.Uniform


def words_to_bytes(words: np.ndarray) -> bytes:
    """Range coder words to bytes; trailing zero bytes are implied."""
    return words.astype(">u4").tobytes().rstrip(b"\0")


def bytes_to_words(data: bytes) -> np.ndarray:
    """The inverse of words_to_bytes."""
    return np.frombuffer(data + b"\0" * (-len(data) % 4), ">u4").astype(np.uint32)


_NOT_DAMAGE = KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError


@contextmanager
def contained(what: str) -> Iterator[None]:
    """Whatever damaged bytes raise inside becomes a WireError: constriction's PanicException is a BaseException."""
    try:
        yield
    except (WireError, *_NOT_DAMAGE):
        raise
    except BaseException as error:
        raise WireError(f"{what} is malformed") from error


class Coders:
    """Several range decoders that are read in step; what is left of one that turns out damaged reads as zeros.

    sound: of each, whether it has not been found damaged.
    """

    def __init__(self, decoders: Iterable[RangeDecoder]):
        self.decoders = list(decoders)
        self.sound = [True] * len(self.decoders)

    def each(self, function: Callable, *arguments: Iterable) -> list:
        """[function(decoder, its argument of each of `arguments`)], None where damage is or was found."""
        results = [None] * len(self.decoders)
        for index, (decoder, *rest) in enumerate(zip(self.decoders, *arguments, strict=True)):
            if self.sound[index]:
                try:
                    results[index] = function(decoder, *rest)
                except _NOT_DAMAGE:
                    raise
                except BaseException:  # as in contained()
                    self.sound[index] = False
        return results

    def read(self, model: Categorical | Uniform, parameters: np.ndarray, owner: np.ndarray) -> np.ndarray:
        """Symbols int32 [n] under parameters [n, ...]; owner: whose each is, in ascending order."""
        symbols = np.zeros(len(owner), np.int32)
        bounds = np.searchsorted(owner, np.arange(len(self.decoders) + 1)).tolist()

        def read(decoder: RangeDecoder, start: int, stop: int) -> None:
            if start < stop:
                symbols[start:stop] = decoder.decode(model, parameters[start:stop])

        self.each(read, bounds[:-1], bounds[1:])
        return symbols
