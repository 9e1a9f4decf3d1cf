"""Which payloads of a frame share a datagram: few datagrams, of about equal length."""

from __future__ import annotations

from collections.abc import Sequence

from lrae.codec.wire.data import ENTRY, is_alone

Bundles = tuple[tuple[int, ...], ...]
NEAR = 0.5  # of a mean payload: how much longer a datagram may get so that neighbours do not share one


def bundle(sizes: Sequence[int], room: int, least: int = 1) -> Bundles:
    """The indices of payloads of so many bytes, datagram by datagram, in each the longest last.

    As few datagrams of `room` bytes as first-fit decreasing needs, but `least` where there are as many payloads; then
    about equally long (longest processing time first), as a parity packet is as long as the longest. Payloads that help
    each other's concealment, next to each other or half a frame apart (lrae.codec.spare), are kept apart if that
    costs little. Each takes ENTRY bytes beside its own; one that exceeds the room travels alone.
    """
    sizes = [size + ENTRY for size in sizes]
    order = sorted(range(len(sizes)), key=lambda index: (-sizes[index], index))
    fewest = _first_fit(sizes, order, room)
    count = max(len(fewest), min(least, len(sizes)))
    if count == len(sizes):
        return tuple((index,) for index in range(count))
    while (groups := _even(sizes, order, room, count)) is None and count > len(fewest):
        count += 1
    groups = groups or fewest
    return tuple(sorted((tuple(sorted(group, key=lambda index: (sizes[index], index))) for group in groups), key=min))


def entry_bytes(bundles: Bundles) -> int:
    """What the entries of all its payloads add to a frame that travels so."""
    return ENTRY * sum(len(group) for number, group in enumerate(bundles) if not is_alone(number, group))


def _first_fit(sizes: Sequence[int], order: Sequence[int], room: int) -> list[list[int]]:
    groups: list[list[int]] = []
    free: list[int] = []
    for index in order:
        where = next((at for at, left in enumerate(free) if sizes[index] <= left), None)
        if where is None:
            where = len(groups)
            groups.append([])
            free.append(room)
        groups[where].append(index)
        free[where] -= sizes[index]
    return groups


def _even(sizes: Sequence[int], order: Sequence[int], room: int, count: int) -> list[list[int]] | None:
    """`count` datagrams, each payload where it leaves the shortest; None: that does not fit."""
    groups: list[list[int]] = [[] for _ in range(count)]
    lengths = [0] * count
    near = NEAR * sum(sizes) / len(sizes)
    half = len(sizes) // 2

    def cost(at: int) -> float:
        return lengths[at] + near * any(abs(index - other) in (1, half, len(sizes) - half) for other in groups[at])

    for index in order:
        fitting = [at for at in range(count) if not groups[at] or lengths[at] + sizes[index] <= room]
        if not fitting:
            return None
        at = min(fitting, key=cost)
        groups[at].append(index)
        lengths[at] += sizes[index]
    return groups
