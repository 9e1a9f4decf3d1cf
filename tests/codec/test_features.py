"""Features are the picture's own, in its own shape, whatever pads it and whatever its size."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from lrae.codec.features import UNIT, areas, features
from lrae.codec.motion_field import MotionField
from lrae.models.blocks import pack, padded
from lrae.models.classifier import FEATURES, GRID, MEANS


def state_of(luma: np.ndarray, vector=None, fill: float = 128.0):
    """A decoder's state that shows `luma` (any size; padded with `fill`) over grey chroma."""
    height, width = luma.shape
    rows, columns = padded(height), padded(width)
    y = np.full((rows, columns), fill, np.float32)
    y[:height, :width] = luma
    chroma = torch.full((1, 1, rows // 2, columns // 2), 140.0)
    motion = None
    if vector is not None:
        motion = MotionField(
            np.broadcast_to(np.array(vector, np.int16), (rows // 8, columns // 8, 2)).copy(),
            np.full((rows // 8, columns // 8), 3, np.uint8),
        )
    return SimpleNamespace(packed=pack(torch.from_numpy(y)[None, None], chroma, chroma), motion=motion)


@pytest.mark.parametrize("size", [(448, 224), (64, 48), (17, 300), (500, 33), (640, 360), (4096, 16)])
def test_any_size_gives_the_same_shape_and_padding_is_not_seen(size):
    width, height = size
    luma = np.random.default_rng(0).uniform(0, 255, (height, width)).astype(np.float32)
    seen = features(state_of(luma, (4, 0), 0.0), width, height, 15.0)
    assert seen.shape == (FEATURES, *GRID) and seen.dtype == torch.float32 and torch.isfinite(seen).all()
    if not width % 8 and not height % 8:
        assert torch.allclose(seen, features(state_of(luma, (4, 0), 255.0), width, height, 15.0))


def test_flat_pictures_show_their_grey_level_and_nothing_around_them():
    seen = features(state_of(np.full((224, 224), 160.0, np.float32)), 224, 224, 15.0)
    inside = seen[:, :, 18:46]  # 28 of 64 columns
    assert torch.allclose(inside[0], torch.full((28, 28), 1.0), atol=1e-5)
    assert torch.allclose(inside[1:3], torch.full((2, 28, 28), 12 / UNIT), atol=1e-5)
    assert float(inside[3:].abs().max()) < 1e-5 and float(seen[:, :, :18].abs().max()) == 0


def test_slopes_point_to_where_it_is_brighter():
    across = np.tile(np.arange(64, dtype=np.float32) * 3, (64, 1))
    for luma, rising, level in ((across, 3, 4), (across.T.copy(), 4, 3)):
        seen = features(state_of(luma), 64, 64, 15.0)[:, :, 20:44]
        assert float(seen[rising].min()) > 0.1 and float(seen[level].abs().max()) < 1e-4


def test_motion_points_where_things_go_in_grid_cells_a_second_at_any_scale():
    for scale in (1, 2):  # the same scene at twice the size moves by twice the pixels
        luma = np.zeros((112 * scale, 256 * scale), np.float32)
        seen = features(state_of(luma, (-8 * scale, 4 * scale)), 256 * scale, 112 * scale, 10.0)
        inside = seen[MEANS:]
        assert torch.allclose(inside[0], torch.full(GRID, 2 / 4 * 10.0), atol=1e-4)
        assert torch.allclose(inside[1], torch.full(GRID, -1 / 4 * 10.0), atol=1e-4)
    assert float(features(state_of(np.zeros((64, 64), np.float32)), 64, 64, 10.0)[MEANS:].abs().max()) == 0


def test_a_wider_view_of_the_same_scene_has_the_same_features_where_both_see_it():
    wide = cv2.GaussianBlur(np.random.default_rng(1).uniform(0, 255, (112, 256)).astype(np.float32), (0, 0), 4)
    narrow = np.ascontiguousarray(wide[:, 64:192])
    a, b = features(state_of(wide), 256, 112, 15.0), features(state_of(narrow), 128, 112, 15.0)
    assert torch.allclose(a[:, :, 16:48], b[:, :, 16:48], atol=1e-4)
    assert float(b[:, :, :16].abs().max()) == 0


def test_areas_are_means():
    for size in ((448, 224), (33, 47), (700, 50)):
        down, across, scale = areas(*size)
        assert scale > 0
        for sums in (down.sum(1), across.sum(0)):
            inside = sums[sums > 0]
            assert torch.allclose(inside, torch.ones_like(inside), atol=1e-3)
