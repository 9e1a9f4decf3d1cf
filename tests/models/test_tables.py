"""Entropy tables are positive integers with the sum that the range coder needs, whatever they were made from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrae.models.tables import (
    CHANNELS,
    CLASSES,
    FREQUENCY_BITS,
    LEVELS,
    SYMBOLS,
    ClassTables,
    table_grid,
    to_frequencies,
)

TOTAL = 1 << FREQUENCY_BITS


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=80).filter(lambda mass: sum(mass) > 1e-3))
def test_frequencies_are_positive_and_sum_exactly(mass):
    frequencies = to_frequencies(np.array(mass))
    assert frequencies.dtype == np.int32
    assert frequencies.min() >= 1 and frequencies.sum() == TOTAL


def test_frequencies_follow_the_probabilities():
    mass = np.random.default_rng(0).random((5, 3, 20))
    frequencies = to_frequencies(mass)
    assert (frequencies.sum(-1) == TOTAL).all()
    np.testing.assert_allclose(frequencies / TOTAL, mass / mass.sum(-1, keepdims=True), atol=40 / TOTAL)


def test_every_table_of_the_grid_is_codable_symmetric_and_different():
    grid = table_grid()
    assert grid.shape[1] == SYMBOLS and len(grid) < 255, "its index and `never` fit a byte"
    assert grid.min() >= 1 and (grid.sum(1) == TOTAL).all()
    negative, positive = grid[:, :LEVELS][:, ::-1], grid[:, LEVELS + 1 : 2 * LEVELS + 1]
    top = np.where(grid.argmax(1) == LEVELS - 1)[0]  # where level -1 is the likeliest, it takes what rounding leaves
    np.testing.assert_array_equal(np.delete(negative, top, 0), np.delete(positive, top, 0))
    assert np.abs(negative - positive).max() <= 2 * SYMBOLS
    assert len(np.unique(grid, axis=0)) == len(grid)


@pytest.fixture
def tables():
    frequencies = table_grid()
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(frequencies) + 1, (CLASSES, CHANNELS)).astype(np.uint8)
    maps = to_frequencies(rng.random((2, 7, CLASSES)))
    shift = np.zeros((len(frequencies), 2), np.float32)
    return ClassTables(rows, frequencies, shift, maps, np.ones(CLASSES, np.uint8))


def test_bits_are_those_of_the_frequencies_and_never_forbids_all_but_zero(tables):
    bits = tables.level_bits()
    assert bits.shape == (tables.never + 1, 2 * LEVELS + 1)
    np.testing.assert_allclose(
        bits[:-1, : LEVELS + 1], FREQUENCY_BITS - np.log2(tables.frequencies[:, LEVELS : 2 * LEVELS + 1]), rtol=1e-6
    )
    assert (np.diff(bits[:-1, LEVELS + 1 :], axis=1) >= 0).all(), "a longer escape costs more"
    assert bits[-1, 0] == 0 and bits[-1, 1:].min() > 1e5


def test_class_bits_are_code_lengths(tables):
    assert (2.0 ** -tables.class_bits()).sum() == pytest.approx(1)
    np.testing.assert_allclose((2.0 ** -tables.map_bits).sum(-1), 1, rtol=1e-4)
