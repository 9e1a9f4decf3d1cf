"""The search's inner loops against plain definitions of what they compute."""

import cv2
import numpy as np
import pytest

from lrae.codec import motion_choice, motion_coding, motion_kernels
from lrae.codec.motion import LAMBDA, Distortion, search
from lrae.codec.motion_field import LIMIT, MotionField
from lrae.codec.motion_tables import default_tables, first_rows


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)


def smooth(height, width, scales=(3,)):
    """Texture of some scales, pixels."""
    rng = np.random.default_rng(0)
    parts = [cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), scale) * scale for scale in scales]
    return np.clip(128 + 100 * sum(parts) / len(parts), 0, 255).astype(np.uint8)


def vectors(rows, columns, seed=0, most=LIMIT):
    return np.random.default_rng(seed).integers(-most, most + 1, (rows, columns, 2)).astype(np.int16)


def moved(reference, field):
    """The reference, sampled at every pixel's place plus its cell's vector."""
    height, width = reference.shape
    away = field.repeat(8, 0).repeat(8, 1).astype(np.float32) / 4
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32) + away
    return cv2.remap(reference.astype(np.float32), places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize("current", [noise(48, 80), np.zeros((48, 80), np.uint8), np.full((48, 80), 255, np.uint8)])
def test_distortion_is_the_squared_error_of_bicubic_samples(current):
    reference, field = np.where(noise(48, 80, 1) < 128, 0, 255).astype(np.uint8), vectors(6, 10)
    error = (moved(reference, field) - current).reshape(6, 8, 10, 8)
    expected = np.square(error).sum((1, 3)) / (LAMBDA * 12**2)
    other = vectors(6, 10, 1)
    fields = np.stack([other, field, np.where(np.arange(10)[:, None] % 2, field, other)])
    found = Distortion(current, reference, 12).moved(fields)
    np.testing.assert_allclose(found[1], expected, rtol=2e-3, atol=1)
    np.testing.assert_array_equal(found[2], np.where(np.arange(10) % 2, found[1], found[0]))


def test_distortion_takes_pictures_that_may_not_be_written_and_floats():
    current, reference = smooth(32, 32), noise(32, 32)
    current.flags.writeable = reference.flags.writeable = False
    still = np.zeros((1, 4, 4, 2), np.int16)
    plain = Distortion(current, reference, 12).moved(still)
    np.testing.assert_array_equal(Distortion(current, reference.astype(np.float32), 12).moved(still), plain)


@pytest.mark.parametrize("away", [(0, 0), (3, -2), (-3, 4)])
def test_least_squares_find_a_small_shift_of_smooth_cells(away):
    big = cv2.GaussianBlur(smooth(80, 112), (0, 0), 3)
    reference = np.ascontiguousarray(big[16:64, 16:96])
    current = moved(reference, np.full((6, 10, 2), away, np.int16)).round().astype(np.uint8)
    distortion = Distortion(current, reference, 12)
    for row, column in ((2, 3), (3, 6)):
        sums = np.zeros(motion_kernels.SUMS)
        motion_kernels.add_slopes(distortion.current, distortion.padded, row, column, 0, 0, sums)
        assert np.abs(np.array(motion_kernels.least(sums)) - away).max() <= 1


@pytest.mark.parametrize("away", [(-40, 24), (24, 0), (56, 0), (-62, -60), (0, 60)])
def test_motion_of_many_pixels_is_found(away):
    big = smooth(320, 480, (3, 12, 24))
    (x, y), (height, width) = away, (192, 256)
    reference = np.ascontiguousarray(big[64 : 64 + height, 80 : 80 + width])
    current = np.ascontiguousarray(big[64 + y : 64 + y + height, 80 + x : 80 + x + width])
    found = search(current, reference, 12).vectors[8:-8, 8:-8].reshape(-1, 2)
    assert (np.abs(found - np.multiply(away, 4)).max(1) <= 1).mean() > 0.95


def random_tree(rows, columns, seed):
    rng = np.random.default_rng(seed)
    field = MotionField(vectors(rows, columns, seed, 40), np.full((rows, columns), 3, np.uint8))
    for level in (1, 2, 3):
        side = 1 << level
        for row in range(0, rows, side):
            for column in range(0, columns, side):
                here = slice(row, row + side), slice(column, column + side)
                if rng.random() < 0.6 and (field.size[here] == level + 2).all():
                    field.size[here] = level + 3
                    field.vectors[here] = field.vectors[row, column] * rng.integers(0, 2)
    return field


@pytest.mark.parametrize("seed", range(4))
def test_the_search_counts_the_bits_that_the_motion_coder_spends(seed):
    field = random_tree(12, 20, seed)
    rows, columns = field.size.shape
    tables, names = default_tables(), ("kind", "dx", "dy")
    lengths = tuple(tables.bits[name].mean(0) for name in names)
    anchor = motion_coding.anchor_of(field)
    known, around, total = np.zeros((rows + 2, columns + 2), np.uint8), np.zeros((8, 2), np.int64), 0.0
    for level in (3, 2, 1, 0):
        side = 1 << level
        for odd_row, odd_column in ((0, 0), (1, 1), (0, 1), (1, 0)):
            for row in range(odd_row * side, rows, 2 * side):
                for column in range(odd_column * side, columns, 2 * side):
                    if field.size[row, column] == level + 3:
                        args = field.vectors, known, row, column, side, *map(int, anchor), around
                        prediction = motion_coding.predict_leaf(*args)
                        x, y = map(int, field.vectors[row, column])
                        total += motion_choice.vector_bits(x, y, level, prediction, lengths)
                        known[row + 1 : row + 1 + side, column + 1 : column + 1 + side] = 1
    row, symbol = motion_coding.symbols(field).T
    firsts = first_rows()
    of_vectors = (row >= firsts["kind"]) & (row < firsts["moving"])
    first_vector = np.flatnonzero(of_vectors)[0]
    plain = -row[first_vector:][row[first_vector:] < 0].sum()
    assert total == pytest.approx(tables.lengths.mean(0)[row[of_vectors], symbol[of_vectors]].sum() + plain, rel=1e-4)


def test_the_tree_covers_the_picture_with_whole_leaves_of_one_vector():
    field = search(noise(80, 112), noise(80, 112, 1), 4)
    rows, columns = field.size.shape
    for row in range(rows):
        for column in range(columns):
            n = 1 << int(field.size[row, column]) - 3
            here = slice(row // n * n, row // n * n + n), slice(column // n * n, column // n * n + n)
            assert (field.size[here] == field.size[row, column]).all()
            assert (field.vectors[here] == field.vectors[row, column]).all()
