"""The map of loop filters: what is written is read, at about its entropy, and damage is harmless."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lrae.codec import filter_map
from lrae.codec.filter_map import CHOICES
from lrae.codec.range_coder import RangeDecoder, RangeEncoder

MAPS = hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 20)), elements=st.integers(0, CHOICES - 1))


def coded(choices: np.ndarray) -> bytes:
    coder = RangeEncoder()
    filter_map.encode(choices, coder)
    return coder.finish()


@given(MAPS)
def test_a_map_comes_back_as_it_was(choices):
    np.testing.assert_array_equal(filter_map.decode(*choices.shape, RangeDecoder(coded(choices))), choices)


@given(MAPS)
def test_no_map_takes_much_more_than_what_its_choices_take_alone(choices):
    assert len(coded(choices)) <= choices.size * 3.5 / 8 + 4  # the likeliest of the tables, 3.5 bits a choice at most


@pytest.mark.parametrize("choice", range(CHOICES))
def test_a_map_of_one_choice_is_short(choice):
    assert len(coded(np.full((9, 15), choice, np.uint8))) <= 13  # 0.77 bits an area


def test_neighbours_that_agree_save_bits():
    rng = np.random.default_rng(0)
    patches = rng.integers(0, CHOICES, (3, 4)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    assert len(coded(patches)) < 0.75 * len(coded(rng.permutation(patches.reshape(-1)).reshape(patches.shape)))


@given(st.binary(max_size=40), st.integers(1, 12), st.integers(1, 20))
def test_any_bytes_are_a_map(data, rows, columns):
    choices = filter_map.decode(rows, columns, RangeDecoder(data))
    assert choices.shape == (rows, columns) and choices.max() < CHOICES
