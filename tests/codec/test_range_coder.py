"""The range coder: exact, as short as the entropy, as the protocol describes it, and at peace with any bytes."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.codec.range_coder import RangeDecoder, RangeEncoder
from lrae.models.tables import sums, to_frequencies


def table(rng, symbols):
    return sums(to_frequencies(rng.dirichlet(np.full(symbols, rng.choice([0.02, 0.2, 2.0])))))


class Reference:
    """The decoder of docs/protocol.md, in plain numbers."""

    def __init__(self, data):
        self.data = (data[i] if i < len(data) else 0 for i in count())
        self.width, self.code = 1 << 48, 0
        for _ in range(6):
            self.code = self.code << 8 | next(self.data)

    def symbol(self, row):
        unit = self.width >> 16
        self.code = min(self.code, (unit << 16) - 1)
        symbol = max(s for s in range(len(row) - 1) if unit * row[s] <= self.code)
        self.code -= unit * row[symbol]
        self.width = unit * (row[symbol + 1] - row[symbol])
        if self.width < 1 << 32:
            self.width, self.code = self.width << 16, self.code << 16 | next(self.data) << 8 | next(self.data)
        return symbol


@given(st.integers(0, 2**32), st.integers(2, 50), st.integers(0, 400), st.integers(1, 2**16))
@settings(max_examples=100, deadline=None)
def test_decoding_returns_exactly_what_was_encoded(seed, symbols, length, equal):
    rng = np.random.default_rng(seed)
    row, other = table(rng, symbols), table(rng, symbols)
    values = rng.choice(symbols, length, p=np.diff(row) / 65536)
    rare = rng.integers(0, symbols, length)
    coder = RangeEncoder()
    coder.symbols(values, row)
    coder.uniform(equal - 1, equal)
    coder.symbols(rare, other)
    data = coder.finish()
    decoder = RangeDecoder(data)
    np.testing.assert_array_equal(decoder.symbols(length, row), values)
    assert decoder.uniform(equal) == equal - 1
    np.testing.assert_array_equal(decoder.symbols(length, other), rare)
    plain = Reference(data)
    assert [plain.symbol(row.tolist()) for _ in values] == values.tolist()
    assert plain.symbol([i * 65536 // equal for i in range(equal + 1)]) == equal - 1


@given(st.binary(max_size=40), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_any_bytes_decode_to_symbols_in_range_as_the_document_says(data, seed):
    rng = np.random.default_rng(seed)
    row = table(rng, int(rng.integers(2, 50)))
    decoder, plain = RangeDecoder(data), Reference(data)
    assert decoder.symbols(60, row).tolist() == [plain.symbol(row.tolist()) for _ in range(60)]
    assert 0 <= decoder.uniform(7) < 7


@pytest.mark.parametrize("zero", [0.3, 0.9, 0.9985])
def test_the_string_is_as_long_as_the_entropy_within_two_in_a_thousand(zero):
    rng = np.random.default_rng(1)
    mass = np.append(zero, np.full(20, (1 - zero) / 20))
    row = sums(to_frequencies(mass))
    share = np.diff(row) / 65536
    values = rng.choice(21, 100_000, p=share)
    coder = RangeEncoder()
    coder.symbols(values, row)
    bits = -np.log2(share[values]).sum()
    assert bits <= 8 * len(coder.finish()) + 8 < 1.002 * bits + 16


def test_a_carry_runs_through_all_bytes_before_it():
    """Symbols at the top of the interval write ff …, until one beyond the middle of the rest carries."""
    row = np.array([0, 1, 0xFFFF, 0x10000], np.int32)
    for length in range(1, 40):
        for last in range(3):
            values = np.array([1] + [2] * length + [last, 0, 2, last])
            coder = RangeEncoder()
            coder.symbols(values, row)
            assert RangeDecoder(coder.finish()).symbols(len(values), row).tolist() == values.tolist()


def test_nothing_takes_no_byte():
    assert RangeEncoder().finish() == b""


def test_the_example_of_the_protocol_document_reads_as_it_says():
    text = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    example = re.search(r"c = ([\d, ]+) the string `([0-9a-f ]+)` reads ([\d, ]+), and then (\d) of (\d) equally", text)
    row, values = (np.array([int(n) for n in example[i].split(", ")]) for i in (1, 3))
    decoder = RangeDecoder(bytes.fromhex(example[2]))
    assert decoder.symbols(len(values), row.astype(np.int32)).tolist() == values.tolist()
    assert decoder.uniform(int(example[5])) == int(example[4])
