"""The bytes of one packet of a frame: [head | fragment of the side information | levels].

Side information is the class map and the motion field (inter frames) or the base (intra frames), in one range-coded
string. Where it fits, it is one fragment; a large picture's is cut into several. Every fragment travels in `copies`
of the frame's packets. A packet decodes if all fragments came, in it or in any other packet of its frame.

    head: LEB128 of 2·length + several (length 0: no fragment here); if several: fragment index, fragment count
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lrae.errors import WireError

MAX_FRAGMENTS = 32


@dataclass(frozen=True)
class Fragment:
    """Part `index` of `count` of a frame's side information."""

    data: bytes
    index: int = 0
    count: int = 1


def cut(side: bytes, largest: int) -> list[Fragment]:
    """Side information in as few fragments of about equal length as keep each within `largest` bytes."""
    count = min(MAX_FRAGMENTS, max(1, -(-len(side) // max(1, largest))))
    size = -(-len(side) // count)
    parts = [side[i : i + size] for i in range(0, len(side), size)] or [b""]
    return [Fragment(part, index, len(parts)) for index, part in enumerate(parts)]


def deal(fragments: list[Fragment], packets: int, copies: int) -> dict[int, Fragment]:
    """Packet index -> fragment: copies of one fragment far apart, at most one fragment a packet.

    packets must be at least len(fragments); there are fewer copies where the packets do not suffice.
    """
    copies = max(1, min(copies, packets // len(fragments)))
    places = len(fragments) * copies
    return {j * packets // places: fragments[j % len(fragments)] for j in range(places)}


def gather(fragments: Iterable[Fragment]) -> bytes | None:
    """The side information, None if a fragment is missing. Raises WireError if the fragments contradict."""
    parts: dict[int, bytes] = {}
    count = 0
    for fragment in fragments:
        if count not in (0, fragment.count):
            raise WireError("side information is cut in two ways")
        count = fragment.count
        parts[fragment.index] = fragment.data
    return b"".join(parts[i] for i in range(count)) if count and len(parts) == count else None


def join(fragment: Fragment | None, levels: bytes) -> bytes:
    """One payload; fragment None: this packet carries no side information."""
    if fragment is None:
        return b"\0" + levels
    several = fragment.count > 1
    value, head = 2 * len(fragment.data) + several, bytearray()
    while value > 127:
        head.append(128 | value & 127)
        value >>= 7
    head.append(value)
    if several:
        head += bytes((fragment.index, fragment.count))
    return bytes(head) + fragment.data + levels


def split(payload: bytes) -> tuple[Fragment | None, bytes]:
    """payload -> (fragment or None, levels). Raises WireError if it is truncated or malformed."""
    value = start = 0
    while True:
        if start >= len(payload) or start > 3:
            raise WireError("payload head is truncated")
        value |= (payload[start] & 127) << 7 * start
        start += 1
        if payload[start - 1] < 128:
            break
    length, index, count = value >> 1, 0, 1
    if value & 1:
        if len(payload) < start + 2:
            raise WireError("payload head is truncated")
        index, count = payload[start], payload[start + 1]
        start += 2
        if not index < count <= MAX_FRAGMENTS:
            raise WireError("fragment index beyond the fragment count")
    if start + length > len(payload):
        raise WireError("side information is truncated")
    fragment = Fragment(payload[start : start + length], index, count) if length else None
    return fragment, payload[start + length :]
