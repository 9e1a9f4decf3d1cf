"""The range coder of `constriction`, its bytes, and its errors contained."""

from __future__ import annotations

from collections.abc import Iterator
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


@contextmanager
def contained(what: str) -> Iterator[None]:
    """Whatever damaged bytes raise inside becomes a WireError: constriction's PanicException is a BaseException."""
    try:
        yield
    except (WireError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:
        raise WireError(f"{what} is malformed") from error
