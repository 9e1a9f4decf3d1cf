"""The receiver's side of forward error correction: packets and parity packets to the packets that were lost."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, compress, repeat
from math import inf
from typing import NamedTuple

import numpy as np

from lrae.codec.fec.encoder import MAX_PACKET, framed
from lrae.codec.fec.gf256 import COLUMNS, Solution, cauchy, product_by, reed_solomon, solve
from lrae.codec.types import MAX_PACKETS
from lrae.codec.wire.parity import BLOCK, LENGTH_BYTES, MAX_WINDOW, Parity, check_rows
from lrae.errors import WireError

MAX_FRAMES = 64  # frames whose packets are kept
MAX_EQUATIONS = 64  # parity packets that wait for more
MAX_WORK = 64 * 64  # equations times missing packets of a system that is worth solving: about a millisecond
_BITS = 6  # a packet's key is number << 6 | index


class Recovered(NamedTuple):
    """A lost packet: packets[index] of frame `number` as FecEncoder.add was given it."""

    number: int
    index: int
    packet: bytes


@dataclass(eq=False, slots=True)
class _Equation:
    """A parity packet some of whose packets are missing. number: its newest frame. keys: of what it covers;
    coefficients: a byte for each. missing: of these keys.
    """

    number: int
    keys: list[int]
    coefficients: bytes
    payload: bytes
    missing: set[int]


class FecDecoder:
    """Packets in any order in, recovered packets out. Sans IO; never raises, whatever arrives.

    Memory: the packets of MAX_FRAMES frames and MAX_EQUATIONS parity packets at most; the first to arrive go
    first. counts: "recovered"; "spare" parity (nothing it covers was missing, or a repetition); "refused"
    parity (no such code, shorter than a packet that it covers, or what it yields is no packet); "late" parity
    (of a frame before `forget`).
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._packets: dict[int, bytes] = {}  # by key
        self._frames: OrderedDict[int, list[int]] = OrderedDict()  # keys in _packets by frame number
        self._equations: dict[tuple[int, int, int, int], _Equation] = {}  # by number, code, row, base
        self._missing: set[int] = set()  # the union over the equations
        self._before = self._oldest = -inf  # frames of use; frames that parity of these may cover

    def add(self, number: int, index: int, packet: bytes) -> list[Recovered]:
        """A packet that arrived; repetitions are fine (the first counts). Returns what can be recovered now."""
        key = number << _BITS | index
        if not 0 <= index < MAX_PACKETS or len(packet) > MAX_PACKET or key in self._packets or number < self._oldest:
            return []
        self._keep(key, bytes(packet))
        if key not in self._missing:
            return []
        self._settle({key})
        return self._solve()

    def add_parity(self, parity: Parity) -> list[Recovered]:
        """A parity packet that arrived, its number unwrapped. Returns what can be recovered now."""
        if parity.number < self._before:
            self.counts["late"] += 1
            return []
        try:
            offsets, coefficients = _line(parity.code, parity.row, parity.base, parity.covered)
        except WireError:
            self.counts["refused"] += 1
            return []
        origin = parity.number << _BITS
        keys = [origin + offset for offset in offsets]
        missing = set(keys).difference(self._packets)
        name = (parity.number, parity.code, parity.row, parity.base)
        if not missing or name in self._equations:
            self.counts["spare"] += 1
            return []
        if not LENGTH_BYTES <= len(parity.payload) <= MAX_PACKET + LENGTH_BYTES:
            self.counts["refused"] += 1
            return []
        if len(self._equations) >= MAX_EQUATIONS:
            self._drop({next(iter(self._equations.values()))})
        self._equations[name] = _Equation(parity.number, keys, coefficients, bytes(parity.payload), missing)
        self._missing |= missing
        # it takes part in no solution unless there are as many equations as it misses packets
        return self._solve() if len(missing) <= len(self._equations) else []

    def forget(self, before: int) -> None:
        """Frames older than this are of no use any more: they are not recovered for their own sake."""
        if before <= self._before:
            return
        self._before = before
        self._oldest = before - MAX_WINDOW + 1
        if self._equations:
            self._drop({equation for equation in self._equations.values() if equation.number < before})
        for number in [number for number in self._frames if number < self._oldest]:
            self._discard(number)

    def _keep(self, key: int, packet: bytes) -> None:
        number = key >> _BITS
        keys = self._frames.get(number)
        if keys is None:
            if len(self._frames) >= MAX_FRAMES:
                oldest = next(iter(self._frames))
                self._discard(oldest)
                self._drop({e for e in self._equations.values() if e.number - MAX_WINDOW < oldest <= e.number})
            keys = self._frames[number] = []
        keys.append(key)
        self._packets[key] = packet

    def _discard(self, number: int) -> None:
        for key in self._frames.pop(number):
            del self._packets[key]

    def _settle(self, keys: Iterable[int]) -> None:
        """These packets are there now; equations without a missing packet have done their duty."""
        waiting = {}
        for name, equation in self._equations.items():
            equation.missing.difference_update(keys)
            if equation.missing:
                waiting[name] = equation
        self._equations = waiting
        self._missing.difference_update(keys)

    def _drop(self, equations: set[_Equation]) -> None:
        self._equations = {name: e for name, e in self._equations.items() if e not in equations}
        self._missing = set().union(*[e.missing for e in self._equations.values()])

    def _solve(self) -> list[Recovered]:
        """Recovers what the equations determine. Ends: every round but the last drops an equation."""
        found: list[Recovered] = []
        while equations := self._promising():
            solved, refused = self._round(equations)
            if refused:
                self.counts["refused"] += len(refused)
                self._drop(refused)
            for key, packet in solved.items():
                number = key >> _BITS
                self._keep(key, packet)
                if number >= self._before:
                    found.append(Recovered(number, key & (1 << _BITS) - 1, packet))
            if solved:
                self._settle(solved)
            if not refused:
                break
        if found:
            self.counts["recovered"] += len(found)
        return found

    def _promising(self) -> list[_Equation]:
        """Equations that may determine something: any n of them that do together miss no more than n packets.

        Of too many, those that miss least.
        """
        count = len(self._equations)
        equations = list(self._equations.values())
        while equations:
            equations = [e for e in equations if len(e.missing) <= count]
            if len(equations) == count:
                break
            count = len(equations)
        if len(equations) * len(self._missing) > MAX_WORK:
            equations.sort(key=lambda e: len(e.missing))
            work = [n * len(union) for n, union in enumerate(accumulate((e.missing for e in equations), set.union), 1)]
            equations = [e for e, size in zip(equations, work, strict=True) if size <= MAX_WORK]
        return equations

    def _round(self, equations: list[_Equation]) -> tuple[dict[int, bytes], set[_Equation]]:
        """(packets by key, equations that cannot be true)."""
        unknown = set().union(*[e.missing for e in equations])
        missing = list(unknown)
        keys = equations[0].keys
        alike = all(e.keys == keys for e in equations)
        covered = keys if alike else dict.fromkeys(chain.from_iterable(e.keys for e in equations))
        known = [key for key in covered if key not in unknown]
        packets = [self._packets[key] for key in known]
        longest = max(map(len, packets), default=0) + LENGTH_BYTES
        impossible = {e for e in equations if len(e.payload) < longest and self._too_short(e)}
        if impossible:
            return {}, impossible
        order = missing + known
        if alike:
            places = [keys.index(key) for key in order]
            rows = [bytes([e.coefficients[place] for place in places]) for e in equations]
        else:
            shares = [dict(zip(e.keys, e.coefficients, strict=True)) for e in equations]
            rows = [bytes(map(share.get, order, repeat(0))) for share in shares]
        solution = solve(tuple(map(bytes.__add__, rows, _units(len(rows)))), len(missing))
        if solution is None:
            return {}, set()
        values = _combine(solution, packets, [e.payload for e in equations])
        return _judge([missing[at] for at in solution.unknowns], values, solution.shares, equations)

    def _too_short(self, equation: _Equation) -> bool:
        """A packet that it covers is longer than it says."""
        lengths = (len(self._packets[key]) for key in equation.keys if key not in equation.missing)
        return max(lengths, default=0) + LENGTH_BYTES > len(equation.payload)


