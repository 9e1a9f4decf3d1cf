"""Overlapped block motion compensation: the kernel, its definition by OpenCV's sampling, and the one in torch."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from lrae.codec import motion_field, reconstruct
from lrae.codec.motion_field import MotionField
from lrae.models.blocks import CHROMA_GAIN, join, pack, split

SIZES = ((16, 16), (16, 48), (80, 32), (64, 96))


def field_of(height: int, width: int, kind: str) -> MotionField:
    """still; pan: one vector; leaves: 16x16; cells: 8x8; far: as long as a coded vector can be; wild: int16."""
    rng = np.random.default_rng(height * 1000 + width)
    cells = height // 8, width // 8
    spread = {"still": 0, "far": motion_field.LIMIT, "wild": 32767}.get(kind, 60)
    vectors = rng.integers(-spread, spread + 1, (*cells, 2)).astype(np.int16)
    if kind == "pan":
        vectors[:] = vectors[0, 0]
    if kind == "leaves":
        vectors = np.ascontiguousarray(vectors[::2, ::2].repeat(2, 0).repeat(2, 1)[: cells[0], : cells[1]])
    return MotionField(vectors, np.full(cells, 3, np.uint8))


def planes_of(height: int, width: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.uniform(0, 255, (height // n, width // n)).astype(np.float32) for n in (1, 2, 2)]


def picture_of(planes: list[np.ndarray]) -> torch.Tensor:
    """Planes as State has them."""
    y, u, v = planes
    chroma = (np.stack((u, v), -1).reshape(len(u), -1) - 128) * np.float32(CHROMA_GAIN)
    return torch.from_numpy(np.concatenate((y - 128, chroma)))


def defined(plane: np.ndarray, field: MotionField, cell: int) -> np.ndarray:
    """The definition: a pixel is the weighted sum of a bicubic sample (a = -0.75) by its own cell's vector and of two
    bilinear ones by the vectors of the next cell above or below, and to the left or right. Weights: H.263 Annex F."""
    (height, width), displacement = plane.shape, motion_field.dense(field, cell)
    (rows, row_weight), (columns, column_weight) = (motion_field.overlap(side, cell) for side in plane.shape)
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)

    def sample(by: np.ndarray, interpolation: int) -> np.ndarray:
        return cv2.remap(plane, by + places, None, interpolation, borderMode=cv2.BORDER_REPLICATE)

    own = sample(displacement, cv2.INTER_CUBIC)
    vertical = sample(displacement[rows], cv2.INTER_LINEAR)
    horizontal = sample(displacement[:, columns], cv2.INTER_LINEAR)
    return own + row_weight[:, None] * (vertical - own) + column_weight * (horizontal - own)


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
def test_opencv_samples_as_defined(cell):
    field, plane = field_of(32, 48, "cells"), planes_of(4 * cell, 6 * cell)[0]
    displacement = motion_field.dense(field, cell)
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
    np.testing.assert_allclose(defined(plane, field, cell), expected, atol=1e-3)


def test_displacements_lie_on_the_grid_that_opencv_resolves():
    for cell in (8, 4):
        displacement = motion_field.dense(field_of(64, 96, "cells"), cell)
        assert displacement.dtype == np.float32
        np.testing.assert_array_equal(displacement * 32, np.rint(displacement * 32))
    np.testing.assert_array_equal(motion_field.chroma(motion_field.dense(field_of(64, 96, "cells"))), displacement)


@pytest.mark.parametrize("kind", ["still", "pan", "leaves", "cells", "far"])
@pytest.mark.parametrize("size", SIZES)
def test_the_kernel_moves_as_defined(size, kind):
    planes, field = planes_of(*size), field_of(*size, kind)
    moved = reconstruct.move(picture_of(planes), field)
    expected = [defined(plane, field, cell) for plane, cell in zip(planes, (8, 4, 4), strict=True)]
    expected = pack(*(torch.from_numpy(plane)[None, None] for plane in expected))
    assert moved.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(moved, expected, atol=1e-3, rtol=0)


def test_a_still_field_and_whole_pixels_change_no_bit():
    planes = planes_of(64, 96)
    picture = picture_of(planes)
    packed = pack(*(torch.from_numpy(plane)[None, None] for plane in planes))
    assert torch.equal(reconstruct.move(picture, MotionField.still(64, 96)), packed)
    pan = MotionField(np.full((8, 12, 2), 8, np.int16), np.full((8, 12), 3, np.uint8))
    y, u, _ = split(reconstruct.move(picture, pan))
    assert torch.equal(y[0, 0, :-2, :-2], picture[2:64, 2:])
    assert torch.equal(u[0, 0, :-1, :-1], picture[65:, 2::2])


def test_vectors_that_lead_anywhere_stay_inside_the_picture():
    picture = picture_of(planes_of(64, 96))
    low, high = picture.min(), picture.max()
    moved = reconstruct.move(picture, field_of(64, 96, "wild"))
    assert torch.isfinite(moved).all() and moved.min() > 3 * low and moved.max() < 3 * high


@pytest.mark.parametrize("kind", ["leaves", "far"])
def test_some_rows_are_those_of_the_whole(kind):
    picture, field = picture_of(planes_of(80, 32)), field_of(80, 32, kind)
    whole = reconstruct.move(picture, field)
    for rows in map(np.array, ([0, 1, 2], [4], [1, 6, 7, 9])):
        assert torch.equal(reconstruct.move(picture, field, rows), whole[:, :, rows])


@pytest.mark.parametrize("kind", ["still", "cells", "far"])
def test_torch_moves_as_the_kernel_does(kind):
    planes, field = planes_of(64, 96), field_of(64, 96, kind)
    y, u, v = (torch.from_numpy(plane)[None, None] for plane in picture_planes(planes))
    dense = [torch.from_numpy(motion_field.dense(field, cell))[None] for cell in (8, 4)]
    uv = reconstruct.warp_torch(torch.cat((u, v), 1), dense[1], 4)
    moved = join(reconstruct.warp_torch(y, dense[0], 8), uv[:, :1], uv[:, 1:])
    torch.testing.assert_close(moved, reconstruct.move(picture_of(planes), field), atol=0.01, rtol=0)


def picture_planes(planes: list[np.ndarray]) -> list[np.ndarray]:
    picture = picture_of(planes).numpy()
    height = len(planes[0])
    return [picture[:height], picture[height:, ::2].copy(), picture[height:, 1::2].copy()]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_moves_as_the_kernel_does():
    picture, field = picture_of(planes_of(64, 96)), field_of(64, 96, "far")
    moved = reconstruct.move(picture.cuda(), field).cpu()
    torch.testing.assert_close(moved, reconstruct.move(picture, field), atol=0.01, rtol=0)
