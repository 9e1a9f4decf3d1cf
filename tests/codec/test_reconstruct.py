"""From levels to the picture: the kernels against the same in matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lrae.codec import reconstruct
from lrae.codec.quantiser import dequantise
from lrae.codec.reconstruct import Reconstructor
from lrae.codec.state import CodedFrame
from lrae.models.blocks import clip, from_blocks, pack, split, unpack
from lrae.models.rates import step_of
from lrae.models.store import load_model
from lrae.models.tables import CHANNELS, CLASSES, TRANSFORMS


@pytest.fixture(scope="module")
def core() -> Reconstructor:
    return Reconstructor(load_model("m"), 96, 80, torch.device("cpu"))


def coded_of(core: Reconstructor, kind: str, share: float) -> CodedFrame:
    """Levels that the tables allow, everywhere in some classes and transforms; `share` of them not zero."""
    rng, count = np.random.default_rng(3), core.grid[0] * core.grid[1]
    classes = rng.integers(0, CLASSES, count).astype(np.uint8)
    levels = np.where(rng.random((count, CHANNELS)) < share, rng.integers(-40, 41, (count, CHANNELS)), 0)
    allowed = core.tables[kind].rows[classes] < core.tables[kind].never
    return CodedFrame(kind == "intra", 30, classes, np.where(allowed, levels, 0).astype(np.int16))


@pytest.mark.parametrize("kind", ["intra", "inter"])
@pytest.mark.parametrize("share", [0.0, 0.02, 1.0])
def test_the_residual_is_the_transform_of_the_levels(core, kind, share):
    coded = coded_of(core, kind, share)
    values = dequantise(coded.levels, coded.classes, core.tables[kind]) * np.float32(step_of(coded.q))
    transforms = core.linear[kind][torch.from_numpy(coded.classes % TRANSFORMS).long()]
    blocks = (transforms @ torch.from_numpy(values)[..., None])[..., 0]
    expected = from_blocks(blocks, 1, *core.grid)
    residual = core.residual(coded)
    torch.testing.assert_close(residual, expected, atol=1e-3, rtol=1e-5)
    activity = core._add(coded, np.zeros((10, 12, 96), np.float32))
    np.testing.assert_allclose(activity, blocks.abs().mean(1), atol=1e-3, rtol=1e-4)


def test_what_is_shown_is_clipped_and_the_same_as_planes_and_as_bytes():
    rng = np.random.default_rng(0)
    sizes = (48, 64), (24, 32), (24, 32)
    planes = [torch.from_numpy(rng.uniform(-40, 300, (1, 1, *size)).astype(np.float32)) for size in sizes]
    packed = pack(*planes)
    expected = clip(packed)
    shown, picture, luma = reconstruct.shown(packed.clone(memory_format=torch.channels_last))
    assert torch.equal(shown, expected)
    y, u, v = split(expected)
    assert torch.equal(picture[:48], y[0, 0])
    assert torch.equal(picture[48:, ::2], u[0, 0]) and torch.equal(picture[48:, 1::2], v[0, 0])
    np.testing.assert_array_equal(luma, (unpack(expected)[0][0, 0] + 0.5).clamp(max=255).to(torch.uint8).numpy())
    other, *_ = reconstruct.shown(packed.contiguous())  # channels first
    assert torch.equal(other, expected)
