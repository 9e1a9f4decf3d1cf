"""The motion search and the warp."""

import cv2
import numpy as np
import pytest

from lrae.codec import motion_coding
from lrae.codec.motion import MotionField, chroma, dense, search, warp


def texture(height, width, seed=0):
    noise = np.random.default_rng(seed).normal(size=(height + 64, width + 64)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.clip(128 + smooth * 300, 0, 255).astype(np.uint8)


def random_field(height, width, seed=0, spread=40):
    rng = np.random.default_rng(seed)
    cells = height // 8, width // 8
    vectors = rng.integers(-spread, spread + 1, (*cells, 2)).astype(np.int16)
    return MotionField(vectors, np.full(cells, 3, np.uint8))


def test_a_shift_of_the_whole_picture_is_found_and_costs_few_bits():
    big = texture(128, 192)
    reference, current = big[32:160, 32:224], big[35:163, 27:219]
    field = search(np.ascontiguousarray(current), np.ascontiguousarray(reference), step=12)
    middle = field.vectors[2:-2, 2:-2].reshape(-1, 2)
    assert np.abs(middle - (-20, 12)).max() <= 1
    assert motion_coding.bits(field) < 150


def test_a_still_picture_with_coding_noise_gets_no_motion():
    current = texture(128, 192)[:128, :192]
    noise = np.random.default_rng(1).normal(0, 2, current.shape)
    field = search(current, np.clip(current + noise, 0, 255).astype(np.float32), step=24)
    assert not field.vectors.any()
    assert (field.size == 6).all()
    assert motion_coding.bits(field) < 16


@pytest.mark.parametrize("size", [(16, 16), (16, 48), (80, 112), (272, 480)])
def test_any_multiple_of_16_is_searched(size):
    big = texture(*size)
    current, reference = big[: size[0], : size[1]].copy(), big[2 : size[0] + 2, 3 : size[1] + 3].copy()
    field = search(current, reference, step=6)
    assert field.vectors.shape == (size[0] // 8, size[1] // 8, 2)
    assert field.vectors.dtype == np.int16 and field.size.dtype == np.uint8
    assert set(np.unique(field.size)) <= {3, 4, 5, 6}


def test_the_search_pays_in_error_of_prediction():
    big = texture(128, 192, 3)
    reference = np.ascontiguousarray(big[32:160, 32:224])
    current = reference.copy()
    current[32:96, 48:128] = big[62:126, 84:164]  # a patch moves, the rest stands
    field = search(current, reference, step=12)
    moved = warp(reference.astype(np.float32), dense(field))
    assert ((moved - current) ** 2).mean() < 0.2 * ((reference.astype(float) - current) ** 2).mean()


def test_dense_fields_lie_on_the_grid_that_the_warp_resolves():
    field = random_field(64, 96)
    for displacement in (dense(field), chroma(dense(field))):
        assert displacement.dtype == np.float32
        np.testing.assert_array_equal(displacement * 32, np.rint(displacement * 32))


def test_the_warp_is_plain_bilinear_interpolation_with_a_repeated_border():
    field = random_field(64, 96, spread=120)
    plane = texture(64, 96)[:64, :96].astype(np.float32)
    displacement = dense(field).astype(np.float64)
    y, x = np.indices(plane.shape)
    at_x = np.clip(x + displacement[..., 0], 0, 95)
    at_y = np.clip(y + displacement[..., 1], 0, 63)
    x0, y0 = np.floor(at_x).astype(int), np.floor(at_y).astype(int)
    x1, y1 = np.minimum(x0 + 1, 95), np.minimum(y0 + 1, 63)
    fx, fy = at_x - x0, at_y - y0
    expected = (1 - fy) * ((1 - fx) * plane[y0, x0] + fx * plane[y0, x1])
    expected += fy * ((1 - fx) * plane[y1, x0] + fx * plane[y1, x1])
    np.testing.assert_allclose(warp(plane, dense(field)), expected, atol=1e-3)


def test_a_still_field_changes_nothing():
    plane = texture(64, 96)[:64, :96].astype(np.float32)
    np.testing.assert_array_equal(warp(plane, dense(MotionField.still(64, 96))), plane)
