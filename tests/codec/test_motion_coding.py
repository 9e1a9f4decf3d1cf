"""The motion coder: exact, compact, and safe against any bytes."""

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.codec import motion_coding, motion_tables
from lrae.codec.motion_decoding import decode, decode_all
from lrae.codec.motion_field import LIMIT, MotionField
from lrae.codec.motion_prediction import Leaves
from lrae.codec.range_coding import Coders, contained
from lrae.errors import WireError

Encoder = constriction.stream.queue.RangeEncoder
Decoder = constriction.stream.queue.RangeDecoder


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


AFTER = constriction.stream.model.Uniform(1000)


def packed(field, after=()):
    coder = Encoder()
    motion_coding.encode(field, coder)
    coder.encode(np.array(after, np.int32), AFTER)
    return coder.get_compressed()


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 12), st.sampled_from([0, 3, 20, LIMIT]))
@settings(max_examples=100, deadline=None)
def test_decoding_returns_exactly_what_was_encoded(seed, rows, columns, spread):
    rng = np.random.default_rng(seed)
    field = random_field(rng, 2 * rows, 2 * columns, spread, rng.random())
    decoded = decode(Decoder(packed(field)), 16 * rows, 16 * columns)
    np.testing.assert_array_equal(decoded.vectors, field.vectors)
    np.testing.assert_array_equal(decoded.size, field.size)
    assert decoded.vectors.dtype == np.int16 and decoded.size.dtype == np.uint8


def test_what_follows_a_field_in_the_same_bytes_is_left_alone():
    field = random_field(np.random.default_rng(2), 16, 24, 30, 0.3)
    decoder = Decoder(packed(field, [7, 999, 0]))
    decode(decoder, 128, 192)
    assert decoder.decode(AFTER, 3).tolist() == [7, 999, 0]


def check(words, rows=14, columns=20):
    try:
        field = decode(Decoder(words), 8 * rows, 8 * columns)
    except WireError:
        return
    assert np.abs(field.vectors).max() <= LIMIT
    leaves = Leaves(field.size)
    np.testing.assert_array_equal(field.size, leaves.level[leaves.of_cell] + 3)
    np.testing.assert_array_equal(field.vectors, field.vectors[leaves.y, leaves.x][leaves.of_cell])


@given(st.lists(st.integers(0, 2**32 - 1), max_size=60))
@settings(max_examples=150, deadline=None)
def test_random_bytes_give_a_valid_field_or_a_wire_error(words):
    check(np.array(words, np.uint32))


@given(st.integers(0, 2**32), st.integers(0, 10**6), st.integers(1, 2**32 - 1), st.booleans())
@settings(max_examples=100, deadline=None)
def test_damaged_and_cut_bytes_give_a_valid_field_or_a_wire_error(seed, place, flip, cut):
    words = packed(random_field(np.random.default_rng(seed), 14, 20, 60, 0.4))
    place %= len(words)
    if cut:
        words = words[:place]
    else:
        words[place] ^= np.uint32(flip)
    check(words)


def following(decoder):
    """What comes after a field, None where damaged bytes end in it."""
    try:
        with contained("test"):
            return decoder.decode(AFTER, 2).tolist()
    except WireError:
        return None


@given(st.integers(0, 2**32), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_several_fields_in_step_decode_as_one_by_one_whatever_is_damaged(seed, grids):
    rng = np.random.default_rng(seed)
    sizes = [(16 * (rows + 1), 16 * columns) for rows, columns in grids]  # some without columns: no field there
    words = []
    for height, width in sizes:
        field = random_field(rng, height // 8, max(2, width // 8), int(rng.integers(1, 80)), rng.random())
        data = packed(field, [7, 999])
        if rng.random() < 0.4:
            data[rng.integers(len(data))] ^= np.uint32(rng.integers(1, 2**32))
        words.append(data[: rng.integers(len(data) + 1)] if rng.random() < 0.2 else data)
    coders = Coders(Decoder(data) for data in words)
    fields = decode_all(coders, sizes)
    for field, sound, decoder, data, size in zip(fields, coders.sound, coders.decoders, words, sizes, strict=True):
        alone = Decoder(data)
        if not size[1]:
            assert field is None and sound
            continue
        try:
            expected = decode(alone, *size)
        except WireError:
            assert not sound
            continue
        assert sound
        np.testing.assert_array_equal(field.vectors, expected.vectors)
        np.testing.assert_array_equal(field.size, expected.size)
        assert following(decoder) == following(alone)


def test_the_predicted_length_is_the_length():
    field = random_field(np.random.default_rng(5), 32, 56, 40, 0.5)
    bits, words = motion_coding.bits(field), packed(field)
    assert bits <= 32 * len(words) <= bits + 64


def test_no_motion_is_nearly_free():
    assert motion_coding.bits(MotionField.still(256, 448)) < 16


def test_shipped_tables_are_exact_frequencies():
    tables = motion_tables.default_tables()
    for name, shape in motion_tables.SHAPES.items():
        counts = tables.probabilities[name].astype(np.float64) * motion_tables.TOTAL
        assert counts.shape == (tables.sets, *shape)
        np.testing.assert_array_equal(counts, np.rint(counts))
        np.testing.assert_array_equal(counts.sum(-1), motion_tables.TOTAL)


def test_tables_that_do_not_fit_are_refused():
    tables = motion_tables.default_tables()
    wrong = {name: np.ones_like(table, dtype=np.int64) for name, table in tables.bits.items()}
    with pytest.raises(ValueError, match="does not fit"):
        motion_tables.Tables.of(wrong)