def _combine(solution: Solution, packets: list[bytes], payloads: list[bytes]) -> list[bytes]:
    """The values of the unknowns. packets, payloads: what is known."""
    length = max(map(len, payloads))
    lines = framed(packets, length) + [payload.ljust(length, b"\0") for payload in payloads]
    rows = np.frombuffer(b"".join(compress(lines, solution.used)), np.uint8).reshape(-1, length)
    values = product_by(solution.tables, rows)
    return [values[at].tobytes() for at in range(len(solution.unknowns))]


def _judge(
    keys: list[int], values: list[bytes], shares: tuple[bytes, ...], equations: list[_Equation]
) -> tuple[dict[int, bytes], set[_Equation]]:
    """(packets by key, equations that yielded something else). shares: per value, of the equations at its end."""
    packets: dict[int, bytes] = {}
    refused: set[_Equation] = set()
    for key, value, share in zip(keys, values, shares, strict=True):
        end = int.from_bytes(value[:LENGTH_BYTES], "big") + LENGTH_BYTES
        if end > len(value) or any(value[end:]):
            refused.update(compress(equations, share[-len(equations) :]))
        else:
            packets[key] = value[LENGTH_BYTES:end]
    if refused:
        for key, share in zip(keys, shares, strict=True):
            if refused.intersection(compress(equations, share[-len(equations) :])):
                packets.pop(key, None)
    return packets, refused


@lru_cache(maxsize=MAX_EQUATIONS)
def _units(count: int) -> list[bytes]:
    """The rows of a unit matrix."""
    return [(1 << 8 * at).to_bytes(count, "little") for at in range(count)]


@lru_cache(maxsize=1024)
def _line(code: int, row: int, base: int, covered: tuple[int, ...]) -> tuple[tuple[int, ...], bytes]:
    """What a parity packet covers, by column: (keys less that of packet 0 of its newest frame, coefficients).

    Raises WireError where the code has no such row.
    """
    offsets = tuple(
        (index - (back << _BITS))
        for back in range(len(covered) - 1, -1, -1)
        for index in range(covered[back].bit_length())
        if covered[back] >> index & 1
    )
    check_rows(code, row, base, len(offsets))
    if code == BLOCK:
        return offsets, reed_solomon(len(offsets), base)[row].tobytes()
    return offsets, cauchy([row], (base + np.arange(len(offsets))) % COLUMNS)[0].tobytes()
