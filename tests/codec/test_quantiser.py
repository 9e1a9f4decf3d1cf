"""codec/quantiser: the compiled loops choose what their definitions say."""

from __future__ import annotations

import numpy as np
import pytest

from lrae.codec.class_map import contexts
from lrae.codec.quantiser import LAMBDA, Part, Quantiser, whole
from lrae.codec.quantiser_kernels import BINS, BINS_PER_STEP, settle
from lrae.models.store import load_model
from lrae.models.tables import CHANNELS, CLASSES, LEVELS, MAX_LEVEL, TRANSFORMS

GRID = 3, 5
COUNT = GRID[0] * GRID[1]


@pytest.fixture(scope="module", params=("inter", "intra"))
def tables(request):
    return load_model("m").tables[request.param]


@pytest.fixture
def coefficients():
    rng = np.random.default_rng(2)
    spread = rng.uniform(0, 1.5, (COUNT, TRANSFORMS, 1)) * 0.98 ** np.arange(CHANNELS)
    return rng.laplace(0, spread).astype(np.float32)


def bins(magnitude):
    return np.minimum((magnitude * BINS_PER_STEP).astype(int), BINS - 1)


def test_costs_of_classes_are_those_of_zeros_and_what_larger_coefficients_change(tables, coefficients):
    quantiser = Quantiser(tables)
    magnitude = np.abs(coefficients)[:, np.arange(CLASSES) % TRANSFORMS]  # [N, CLASSES, CHANNELS]
    zero = np.append(tables.level_bits()[:-1, 0], 0)[tables.rows].sum(1) * LAMBDA
    change = np.where(magnitude >= 0.5, quantiser._delta[bins(magnitude), tables.rows], 0).sum(2)
    np.testing.assert_allclose(quantiser.class_costs(whole(coefficients)), zero + change, rtol=1e-5, atol=1e-3)


def test_a_coefficient_costs_what_its_best_level_does(tables):
    """Within its bin: brute force over all levels, at the middle of bins."""
    quantiser = Quantiser(tables)
    centre = (np.arange(4, 8 * 20) + 0.5) / BINS_PER_STEP
    level = np.arange(1, 2 * LEVELS + 1)
    shift = tables.shift[:, (level > 1).astype(int)]  # [tables, levels]
    bits = tables.level_bits()[:-1]
    cost = (centre[:, None, None] - (level - shift)) ** 2 + LAMBDA * bits[:, 1:]
    best = np.minimum(cost.min(2), centre[:, None] ** 2 + LAMBDA * bits[:, 0])
    change = best - centre[:, None] ** 2 - LAMBDA * bits[:, 0]
    np.testing.assert_allclose(quantiser._delta[4 : 8 * 20, :-1], change, atol=1e-3)


def test_levels_are_those_of_the_class_and_its_transform(tables, coefficients):
    coefficients[0] *= 400  # beyond the bins: rounded, and limited
    quantiser = Quantiser(tables)
    classes = np.random.default_rng(3).integers(0, CLASSES, COUNT).astype(np.uint8)
    own = coefficients[np.arange(COUNT), classes % TRANSFORMS]
    magnitude, table = np.abs(own), tables.rows[classes]
    level = quantiser._level[bins(magnitude), table]
    level = np.where((bins(magnitude) == BINS - 1) & (level > 0), np.minimum(np.rint(magnitude), MAX_LEVEL), level)
    wanted = np.where(magnitude >= 0.5, np.copysign(level, own), 0)
    found = quantiser.levels(whole(coefficients), classes)
    np.testing.assert_array_equal(found, wanted)
    assert not found[table == tables.never].any()


def test_parts_add_up(tables, coefficients):
    quantiser = Quantiser(tables)
    rows = coefficients.reshape(-1, CHANNELS)
    some = np.flatnonzero(np.abs(rows[:, 64:]).max(1) >= 0.5)
    parts = Part(rows[:, :64].copy(), np.arange(len(rows)), 0), Part(rows[some, 64:].copy(), some, 64)
    for mine, other in zip(quantiser.choose(parts, GRID), quantiser.choose(whole(coefficients), GRID), strict=True):
        np.testing.assert_array_equal(mine, other)


def total(cost, sets, rank, classes):
    """Of a map [rows, columns]: cost [N, CLASSES] and bits in the contexts that class_map defines, of its best set."""
    context = contexts(classes[None], rank)[0]
    own = cost.reshape(*GRID, CLASSES)[(*np.indices(GRID), classes)]
    return own.sum() + sets[:, context, classes].sum((1, 2)).min()


def test_a_settled_map_gets_no_cheaper_by_any_one_class_while_its_set_stays(tables):
    rng = np.random.default_rng(4)
    cost = rng.uniform(0, 1, (COUNT, CLASSES)).astype(np.float32)
    sets = (LAMBDA * tables.map_bits).astype(np.float32)
    classes, last = rng.integers(0, CLASSES, GRID).astype(np.uint8), np.inf
    for _ in range(10):
        settle(cost, sets, tables.rank, classes)
        now = total(cost, sets, tables.rank, classes)
        assert now <= last + 1e-4
        last = now
    own = min(range(len(sets)), key=lambda index: total(cost, sets[index : index + 1], tables.rank, classes))
    for position in np.ndindex(GRID):
        for other in range(CLASSES):
            changed = classes.copy()
            changed[position] = other
            assert total(cost, sets[own : own + 1], tables.rank, changed) > last - 1e-4


def test_a_batch_of_maps_is_chosen_map_by_map(tables, coefficients):
    quantiser = Quantiser(tables)
    both = quantiser.choose(whole(np.concatenate((coefficients, coefficients[::-1]))), GRID)
    for part, alone in ((slice(COUNT), coefficients), (slice(COUNT, None), coefficients[::-1])):
        for mine, other in zip(both, quantiser.choose(whole(alone), GRID), strict=True):
            np.testing.assert_array_equal(mine[part], other)
