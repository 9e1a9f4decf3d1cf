"""The motion coder: exact, compact, and safe against any bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.codec import motion_coding, motion_tables
from lrae.codec.motion_coding import decode
from lrae.codec.motion_field import LIMIT, MotionField
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
    vectors = rng.integers(-spread, spread + 1, (rows, columns, 2))
    vectors[rng.random((rows, columns)) < still] = 0
    vectors[rng.random((rows, columns)) < still] = vectors[0, 0]
    return MotionField(of_leaves(vectors, size).astype(np.int16), size)


def of_leaves(cells, size):
    """What the first cell of its leaf has, for every cell."""
    y, x = np.indices(size.shape)
    level = size.astype(int) - 3
    return cells[y >> level << level, x >> level << level]


def plain_prediction(vectors, known, y, x, side, anchor):
    """What predict_leaf() says, in plain words."""
    bottom, right = min(y + side, vectors.shape[0]), min(x + side, vectors.shape[1])
    middle_y, middle_x = (y + bottom) // 2, (x + right) // 2
    sides = [(middle_y, x - 1), (middle_y, right), (y - 1, middle_x), (bottom, middle_x)]
    corners = [(y - 1, x - 1), (y - 1, right), (bottom, x - 1), (bottom, right)]
    sides, corners = ([tuple(vectors[p].tolist()) for p in places if known[p]] for places in (sides, corners))
    used, all_known = sides or corners, sides + corners
    if not used:
        return *anchor, *anchor, 0
    median = tuple(sorted(values)[(len(used) - 1) // 2] for values in zip(*used, strict=True))
    others = [vector for vector in all_known if vector != median]
    spread = max(max(abs(a - b) for a, b in zip(vector, median, strict=True)) for vector in used)
    agreement = 2 + (spread > 2) + (spread > 6) + (spread > 16) if others else 1
    return *median, *(others or [median])[0], agreement


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
    assert field.size.min() >= 3 and field.size.max() <= 6
    np.testing.assert_array_equal(field.size, of_leaves(field.size, field.size))
    np.testing.assert_array_equal(field.vectors, of_leaves(field.vectors, field.size))


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


@given(st.integers(0, 2**32), st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 4, 30]))
@settings(max_examples=200, deadline=None)
def test_a_leaf_is_predicted_from_what_is_known_around_it(seed, side, spread):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-spread, spread + 1, (14, 20, 2)).astype(np.int16)
    known = np.zeros((16, 22), np.uint8)
    known[1:-1, 1:-1] = rng.random((14, 20)) < rng.random()
    y, x = (int(rng.integers(0, length)) // side * side for length in (14, 20))
    around = np.empty((8, 2), np.int64)
    got = motion_coding.predict_leaf(vectors, known, y, x, side, 5, -7, around)
    inside = {(i - 1, j - 1): bool(known[i, j]) for i, j in np.ndindex(16, 22)}
    assert got == plain_prediction(vectors, inside, y, x, side, (5, -7))


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
