"""From levels to the picture: the kernels against the same in matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lrae.codec import reconstruct
from lrae.codec.motion_field import MotionField
from lrae.codec.quantiser import dequantise
from lrae.codec.reconstruct import Reconstructor
from lrae.codec.state import CodedFrame, Recall, State
from lrae.models.blocks import clip, from_blocks, pack, split, unpack
from lrae.models.imputer import describe
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


def random_field(rng: np.random.Generator, rows: int, columns: int) -> MotionField:
    vectors = rng.integers(-60, 60, (rows, columns, 2)).astype(np.int16)
    return MotionField(vectors, np.full((rows, columns), 3, np.uint8))


@pytest.mark.parametrize("lost", ["row", "rows", "one", "both ends"])
def test_the_imputer_on_the_rows_that_matter_chooses_as_on_the_whole_picture(lost):
    core = Reconstructor(load_model("m"), 96, 320, torch.device("cpu"))
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    torch.nn.init.normal_(core.imputer.tail.weight, std=0.5, generator=generator)
    unmoved = np.zeros((40, 12), bool)
    where = {"row": [(12, slice(None))], "rows": [(slice(8, 12), slice(None)), (slice(24, 30), 3)], "one": [(39, 5)]}
    for place in where.get(lost, [(0, 2), (39, slice(None))]):
        unmoved[place] = True
    fields = [random_field(rng, 40, 12) for _ in "ab"]
    packed = pack(*(torch.rand(1, 1, *size, generator=generator) * 255 for size in ((320, 96), *((160, 48),) * 2)))
    packed, picture, luma = reconstruct.shown(packed)
    recall = Recall(*(torch.randn(1, 8, 20, 6, generator=generator) for _ in range(2)))
    state = State(packed, torch.zeros(1), picture, luma, fields[1], 3, recall=recall)
    coded = CodedFrame(False, 20, motion=fields[0], unmoved=unmoved)
    guesses = [reconstruct.move(picture, field) for field in fields]
    vectors = [core.vectors(field) for field in fields]
    lost_motion = torch.from_numpy(unmoved)[None, None].float()
    expected = core.imputer.blend(*guesses, packed, *vectors, lost_motion, recall.h)
    assert not torch.equal(expected, guesses[0])
    torch.testing.assert_close(core.blend(coded, state, guesses[0].clone()), expected, atol=1e-2, rtol=1e-3)


def test_the_kernel_describes_motion_as_torch_does():
    core, rng = Reconstructor(load_model("m"), 96, 80, torch.device("cpu")), np.random.default_rng(0)
    fields = [random_field(rng, 10, 12) for _ in "ab"]
    unmoved = rng.random((10, 12)) < 0.5
    expected = describe(*map(core.vectors, fields), torch.from_numpy(unmoved)[None, None].float())
    torch.testing.assert_close(core.motion_features(*fields, unmoved), expected, atol=1e-3, rtol=1e-3)
