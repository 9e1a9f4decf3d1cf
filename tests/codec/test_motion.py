"""The motion search and the warp."""

import cv2
import numpy as np
import pytest
import torch

from lrae.codec import motion_coding
from lrae.codec.motion import FAST, GOOD, MotionField, chroma, dense, join, search, warp
from lrae.codec.reconstruct import warp_torch


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
    assert motion_coding.bits(field) < 400


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


@pytest.mark.parametrize("effort", [GOOD, FAST])
def test_the_search_pays_in_error_of_prediction(effort):
    big = texture(128, 192, 3)
    reference = np.ascontiguousarray(big[32:160, 32:224])
    current = reference.copy()
    current[32:96, 48:128] = big[62:126, 84:164]  # a patch moves, the rest stands
    field = search(current, reference, step=12, effort=effort)
    moved = warp(reference.astype(np.float32), dense(field))
    assert ((moved - current) ** 2).mean() < 0.2 * ((reference.astype(float) - current) ** 2).mean()


def test_dense_fields_lie_on_the_grid_that_the_warp_resolves():
    field = random_field(64, 96)
    for displacement in (dense(field), chroma(dense(field))):
        assert displacement.dtype == np.float32
        np.testing.assert_array_equal(displacement * 32, np.rint(displacement * 32))


def sampled(plane, displacement, kernel):
    """Separable interpolation with taps kernel(distance), the border repeated, in float64."""
    (height, width), (y, x) = plane.shape, np.indices(plane.shape)
    at_x, at_y = x + displacement[..., 0].astype(float), y + displacement[..., 1].astype(float)
    x0, y0 = np.floor(at_x).astype(int), np.floor(at_y).astype(int)
    result = np.zeros(plane.shape)
    for dy in range(-1, 3):
        for dx in range(-1, 3):
            weight = kernel(np.abs(at_x - x0 - dx)) * kernel(np.abs(at_y - y0 - dy))
            result += weight * plane[np.clip(y0 + dy, 0, height - 1), np.clip(x0 + dx, 0, width - 1)]
    return result


def linear(t):
    return np.maximum(1 - t, 0)


def cubic(t, a=-0.75):
    near, far = ((a + 2) * t - (a + 3)) * t * t + 1, ((t - 5) * t + 8) * t * a - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


@pytest.mark.parametrize("cell", [8, 4])
def test_the_warp_is_overlapped_block_motion_compensation(cell):
    field = random_field(32, 48, spread=120)
    plane = texture(32, 48)[: 4 * cell, : 6 * cell].astype(np.float32)
    displacement = dense(field) if cell == 8 else chroma(dense(field))
    expected = np.zeros(plane.shape)
    vectors = displacement[cell // 2 :: cell, cell // 2 :: cell]
    for y in range(0, plane.shape[0], cell // 4):  # quarter cells have uniform weights
        for x in range(0, plane.shape[1], cell // 4):
            row, column, inside_y, inside_x = y // cell, x // cell, y % cell, x % cell
            above_or_below = np.clip(row + (1 if inside_y >= cell // 2 else -1), 0, 3)
            beside = np.clip(column + (1 if inside_x >= cell // 2 else -1), 0, 5)
            edge_y, edge_x = inside_y in (0, 3 * cell // 4), inside_x in (0, 3 * cell // 4)
            v, h = 0.25 if edge_y else 0.125, 0.25 if edge_x else 0.125
            here = slice(y, y + cell // 4), slice(x, x + cell // 4)
            for weight, vector, kernel in (
                (1 - v - h, vectors[row, column], cubic),
                (v, vectors[above_or_below, column], linear),
                (h, vectors[row, beside], linear),
            ):
                whole = np.broadcast_to(vector, (*plane.shape, 2))
                expected[here] += weight * sampled(plane, whole, kernel)[here]
    np.testing.assert_allclose(warp(plane, displacement, cell), expected, atol=1e-3)


def test_a_still_field_changes_nothing():
    plane = texture(64, 96)[:64, :96].astype(np.float32)
    np.testing.assert_array_equal(warp(plane, dense(MotionField.still(64, 96))), plane)


@pytest.mark.parametrize("cell", [8, 4])
def test_torch_warps_as_opencv_does(cell):
    field = random_field(64, 96, spread=255)
    plane = texture(64, 96)[: 8 * cell, : 12 * cell].astype(np.float32) - 128
    displacement = dense(field) if cell == 8 else chroma(dense(field))
    moved = warp_torch(torch.from_numpy(plane)[None, None], torch.from_numpy(displacement)[None], cell)
    np.testing.assert_allclose(moved[0, 0].numpy(), warp(plane, displacement, cell), atol=0.01)


def test_leaves_of_one_vector_are_joined():
    vectors = np.zeros((6, 10, 2), np.int16)
    vectors[:4, 4:8] = 5, -3
    vectors[0, 0] = 1, 0
    joined = join(MotionField(vectors, np.full((6, 10), 3, np.uint8)))
    assert (joined.size[:4, 4:8] == 5).all()
    assert (joined.size[:2, :2] == 3).all() and (joined.size[2:4, :4] == 4).all()
    np.testing.assert_array_equal(joined.vectors, vectors)
