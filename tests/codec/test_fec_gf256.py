"""codec/fec/gf256: reedsolo's field, products by table look-up, systems solved as far as they can be."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrae.codec.fec import gf256
from lrae.codec.fec.gf256 import COLUMNS, INVERSE, MUL, ROWS, cauchy, product, reed_solomon, solve

seeds = st.integers(0, 2**32 - 1)


def rank(matrix):
    """Over GF(256), the slow way."""
    rows, found = [list(map(int, row)) for row in matrix], 0
    for column in range(matrix.shape[1]):
        pivot = next((r for r in rows if r[column]), None)
        if pivot is None:
            continue
        rows.remove(pivot)
        found += 1
        scale = int(INVERSE[pivot[column]])
        unit = [int(MUL[scale, v]) for v in pivot]
        rows = [[v ^ int(MUL[r[column], u]) for v, u in zip(r, unit, strict=True)] for r in rows]
    return found


def test_the_field_is_the_one_of_reedsolo():
    reedsolo = pytest.importorskip("reedsolo")
    reedsolo.init_tables(gf256.PRIMITIVE)
    assert MUL.tolist() == [[reedsolo.gf_mul(a, b) for b in range(256)] for a in range(256)]
    assert [reedsolo.gf_inverse(a) for a in range(1, 256)] == INVERSE[1:].tolist()


@pytest.mark.parametrize("packets, parity", [(1, 1), (4, 1), (4, 2), (10, 4), (64, 16), (64, 64), (1, 64), (191, 64)])
def test_the_block_code_is_byte_for_byte_the_one_of_reedsolo(packets, parity):
    reedsolo = pytest.importorskip("reedsolo")
    coder = reedsolo.RSCodec(parity)
    rows = np.random.default_rng(packets).integers(0, 256, (packets, 5), np.uint8)
    expected = np.array([list(coder.encode(bytes(column))[packets:]) for column in rows.T], np.uint8).T
    assert np.array_equal(product(reed_solomon(packets, parity), rows), expected)


@given(st.integers(1, 9), st.integers(1, 256), st.integers(1, 70), seeds)
@settings(max_examples=50, deadline=None)
def test_a_table_product_is_the_product(outputs, inputs, length, seed):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(0, 256, (outputs, inputs), np.uint8)
    rows = rng.integers(0, 256, (inputs, length), np.uint8)
    expected = np.bitwise_xor.reduce(MUL[matrix[:, :, None], rows[None]], axis=1)
    assert np.array_equal(product(matrix, rows), expected)


def test_every_square_part_of_a_cauchy_matrix_is_invertible():
    matrix = cauchy(range(0, ROWS, 13), range(0, COLUMNS, 29))
    for size in range(1, 5):
        for rows in itertools.combinations(range(len(matrix)), size):
            for columns in itertools.combinations(range(matrix.shape[1]), size):
                assert rank(matrix[np.ix_(rows, columns)]) == size


def test_cauchy_rows_and_columns_fit_the_field_and_beyond_is_refused():
    assert ROWS + COLUMNS <= 256
    assert cauchy(range(ROWS), range(COLUMNS)).all()
    for rows, columns in (([ROWS], [0]), ([0], [COLUMNS])):
        with pytest.raises(ValueError, match="range"):
            cauchy(rows, columns)


@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 2, 255]), seeds)
@settings(max_examples=200, deadline=None)
def test_solve_finds_exactly_the_unknowns_that_are_determined(equations, unknowns, largest, seed):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(0, largest + 1, (equations, unknowns), np.uint8)
    values = rng.integers(0, 256, (unknowns, 3), np.uint8)
    rows = [row.tobytes() + np.eye(equations, dtype=np.uint8)[i].tobytes() for i, row in enumerate(matrix)]
    solution = solve(tuple(rows), unknowns)
    whole = rank(matrix)
    determined = {u for u in range(unknowns) if rank(np.delete(matrix, u, axis=1)) == whole - 1 and
                  rank(np.vstack((matrix, np.eye(unknowns, dtype=np.uint8)[u]))) == whole}  # fmt: skip
    assert set(solution.unknowns if solution else ()) == determined
    if solution:
        shares = np.array([list(share) for share in solution.shares], np.uint8)
        assert np.array_equal(product(shares, product(matrix, values)), values[list(solution.unknowns)])
