"""The range coder: integers only; any bytes decode to symbols in range, in bounded time.

Kernels of other modules append to one string, or read from it, one after the other: they share its `data`, uint8, and
its `state`, int64 [4]. Probabilities are parts of 2^16; a table row holds the sums before each symbol, and 2^16 last.
A picture's part is coded in one walk, the same for both directions: code() reads a symbol, or notes it on a tape
that is written once the best set of tables is known.
"""

from __future__ import annotations

import numpy as np

from lrae.codec.jit import inline, kernel

BITS = 16  # of a probability
TOP, BOTTOM = 48, 32  # the interval is 2^32 to 2^48 wide, in units of the last bit so far
LOW, WIDTH, PLACE, NOTED = range(4)  # state: LOW is the interval's lower end, or (reading) how far the code is above it


class RangeEncoder:
    """A string that is being written."""

    def __init__(self):
        self.state = np.array([0, 1 << TOP, 0, 0])
        self.data = np.empty(2048, np.uint8)

    @property
    def length(self) -> int:
        """Bytes so far, but for up to six at the end."""
        return int(self.state[PLACE])

    def room(self, symbols: int) -> None:
        """To be called before that many symbols are appended by kernels: a symbol takes two bytes at most."""
        wanted = int(self.state[PLACE]) + 2 * symbols + 16
        if wanted > len(self.data):
            grown = np.empty(2 * wanted, np.uint8)
            grown[: len(self.data)] = self.data
            self.data = grown

    def uniform(self, value: int, count: int) -> None:
        """Append one of `count` (up to 2^16) equally likely values."""
        self.room(1)
        put_uniform(self.state, self.data, value, count)

    def symbols(self, values: np.ndarray, row: np.ndarray) -> None:
        """Append values int64 [n] under one table row int32 [symbols + 1]."""
        self.room(len(values))
        _put_all(self.state, self.data, values, row)

    def tape(self, tape: np.ndarray, sums: np.ndarray, bits: np.ndarray) -> None:
        """Append the best set's number, then what code() noted. sums: int32 [sets, rows, symbols + 1]; bits: float32
        [sets, rows, symbols], lengths."""
        self.room(len(tape) + 1)
        _put_tape(self.state, self.data, tape, sums, bits)

    def finish(self) -> bytes:
        """The shortest string that decodes to what was appended; trailing zero bytes are implied."""
        self.room(3)
        size = _flush(self.state, self.data)
        return self.data[:size].tobytes().rstrip(b"\0")


class RangeDecoder:
    """A string that is being read."""

    def __init__(self, data: bytes):
        self.data = np.frombuffer(bytearray(data), np.uint8)
        self.state = np.array([0, 1 << TOP, 0, 0])
        _start(self.state, self.data)

    def uniform(self, count: int) -> int:
        """The inverse of RangeEncoder.uniform."""
        return get_uniform(self.state, self.data, count)

    def symbols(self, count: int, row: np.ndarray) -> np.ndarray:
        """The inverse of RangeEncoder.symbols: int64 [count]."""
        return _get_all(self.state, self.data, count, row)


READING = np.empty((0, 2), np.int32)  # the tape of one who reads


def new_tape(symbols: int) -> np.ndarray:
    """Room for that many: int32 [n, 2] (row of the table, symbol); the row −k stands for k plain bits."""
    return np.empty((symbols, 2), np.int32)


@kernel
def code(state, data, tape, table, row, symbol):
    """The next symbol: read under table[row], or noted on the tape as it is."""
    if len(tape) == 0:
        return get_uniform(state, data, 1 << -row) if row < 0 else get(state, data, table[row])
    tape[state[NOTED], 0], tape[state[NOTED], 1] = row, symbol
    state[NOTED] += 1
    return symbol


