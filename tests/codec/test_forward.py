"""codec/forward: the residual and those of its coefficients that matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lrae.codec import forward
from lrae.codec.forward import FIRST, LEFT, Forward
from lrae.models.blocks import CORNERS, pack, to_corners
from lrae.models.store import load_model
from lrae.models.tables import CHANNELS, TRANSFORMS


@pytest.mark.parametrize("size", ((16, 16), (48, 80)))
def test_the_residual_is_the_picture_less_its_prediction(size):
    rng = np.random.default_rng(0)
    planes = [rng.integers(0, 256, (size[0] // d, size[1] // d)).astype(np.uint8) for d in (1, 2, 2)]
    prediction = torch.from_numpy(rng.normal(0, 40, (1, 96, size[0] // 8, size[1] // 8)).astype(np.float32))
    picture = pack(*(torch.from_numpy(plane.astype(np.float32))[None, None] for plane in planes))
    for laid_out in (prediction, prediction.contiguous(memory_format=torch.channels_last)):
        found = forward.residual(*planes, laid_out, 7.5)
        torch.testing.assert_close(found, to_corners(picture - prediction) / 7.5, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scale", (0.0, 0.01, 0.3, 3.0))
def test_the_parts_are_the_coefficients_of_all_blocks_but_quiet_ones(scale):
    linear = load_model("m").linear["inter"]
    rng = np.random.default_rng(1)
    blocks = torch.from_numpy(rng.normal(0, scale * np.linspace(0, 1, 20)[:, None], (20, 384)).astype(np.float32))
    every = torch.einsum("ni,tic->ntc", blocks, linear[:, CORNERS]).numpy().reshape(-1, CHANNELS)
    found = np.zeros_like(every)
    for values, owner, first in Forward(linear, torch.float32)(blocks):
        found[owner, first : first + values.shape[1]] = values
    np.testing.assert_allclose(found[:, :FIRST], every[:, :FIRST], atol=1e-4)
    left = np.square(every[:, FIRST:]).sum(1).reshape(-1, TRANSFORMS).max(1).repeat(TRANSFORMS)
    np.testing.assert_allclose(found[left > LEFT], every[left > LEFT], atol=1e-4)
    assert np.square(found - every).sum(1).max() <= LEFT
