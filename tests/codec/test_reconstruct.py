"""From levels to the picture: the kernels against the same in matrices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lrae.codec import conceal, reconstruct
from lrae.codec.motion_field import MotionField
from lrae.codec.quantiser import dequantise
from lrae.codec.reconstruct import Reconstructor
from lrae.codec.state import CodedFrame, Recall, State
from lrae.models.blocks import clip, from_blocks, pack, split, unpack
from lrae.models.imputer import PAIRS, describe
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


def damaged(core: Reconstructor, lost: list) -> tuple[CodedFrame, State]:
    """A frame without its motion in some places of 40x12 cells, and the state before it."""
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    unmoved = np.zeros((40, 12), bool)
    for place in lost:
        unmoved[place] = True
    fields = [random_field(rng, 40, 12) for _ in "ab"]
    packed = pack(*(torch.rand(1, 1, *size, generator=generator) * 255 for size in ((320, 96), *((160, 48),) * 2)))
    packed, picture, luma = reconstruct.shown(packed)
    recall = Recall(*(torch.randn(1, 8, 20, 6, generator=generator) for _ in range(2)))
    state = State(packed, torch.zeros(1), picture, luma, fields[1], 3, recall=recall)
    missing = unmoved[::2, ::2].astype(np.float32)
    return replace(core_nothing(core), motion=fields[0], unmoved=unmoved, missing=missing), state


def core_nothing(core: Reconstructor) -> CodedFrame:
    count = core.grid[0] * core.grid[1]
    return CodedFrame(False, 20, np.zeros(count, np.uint8), np.zeros((count, CHANNELS), np.int16))


ROWS = {"row": [(12, slice(None))], "rows": [(slice(8, 12), slice(None)), (slice(24, 30), 3)], "one": [(39, 5)]}
ROWS["both ends"] = [(0, 2), (39, slice(None))]


@pytest.mark.parametrize("lost", ROWS)
def test_the_imputer_shows_the_weighted_sum_of_its_guesses_and_nothing_else(lost):
    core = Reconstructor(load_model("m"), 96, 320, torch.device("cpu"))
    torch.nn.init.normal_(core._chooser.tail.weight, std=0.5, generator=torch.Generator().manual_seed(1))
    coded, state = damaged(core, ROWS[lost])
    look = core.look(coded, state)
    pictures = torch.cat([reconstruct.move(state.picture, MotionField(f, coded.motion.size)) for f in look.fields])
    pictures[conceal.STILL] = state.packed[0]
    seen = torch.from_numpy(look.seen)[None]
    around = state.recall.h.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, look.rows]
    with torch.inference_mode():
        weights = core._chooser.weights(seen, around)[0]
        shown = core.imputed(coded, state)[1][0]
    expected = (weights[:, None] * pictures[:, :, look.rows]).sum(0)
    unmoved = torch.from_numpy(coded.unmoved)
    here = unmoved[look.rows]
    torch.testing.assert_close(shown[:, look.rows][:, here], expected[:, here], atol=1e-2, rtol=1e-3)
    assert torch.equal(shown[:, ~unmoved], pictures[conceal.LAST][:, ~unmoved])


def test_what_the_imputer_sees_is_how_guesses_differ_and_how_they_fare_where_motion_arrived():
    core = Reconstructor(load_model("m"), 96, 320, torch.device("cpu"))
    coded, state = damaged(core, ROWS["rows"])
    look = core.look(coded, state)
    squares = [(look.pictures[a] - look.pictures[b]) ** 2 for a, b in PAIRS]
    lost = coded.unmoved[look.rows].any(1)
    np.testing.assert_allclose(look.seen[: len(PAIRS), lost], [np.log1p(s.mean(-1) / 4) for s in squares], rtol=1e-3)
    assert not look.seen[: len(PAIRS), ~lost].any()
    luma, vectors, last = state.picture[:320].numpy(), coded.motion.vectors, state.motion.vectors

    def moved(y, x, vector):
        dx, dy = (vector + 2) // 4
        top, left = np.clip(8 * y + dy, 0, 312), np.clip(8 * x + dx, 0, 88)
        return luma[top : top + 8 : 2, left : left + 8]

    for y, x in np.argwhere(~coded.unmoved & np.isin(np.arange(40), look.rows)[:, None]):
        here, others = moved(y, x, vectors[y, x]), (moved(y, x, last[y, x]), moved(y, x, np.zeros(2, int)))
        off = [np.square(here - other).mean() for other in others] + [np.abs(vectors[y, x] - last[y, x]).sum() / 4]
        np.testing.assert_allclose(look.seen[-3:, np.searchsorted(look.rows, y), x], np.log1p(off) / 3, rtol=1e-3)
    known = ~coded.unmoved[look.rows]
    assert look.seen[-3][~known].min() > 0.1 and (look.seen[len(PAIRS) + 3] == ~known).all()


def test_a_frame_that_lost_motion_is_what_the_imputer_shows(core):
    tall = Reconstructor(load_model("m"), 96, 320, torch.device("cpu"))
    coded, state = damaged(tall, ROWS["rows"])
    coded = replace(coded, missing=np.where(coded.unmoved[::2, ::2], 1, 0).astype(np.float32))
    with torch.inference_mode():
        after = tall.after(state, coded, 4)
        assert torch.equal(after.packed, clip(tall.imputed(coded, state)[1]))
        nothing = replace(coded, unmoved=np.ones((40, 12), bool), missing=np.ones((20, 6), np.float32))
        moved = reconstruct.move(state.picture, state.motion)
        assert torch.equal(tall.after(state, nothing, 4).packed, clip(moved)), "nothing arrived: it moves on"


def test_the_kernel_describes_motion_as_torch_does():
    core, rng = Reconstructor(load_model("m"), 96, 80, torch.device("cpu")), np.random.default_rng(0)
    fields = [random_field(rng, 10, 12) for _ in "ab"]
    expected = describe(*map(core.vectors, fields))
    torch.testing.assert_close(core.motion_features(*fields), expected, atol=1e-3, rtol=1e-3)
