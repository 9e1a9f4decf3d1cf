"""What a packet is made of, part by part: it comes back exactly, and stays in range whatever the bytes say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.codec import class_map, intra_base
from lrae.codec.entropy import LevelCoder, packet_lattice
from lrae.codec.range_coder import RangeDecoder, RangeEncoder, new_tape
from lrae.codec.types import INTERLEAVED
from lrae.models.store import load_model
from lrae.models.tables import CHANNELS, CLASSES, LEVELS, MAX_LEVEL, STEPS, table_steps

TABLES = load_model("m").tables
SEEDS = st.integers(0, 2**32)
SIDES = st.integers(1, 20)


def random_levels(rng, classes, tables):
    """Levels of all sizes, none where the class allows none."""
    size = rng.choice([0, 1, LEVELS, LEVELS + 1, MAX_LEVEL], (len(classes), CHANNELS), p=[0.9, 0.07, 0.01, 0.01, 0.01])
    levels = rng.integers(-size, size + 1) * (tables.rows[classes] != tables.never)
    return levels.astype(np.int16)


@given(SEEDS, st.sampled_from(["inter", "intra"]), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_levels_come_back_from_the_packets_they_were_dealt_to(seed, kind, packets):
    rng, coder = np.random.default_rng(seed), LevelCoder(TABLES[kind])
    classes = rng.integers(0, CLASSES, 6 * 5).astype(np.uint8)
    levels = random_levels(rng, classes, TABLES[kind])
    lattice = packet_lattice(6, 5, packets, INTERLEAVED)
    total = np.zeros_like(levels)
    for packet in range(packets):
        encoder = RangeEncoder()
        coder.encode(levels, classes, encoder, lattice, packet)
        encoder.uniform(5, 7)
        decoder = RangeDecoder(encoder.finish())
        total += coder.decode(classes, decoder, lattice, packet)
        assert decoder.uniform(7) == 5
    np.testing.assert_array_equal(total, levels)


def test_levels_that_are_as_busy_as_their_classes_take_about_as_many_bits_as_the_tables_say():
    rng, tables = np.random.default_rng(3), TABLES["inter"]
    classes = rng.integers(0, CLASSES, 600).astype(np.uint8)
    rows = np.append(tables.frequencies, np.zeros((1, tables.frequencies.shape[1]), int), 0)[tables.rows[classes]]
    rows[..., LEVELS] += rows.sum(-1) == 0
    drawn = np.argmax(rng.random(rows.shape[:2])[..., None] * rows.sum(-1, keepdims=True) < rows.cumsum(-1), -1)
    levels = np.clip(drawn - LEVELS, -LEVELS, LEVELS).astype(np.int16)
    bits = tables.level_bits()[tables.rows[classes], np.abs(levels)].sum(dtype=np.float64)
    encoder = RangeEncoder()
    LevelCoder(tables).encode(levels, classes, encoder)
    assert abs(8 * len(encoder.finish()) - bits) < 0.01 * bits


@pytest.mark.parametrize("loud", [1, 3])
def test_levels_that_are_busier_than_their_classes_take_fewer_bits_than_the_tables_say(loud):
    rng, tables = np.random.default_rng(3), TABLES["inter"]
    classes = rng.integers(0, CLASSES, 100).astype(np.uint8)
    levels = rng.integers(-loud, loud + 1, (100, CHANNELS)) * (tables.rows[classes] != tables.never)
    coder, encoder = LevelCoder(tables), RangeEncoder()
    coder.encode(levels.astype(np.int16), classes, encoder)
    assert 8 * len(encoder.finish()) < 0.9 * coder.bits(levels.astype(np.int16), classes).sum()


def test_tables_have_their_busier_ones_at_hand():
    tables, steps = TABLES["inter"], table_steps()
    zero = tables.frequencies[:, LEVELS]
    assert (steps[:, STEPS.index(0)] == np.arange(len(zero))).all()
    assert (np.diff(zero[steps]) <= 0).all() and (zero[steps[:, 0]] > zero).mean() > 0.8


@given(SEEDS, SIDES, SIDES, st.sampled_from(["inter", "intra"]))
@settings(max_examples=50, deadline=None)
def test_a_class_map_comes_back_under_the_contexts_that_the_quantiser_counts_with(seed, rows, columns, kind):
    rng, tables = np.random.default_rng(seed), TABLES[kind]
    classes = rng.integers(0, CLASSES, (rows, columns)).astype(np.uint8)
    encoder = RangeEncoder()
    class_map.encode(classes, tables, encoder)
    data = encoder.finish()
    np.testing.assert_array_equal(class_map.decode(rows, columns, tables, RangeDecoder(data)), classes)
    context = class_map.contexts(classes[None], tables.rank)[0]
    bits = tables.map_bits[:, context, classes].sum((1, 2)).min() + 2
    assert bits - 8 <= 8 * len(data) <= bits + 16


@given(SEEDS, SIDES, SIDES, st.sampled_from([3, 60, 2000]))
@settings(max_examples=50, deadline=None)
def test_a_base_comes_back(seed, rows, columns, spread):
    rng = np.random.default_rng(seed)
    base = np.clip(rng.normal(0, spread, (3, rows, columns)), -2040, 2040).astype(np.int16)
    encoder = RangeEncoder()
    intra_base.encode(base, TABLES["intra"], encoder)
    encoder.uniform(5, 7)
    decoder = RangeDecoder(encoder.finish())
    np.testing.assert_array_equal(intra_base.decode(rows, columns, TABLES["intra"], decoder), base)
    assert decoder.uniform(7) == 5


def test_a_smooth_base_takes_little():
    y, x = np.mgrid[:17, :30]
    base = np.stack([y + x, 2 * y, x - y]).astype(np.int16)
    encoder = RangeEncoder()
    intra_base.encode(base, TABLES["intra"], encoder)
    assert len(encoder.finish()) < 150


@given(st.binary(max_size=60), SIDES, SIDES)
@settings(max_examples=100, deadline=None)
def test_any_bytes_decode_to_something_in_range(data, rows, columns):
    decoder = RangeDecoder(data)
    classes = class_map.decode(rows, columns, TABLES["intra"], decoder)
    assert classes.shape == (rows, columns) and classes.max() < CLASSES
    base = intra_base.decode(rows, columns, TABLES["intra"], decoder)
    assert base.shape == (3, rows, columns) and np.abs(base).max() <= intra_base.LARGEST
    levels = LevelCoder(TABLES["intra"]).decode(classes.reshape(-1), decoder)
    assert np.abs(levels).max() <= MAX_LEVEL


@pytest.mark.parametrize("kind", ["inter", "intra"])
def test_contexts_seen_one_by_one_are_those_seen_all_at_once(kind):
    tables = TABLES[kind]
    classes = np.random.default_rng(4).integers(0, CLASSES, (9, 13)).astype(np.uint8)
    tape, state = new_tape(classes.size), np.zeros(4, np.int64)
    ranks, nowhere = class_map._no_ranks(9, 13), np.empty(0, np.uint8)
    class_map._walk(state, nowhere, tape, tables.map_sums[0], tables.rank, classes, ranks)
    context = class_map.contexts(classes[None], tables.rank)[0]
    order = np.argsort(np.tile(np.arange(13) % 2, (9, 1)), axis=1, kind="stable")  # even columns first
    np.testing.assert_array_equal(tape[:, 0].reshape(9, 13), np.take_along_axis(context, order, 1))
    np.testing.assert_array_equal(tape[:, 1].reshape(9, 13), np.take_along_axis(classes, order, 1))
