"""The receiver's side of forward error correction: packets and parity packets to the packets that were lost."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import numpy as np

from lrae.codec.fec.encoder import MAX_PACKET, matrix_of
from lrae.codec.fec.gf256 import COLUMNS, cauchy, eliminate, product, reed_solomon
from lrae.codec.types import MAX_PACKETS
from lrae.codec.wire.parity import BLOCK, LENGTH_BYTES, MAX_WINDOW, Parity, check_rows
from lrae.errors import WireError

MAX_FRAMES = 64  # frames whose packets are kept
MAX_EQUATIONS = 64  # parity packets that wait for more
_BITS = 6  # a packet's key is number << 6 | index


@dataclass(frozen=True)
class Recovered:
    """A lost packet: packets[index] of frame `number` as FecEncoder.add was given it."""

    number: int
    index: int
    packet: bytes


@dataclass(eq=False, slots=True)
class _Equation:
    """A parity packet some of whose packets are missing. name: number, code, row, base. keys: what it covers;
    coefficients: one byte each. missing: of the keys.
    """

    name: tuple[int, int, int, int]
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
        self._equations: deque[_Equation] = deque()
        self._missing: set[int] = set()  # the union over the equations
        self._before: int | None = None

    def add(self, number: int, index: int, packet: bytes) -> list[Recovered]:
        """A packet that arrived; repetitions are fine (the first counts). Returns what can be recovered now."""
        key = number << _BITS | index
        if not 0 <= index < MAX_PACKETS or len(packet) > MAX_PACKET or key in self._packets or self._too_old(number):
            return []
        self._keep(key, bytes(packet))
        if key not in self._missing:
            return []
        self._settle({key})
        return self._solve()

    def add_parity(self, parity: Parity) -> list[Recovered]:
        """A parity packet that arrived, its number unwrapped. Returns what can be recovered now."""
        if self._before is not None and parity.number < self._before:
            self.counts["late"] += 1
            return []
        name = (parity.number, parity.code, parity.row, parity.base)
        origin = parity.number << _BITS
        keys = [origin + offset for offset in _offsets(parity.covered)]
        missing = {key for key in keys if key not in self._packets}
        if not missing or any(equation.name == name for equation in self._equations):
            self.counts["spare"] += 1
            return []
        try:
            coefficients = _coefficients(parity.code, parity.row, parity.base, len(keys))
        except WireError:
            self.counts["refused"] += 1
            return []
        if not LENGTH_BYTES <= len(parity.payload) <= MAX_PACKET + LENGTH_BYTES:
            self.counts["refused"] += 1
            return []
        if len(self._equations) >= MAX_EQUATIONS:
            self._drop({self._equations[0]})
        self._equations.append(_Equation(name, keys, coefficients, bytes(parity.payload), missing))
        self._missing |= missing
        return self._solve()

    def forget(self, before: int) -> None:
        """Frames older than this are of no use any more: they are not recovered for their own sake."""
        if self._before is not None and before <= self._before:
            return
        self._before = before
        self._drop({equation for equation in self._equations if equation.name[0] < before})
        for number in [number for number in self._frames if self._too_old(number)]:
            self._discard(number)

    def _too_old(self, number: int) -> bool:
        """Not even a parity packet of the oldest frame of use covers it."""
        return self._before is not None and number <= self._before - MAX_WINDOW

    def _keep(self, key: int, packet: bytes) -> None:
        number = key >> _BITS
        keys = self._frames.get(number)
        if keys is None:
            if len(self._frames) >= MAX_FRAMES:
                oldest = next(iter(self._frames))
                self._discard(oldest)
                self._drop({e for e in self._equations if e.name[0] - MAX_WINDOW < oldest <= e.name[0]})
            keys = self._frames[number] = []
        keys.append(key)
        self._packets[key] = packet

    def _discard(self, number: int) -> None:
        for key in self._frames.pop(number):
            del self._packets[key]

    def _settle(self, keys: Iterable[int]) -> None:
        """These packets are there now; equations without a missing packet have done their duty."""
        for equation in self._equations:
            equation.missing.difference_update(keys)
        self._drop({equation for equation in self._equations if not equation.missing})

    def _drop(self, equations: set[_Equation]) -> None:
        if equations:
            self._equations = deque(e for e in self._equations if e not in equations)
        self._missing = set().union(*(e.missing for e in self._equations))

    def _solve(self) -> list[Recovered]:
        """Recovers what the equations determine. Ends: every round but the last drops an equation."""
        found: list[Recovered] = []
        while equations := self._promising():
            solved, refused = self._round(equations)
            self.counts["refused"] += len(refused)
            self._drop(refused)
            for key, packet in solved.items():
                number = key >> _BITS
                self._keep(key, packet)
                if self._before is None or number >= self._before:
                    found.append(Recovered(number, key & (1 << _BITS) - 1, packet))
            self._settle(solved)
            if not refused:
                break
        self.counts["recovered"] += len(found)
        return found

    def _promising(self) -> list[_Equation]:
        """Equations that may determine something: any n of them that do together miss no more than n packets."""
        count = len(self._equations)
        equations = list(self._equations)
        while equations:
            equations = [e for e in equations if len(e.missing) <= count]
            if len(equations) == count:
                break
            count = len(equations)
        return equations

    def _round(self, equations: list[_Equation]) -> tuple[dict[int, bytes], set[_Equation]]:
        """(packets by key, equations that cannot be true)."""
        missing = set().union(*(e.missing for e in equations))
        known = [key for key in dict.fromkeys(chain.from_iterable(e.keys for e in equations)) if key not in missing]
        packets = [self._packets[key] for key in known]
        longest = max(map(len, packets), default=0) + LENGTH_BYTES
        impossible = {e for e in equations if len(e.payload) < longest and self._too_short(e)}
        if impossible:
            return {}, impossible
        place = {key: at for at, key in enumerate(chain(missing, known))}
        rows = []
        for at, equation in enumerate(equations, len(place)):
            row = bytearray(len(place) + len(equations))
            for key, coefficient in zip(equation.keys, equation.coefficients, strict=True):
                row[place[key]] = coefficient
            row[at] = 1
            rows.append(bytes(row))
        solutions = eliminate(rows, len(missing))
        if not solutions:
            return {}, set()
        matrix = np.frombuffer(b"".join(row for _, row in solutions), np.uint8).reshape(len(solutions), -1)
        values = _combine(matrix, packets, [e.payload for e in equations])
        keys = list(missing)
        return _judge([keys[unknown] for unknown, _ in solutions], values, matrix[:, len(known) :] != 0, equations)

    def _too_short(self, equation: _Equation) -> bool:
        """A packet that it covers is longer than it says."""
        lengths = (len(self._packets[key]) for key in equation.keys if key not in equation.missing)
        return max(lengths, default=0) + LENGTH_BYTES > len(equation.payload)


def _combine(matrix: np.ndarray, packets: list[bytes], payloads: list[bytes]) -> list[bytes]:
    """matrix, uint8 [N, len(packets) + len(payloads)], times those rows: N byte strings."""
    length = max(map(len, payloads))
    rows = np.frombuffer(b"".join([p.ljust(length, b"\0") for p in payloads]), np.uint8).reshape(-1, length)
    if packets:
        rows = np.concatenate((matrix_of(packets, length), rows))
    used = matrix.any(axis=0)
    if not used.all():
        matrix, rows = matrix[:, used], rows[used]
    return [row.tobytes() for row in product(matrix, rows)]


def _judge(
    keys: list[int], values: list[bytes], behind: np.ndarray, equations: list[_Equation]
) -> tuple[dict[int, bytes], set[_Equation]]:
    """(packets by key, equations that yielded something else). behind: bool [values, equations], which from which."""
    packets, refused = {}, np.zeros(len(equations), bool)
    for key, value, shares in zip(keys, values, behind, strict=True):
        end = int.from_bytes(value[:LENGTH_BYTES], "big") + LENGTH_BYTES
        if end > len(value) or any(value[end:]):
            refused |= shares
        else:
            packets[key] = value[LENGTH_BYTES:end]
    if refused.any():
        innocent = ~(behind & refused).any(axis=1)
        packets = {key: packets[key] for key, good in zip(keys, innocent, strict=True) if good}
    return packets, {equation for equation, bad in zip(equations, refused, strict=True) if bad}


@lru_cache(maxsize=256)
def _offsets(covered: tuple[int, ...]) -> tuple[int, ...]:
    """What a parity packet covers, by column: keys less that of packet 0 of its newest frame."""
    return tuple(
        (index - (back << _BITS))
        for back in range(len(covered) - 1, -1, -1)
        for index in range(covered[back].bit_length())
        if covered[back] >> index & 1
    )


@lru_cache(maxsize=1024)
def _coefficients(code: int, row: int, base: int, packets: int) -> bytes:
    """One byte per covered packet. Raises WireError where the code has no such row."""
    check_rows(code, row, base, packets)
    if code == BLOCK:
        return reed_solomon(packets, base)[row].tobytes()
    return cauchy([row], (base + np.arange(packets)) % COLUMNS)[0].tobytes()
