"""The motion search."""

import cv2
import numpy as np
import pytest
import torch

from lrae.codec import motion, motion_coding
from lrae.codec.motion import MotionField, join, search
from lrae.codec.reconstruct import move
from lrae.models.blocks import split


def texture(height, width, seed=0):
    noise = np.random.default_rng(seed).normal(size=(height + 64, width + 64)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.clip(128 + smooth * 300, 0, 255).astype(np.uint8)


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


@pytest.mark.parametrize("large", [0, 1 << 30])
def test_the_search_pays_in_error_of_prediction(large, monkeypatch):
    monkeypatch.setattr(motion, "LARGE", large)
    big = texture(128, 192, 3)
    reference = np.ascontiguousarray(big[32:160, 32:224])
    current = reference.copy()
    current[32:96, 48:128] = big[62:126, 84:164]  # a patch moves, the rest stands
    field = search(current, reference, step=12)
    luma = torch.from_numpy(reference.astype(np.float32) - 128)
    moved = split(move(torch.cat((luma, torch.zeros(64, 192))), field))[0][0, 0].numpy() + 128
    assert ((moved - current) ** 2).mean() < 0.2 * ((reference.astype(float) - current) ** 2).mean()


def test_leaves_of_one_vector_are_joined():
    vectors = np.zeros((6, 10, 2), np.int16)
    vectors[:4, 4:8] = 5, -3
    vectors[0, 0] = 1, 0
    joined = join(MotionField(vectors, np.full((6, 10), 3, np.uint8)))
    assert (joined.size[:4, 4:8] == 5).all()
    assert (joined.size[:2, :2] == 3).all() and (joined.size[2:4, :4] == 4).all()
    np.testing.assert_array_equal(joined.vectors, vectors)
