"""A coded frame cut into packets, and what can be put together again of those that arrive.

    byte 0        bit 0: a unit begins here; bit 1: a unit ends here
    then          whole units one after the other, or a piece of one

A unit is what decodes or is lost as a whole: a NAL unit with its start code, or a whole frame where the codec has no
such units. Small units share a packet, larger ones than a packet are cut into packets of about equal size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

BEGINS, ENDS = 1, 2
_START_CODE = re.compile(rb"\x00?\x00\x00\x01")
_H264_IDR, _H264_SEI, _USER_DATA = 5, 6, 5


def split_units(frame: bytes) -> list[bytes]:
    """The NAL units of an Annex B access unit, each with its start code; no byte is lost."""
    starts = [match.start() for match in _START_CODE.finditer(frame)]  # start codes cannot occur inside a unit
    return [frame[a:b] for a, b in zip(starts, [*starts[1:], len(frame)], strict=True)]


def is_banner(unit: bytes) -> bool:
    """Whether an H.264 unit is x264's settings as text: some 700 bytes in the first frame that no receiver needs."""
    body = unit[unit.index(1) + 1 :]
    return len(body) > 1 and body[0] & 31 == _H264_SEI and body[1] == _USER_DATA


def is_idr(unit: bytes) -> bool:
    """Whether an H.264 unit is a slice of a picture that needs none before it. libav's keyframe flag also marks where
    an intra refresh begins."""
    body = unit[unit.index(1) + 1 :]
    return len(body) > 0 and body[0] & 31 == _H264_IDR


def pack(units: Sequence[bytes], room: int) -> list[bytes]:
    """Packets of at most `room` bytes (2 or more), in order."""
    packets, shared = [], b""
    for unit in units:
        if shared and 1 + len(shared) + len(unit) > room:
            packets.append(bytes([BEGINS | ENDS]) + shared)
            shared = b""
        if 1 + len(unit) <= room:
            shared += unit
            continue
        count = -(-len(unit) // (room - 1))
        size = -(-len(unit) // count)  # about equal: a parity packet is as long as the longest one it covers
        pieces = [unit[at : at + size] for at in range(0, len(unit), size)]
        last = len(pieces) - 1
        packets += [bytes([BEGINS * (i == 0) | ENDS * (i == last)]) + piece for i, piece in enumerate(pieces)]
    if shared:
        packets.append(bytes([BEGINS | ENDS]) + shared)
    return packets


def unpack(payloads: Mapping[int, bytes]) -> tuple[bytes, frozenset[int]]:
    """The units of a frame that arrived whole, in order, and the indices of the packets that they came in."""
    whole, used = [], set()
    pieces: list[bytes] = []
    first = expected = -1
    for index in sorted(payloads):
        payload = payloads[index]
        flags = payload[0] if payload else 0
        if flags & BEGINS:
            pieces, first = [], index
        elif index != expected:
            pieces, first = [], -1
        expected = index + 1
        if first < 0:
            continue
        pieces.append(payload[1:])
        if flags & ENDS:
            whole += pieces
            used.update(range(first, index + 1))
            pieces, first = [], -1
    return b"".join(whole), frozenset(used)
