"""The motion coder: exact, compact, and safe against any bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.codec import motion_coding, motion_tables
from lrae.codec.motion_coding import decode
from lrae.codec.motion_field import LIMIT, MotionField
from lrae.codec.motion_prediction import Leaves
from lrae.codec.range_coder import RangeDecoder, RangeEncoder


def random_field(rng, rows, columns, spread, still):
    """A random quadtree with random, partly repeated vectors."""
    size = np.full((rows, columns), 3, np.uint8)
    for level in (1, 2, 3):
        n = 1 << level
        for y in range(0, rows, n):
            for x in range(0, columns, n):
                if rng.random() < 0.5 and (size[y : y + n, x : x + n] >= level + 2).all():
                    size[y : y + n, x : x + n] = level + 3
    leaves = Leaves(size)
    vectors = rng.integers(-spread, spread + 1, (leaves.count, 2))
    vectors[rng.random(leaves.count) < still] = 0
    vectors[rng.random(leaves.count) < still] = vectors[0]
    return MotionField(vectors[leaves.of_cell].astype(np.int16), size)


def packed(field, after=()):
    coder = RangeEncoder()
    motion_coding.encode(field, coder)
    for value in after:
        coder.uniform(value, 1000)
    return coder.finish()


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 12), st.sampled_from([0, 3, 20, LIMIT]))
@settings(max_examples=100, deadline=None)
def test_decoding_returns_exactly_what_was_encoded(seed, rows, columns, spread):
    rng = np.random.default_rng(seed)
    field = random_field(rng, 2 * rows, 2 * columns, spread, rng.random())
    decoded = decode(RangeDecoder(packed(field)), 16 * rows, 16 * columns)
    np.testing.assert_array_equal(decoded.vectors, field.vectors)
    np.testing.assert_array_equal(decoded.size, field.size)
    assert decoded.vectors.dtype == np.int16 and decoded.size.dtype == np.uint8


def test_what_follows_a_field_in_the_same_bytes_is_left_alone():
    field = random_field(np.random.default_rng(2), 16, 24, 30, 0.3)
    decoder = RangeDecoder(packed(field, [7, 999, 0]))
    decode(decoder, 128, 192)
    assert [decoder.uniform(1000) for _ in range(3)] == [7, 999, 0]


def check(data, rows=14, columns=20):
    field = decode(RangeDecoder(data), 8 * rows, 8 * columns)
    assert np.abs(field.vectors).max() <= LIMIT
    leaves = Leaves(field.size)
    np.testing.assert_array_equal(field.size, leaves.level[leaves.of_cell] + 3)
    np.testing.assert_array_equal(field.vectors, field.vectors[leaves.y, leaves.x][leaves.of_cell])


@given(st.binary(max_size=240))
@settings(max_examples=150, deadline=None)
def test_random_bytes_give_a_valid_field(data):
    check(data)


@given(st.integers(0, 2**32), st.integers(0, 10**6), st.integers(1, 255), st.booleans())
@settings(max_examples=100, deadline=None)
def test_damaged_and_cut_bytes_give_a_valid_field(seed, place, flip, cut):
    data = bytearray(packed(random_field(np.random.default_rng(seed), 14, 20, 60, 0.4)))
    place %= len(data)
    if cut:
        data = data[:place]
    else:
        data[place] ^= flip
    check(data)


def test_the_predicted_length_is_the_length():
    field = random_field(np.random.default_rng(5), 32, 56, 40, 0.5)
    bits = motion_coding.bits(field)
    assert bits <= 8 * len(packed(field)) + 8 < bits + 16


def test_no_motion_is_nearly_free():
    assert motion_coding.bits(MotionField.still(256, 448)) < 16


def test_shipped_tables_are_exact_frequencies():
    tables = motion_tables.default_tables()
    for name, shape in motion_tables.SHAPES.items():
        counts = motion_tables.TOTAL * 2.0 ** -tables.bits[name]
        assert counts.shape == (tables.sets, *shape)
        np.testing.assert_allclose(counts, np.rint(counts), rtol=1e-9)
        np.testing.assert_allclose(counts.sum(-1), motion_tables.TOTAL)
    assert (tables.sums[..., 0] == 0).all() and (tables.sums[..., -1] == motion_tables.TOTAL).all()
    assert (np.diff(tables.sums) >= 0).all()


def test_tables_that_do_not_fit_are_refused():
    tables = motion_tables.default_tables()
    wrong = {name: np.ones_like(table, dtype=np.int64) for name, table in tables.bits.items()}
    with pytest.raises(ValueError, match="does not fit"):
        motion_tables.Tables.of(wrong)
