"""The bytes of one packet of a frame: [varint side length | side information | levels].

Side information is the class map and, in inter frames, the motion field, in one range-coded string; it travels in
`copies` of the frame's packets, in each whole. A packet decodes alone if it, or any other of its frame, has it.
"""

from __future__ import annotations

import constriction
import numpy as np

from lrae.codec import class_map, motion_coding
from lrae.codec.entropy import bytes_to_words, words_to_bytes
from lrae.codec.motion_field import MotionField
from lrae.errors import WireError
from lrae.models.tables import ClassTables

RangeDecoder, RangeEncoder = constriction.stream.queue.RangeDecoder, constriction.stream.queue.RangeEncoder
MAX_SIDE = (1 << 15) - 1  # bytes


def encode_side(classes: np.ndarray, motion: MotionField | None, tables: ClassTables) -> bytes:
    """classes uint8 [rows, columns], motion None in intra frames -> side information."""
    coder = RangeEncoder()
    class_map.encode(classes, tables, coder)
    if motion is not None:
        motion_coding.encode(motion, coder)
    return words_to_bytes(coder.get_compressed())


def decode_side(
    data: bytes, rows: int, columns: int, intra: bool, tables: ClassTables
) -> tuple[np.ndarray, MotionField | None]:
    """The inverse of encode_side. Damaged bytes decode to some valid map and field or raise WireError."""
    coder = RangeDecoder(bytes_to_words(data))
    try:
        classes = class_map.decode(rows, columns, tables, coder)
    except (AssertionError, ValueError) as error:
        raise WireError("damaged class map") from error
    motion = None if intra else motion_coding.decode(coder, rows * 16, columns * 16)
    return classes, motion


def copy_holders(packets: int, copies: int) -> frozenset[int]:
    """Which packets carry a copy of the side information: spread evenly, the first always."""
    copies = max(1, min(copies, packets))
    return frozenset(index * packets // copies for index in range(copies))


def join(side: bytes, levels: bytes) -> bytes:
    """One payload; side is empty in packets without a copy."""
    length = len(side)
    if length > MAX_SIDE:
        raise ValueError("side information is too long for its length field")
    head = bytes([length]) if length < 128 else bytes([128 | length & 127, length >> 7])
    return head + side + levels


def split(payload: bytes) -> tuple[bytes, bytes]:
    """payload -> (side, levels). Raises WireError if it is truncated."""
    if not payload:
        raise WireError("payload is empty")
    length, start = payload[0], 1
    if length & 128:
        if len(payload) < 2:
            raise WireError("payload length is truncated")
        length, start = length & 127 | payload[1] << 7, 2
    if start + length > len(payload):
        raise WireError("side information is truncated")
    return payload[start : start + length], payload[start + length :]