@inline
def put(state, data, start, stop):
    """Append a symbol of probability start … stop."""
    unit = state[WIDTH] >> BITS
    low, width, place = state[LOW] + unit * start, unit * (stop - start), state[PLACE]
    if low >> TOP:
        low -= 1 << TOP
        carry = place - 1
        while data[carry] == 255:
            data[carry] = 0
            carry -= 1
        data[carry] += 1
    if width >> BOTTOM == 0:
        data[place], data[place + 1] = low >> 40, low >> 32 & 255
        low, width = (low & 0xFFFFFFFF) << 16, width << 16
        state[PLACE] = place + 2
    state[LOW], state[WIDTH] = low, width


@inline
def look(state):
    """(unit, code): the next symbol is the largest s with unit·row[s] ≤ code."""
    unit = state[WIDTH] >> BITS
    return unit, min(state[LOW], (unit << BITS) - 1)  # more is damage


@inline
def take(state, data, unit, code, start, stop):
    """Step over the symbol of probability start … stop, which `code` of look() lies in."""
    code, width = code - unit * start, unit * (stop - start)
    if width >> BOTTOM == 0:
        place = state[PLACE]
        first = data[place] if place < len(data) else 0
        second = data[place + 1] if place + 1 < len(data) else 0
        code, width = code << 16 | first << 8 | second, width << 16
        state[PLACE] = place + 2
    state[LOW], state[WIDTH] = code, width


@kernel
def get(state, data, row):
    """The next symbol under row, int32 [symbols + 1]."""
    unit, code = look(state)
    symbol, beyond = 0, len(row) - 1
    while beyond - symbol > 1:
        middle = (symbol + beyond) >> 1
        if unit * row[middle] <= code:
            symbol = middle
        else:
            beyond = middle
    take(state, data, unit, code, row[symbol], row[symbol + 1])
    return symbol


@kernel
def put_uniform(state, data, value, count):
    """Append one of `count` equally likely values."""
    put(state, data, (value << BITS) // count, (value + 1 << BITS) // count)


@kernel
def get_uniform(state, data, count):
    """The inverse of put_uniform."""
    unit, code = look(state)
    value = ((code // unit + 1) * count - 1) >> BITS
    take(state, data, unit, code, (value << BITS) // count, (value + 1 << BITS) // count)
    return value


@kernel
def _put_all(state, data, values, row):
    for value in values:
        put(state, data, row[value], row[value + 1])


@kernel
def _get_all(state, data, count, row):
    values = np.empty(count, np.int64)
    for index in range(count):
        values[index] = get(state, data, row)
    return values


@kernel
def _put_tape(state, data, tape, sums, bits):
    length = np.zeros(len(bits), np.float32)
    for index in range(state[NOTED]):
        row, symbol = tape[index, 0], tape[index, 1]
        if row >= 0:
            for each in range(len(bits)):
                length[each] += bits[each, row, symbol]
    chosen = 0
    for each in range(len(bits)):
        if length[each] < length[chosen]:
            chosen = each
    put_uniform(state, data, chosen, len(bits))
    table = sums[chosen]
    for index in range(state[NOTED]):
        row, symbol = np.int64(tape[index, 0]), np.int64(tape[index, 1])
        if row < 0:
            put_uniform(state, data, symbol, 1 << -row)
        else:
            put(state, data, table[row, symbol], table[row, symbol + 1])
    state[NOTED] = 0


@kernel
def _start(state, data):
    for index in range(TOP // 8):
        state[LOW] = state[LOW] << 8 | (data[index] if index < len(data) else 0)
    state[PLACE] = TOP // 8


@kernel
def _flush(state, data):
    """End with the value in the interval that has the fewest bytes; returns how long the string is."""
    low, end, count = state[LOW], state[LOW] + state[WIDTH], 0
    value = 0
    for count in range(TOP // 8 + 1):
        rest = 1 << TOP - 8 * count
        value = (low + rest - 1) // rest * rest
        if value < end:
            break
    place = state[PLACE]
    if value >> TOP:
        carry = place - 1
        while data[carry] == 255:
            data[carry] = 0
            carry -= 1
        data[carry] += 1
    for index in range(count):
        data[place + index] = value >> TOP - 8 * (index + 1) & 255
    return place + count
