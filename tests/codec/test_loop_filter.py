"""The loop filter: kernels against its definition in plain numpy, what the encoder chooses, and both ends in step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lrae.codec import loop_filter, reconstruct
from lrae.codec.loop_filter import (
    BUSY,
    CHOICE_BITS,
    CLASSES,
    FILTERS,
    LAMBDA,
    LIMITS,
    PAIRS,
    RATES,
    SHAPE,
    LoopFilter,
    classify,
    neighbours,
    unfold,
)
from lrae.codec.loop_filter_kernels import DIRECTED, STAYING
from lrae.codec.lrae import LraeDecoder, LraeEncoder
from lrae.codec.motion_field import MotionField
from lrae.codec.state import CodedFrame
from lrae.codec.types import LAYOUTS, TILES, EncodeHints, VideoFormat
from lrae.codec.warm import _picture
from lrae.errors import ModelError
from lrae.models.blocks import CHROMA_GAIN, clip, pack, split
from lrae.models.rates import step_of
from lrae.models.store import load_model
from lrae.models.tables import CHANNELS

ROWS, COLUMNS = 5, 6  # positions: the last areas are cut
Q = 33


def random_weights(strength: float = 0.02) -> np.ndarray:
    return np.random.default_rng(5).normal(0, strength, SHAPE).astype(np.float32)


def random_frame(q: int = Q, still: bool = False) -> tuple[np.ndarray, CodedFrame]:
    """A packed picture [h, w, 96] that goes beyond what 8 bits show, busier to the right, and its frame: some cells
    move, some positions have levels."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[: 16 * ROWS, : 16 * COLUMNS]
    waves = np.stack([np.sin(3 * a * y + 3 * b * x) for a, b in ((0, 0), (1, 0), (0, 1), (1, 1), (1, -1))])
    which = rng.integers(0, len(waves), (2 * ROWS, 2 * COLUMNS)).repeat(8, 0).repeat(8, 1)
    luma = 150 + 90 * np.sin(y / 9 + x / 31) + 0.5 * rng.normal(0, 1, y.shape)
    luma += np.take_along_axis(waves, which[None], 0)[0] * x * step_of(q) / 60
    planes = luma, luma[::2, ::2], 255 - luma[1::2, ::2]
    packed = pack(*(torch.from_numpy(plane.astype(np.float32))[None, None] for plane in planes))
    vectors = rng.integers(-1, 2, (2 * ROWS, 2 * COLUMNS, 2)).astype(np.int16) * (rng.random((2 * ROWS, 1, 1)) < 0.7)
    levels = np.zeros((ROWS * COLUMNS, CHANNELS), np.int16)
    levels[::4, 17] = -3
    if still:
        vectors, levels = vectors * 0, levels * 0
    motion = MotionField(vectors.astype(np.int16), np.full(vectors.shape[:2], 3, np.uint8))
    coded = CodedFrame(False, q, np.zeros(ROWS * COLUMNS, np.uint8), levels, motion)
    filters = rng.integers(0, FILTERS + 1, (-(-ROWS // 2), -(-COLUMNS // 2))).astype(np.uint8)
    filters = np.ascontiguousarray(filters.repeat(2, 0).repeat(2, 1)[:ROWS, :COLUMNS])
    return reconstruct._cells(packed).copy(), replace(coded, filters=filters)


def planes_of(cells: np.ndarray) -> list[np.ndarray]:
    return [plane[0, 0].numpy() for plane in split(clip(reconstruct._packed(cells)))]


def opposites(plane: np.ndarray, down: int, right: int) -> tuple[np.ndarray, np.ndarray]:
    """The two neighbours of each pixel, the border repeated."""
    padded, (height, width) = np.pad(plane, 2, mode="edge"), plane.shape
    return tuple(padded[2 + i : 2 + i + height, 2 + j : 2 + j + width] for i, j in ((down, right), (-down, -right)))


def defined_classes(luma: np.ndarray, coded: CodedFrame) -> np.ndarray:
    sums = []
    for down, right in ((1, 0), (0, 1), (1, 1), (1, -1)):
        a, b = opposites(luma.astype(np.float64), down, right)
        sums.append(abs(2 * luma - a - b).reshape(2 * ROWS, 8, 2 * COLUMNS, 8).sum((1, 3)))
    busy = np.searchsorted(BUSY, (sums[0] + sums[1]) / 64 / step_of(coded.q), "right")
    straight, slanted = (
        np.maximum(a, b) / (np.minimum(a, b) + 0.064) for a, b in ((sums[0], sums[1]), (sums[2], sums[3]))
    )
    direction = np.where(straight >= slanted, np.where(sums[0] > sums[1], 1, 2), np.where(sums[2] > sums[3], 3, 4))
    direction[np.maximum(straight, slanted) <= DIRECTED] = 0
    levels = (coded.levels != 0).any(1).reshape(ROWS, COLUMNS).repeat(2, 0).repeat(2, 1)
    stays = ~levels & (coded.motion.vectors == 0).all(2)
    return np.where(stays, STAYING, 2 * (5 * busy + direction) + levels)


def defined(weights: np.ndarray, planes: list[np.ndarray], coded: CodedFrame) -> list[np.ndarray]:
    """The picture as the module's docstring has it."""
    low, high, share = neighbours(coded.q)
    weights = weights[:, :, low] * (1 - share) + weights[:, :, high] * share
    classes, of_cell = defined_classes(planes[0], coded), coded.filters.repeat(2, 0).repeat(2, 1)
    served, done = (classes != STAYING) & (of_cell > 0), []
    for index, plane in enumerate(planes):
        mine = weights[of_cell.astype(int) - 1, min(index, 1), np.where(served, classes, 0)] * served[..., None, None]
        side, gain = (4, CHROMA_GAIN) if index else (8, 1)
        mine, out = mine.repeat(side, 0).repeat(side, 1), plane.astype(np.float64)
        for pair, place in enumerate(PAIRS):
            for n, limit in enumerate(LIMITS):
                bound = limit * step_of(coded.q)
                out += mine[..., pair, n] * sum(np.clip(p - plane, -bound, bound) for p in opposites(plane, *place))
        done.append(out.clip(-128 * gain, 127 * gain))
    return done


def same(cells: np.ndarray, planes: list[np.ndarray]) -> None:
    for mine, other in zip(planes_of(cells), planes, strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-4)


def test_cells_are_classified_as_defined():
    cells, coded = random_frame()
    expected = defined_classes(planes_of(cells)[0], coded)
    assert len(np.unique(expected)) > 20 and STAYING in expected
    np.testing.assert_array_equal(classify(unfold(cells), coded, np.ones((ROWS, COLUMNS), np.uint8)), expected)
    only = classify(unfold(cells), coded, coded.filters)
    np.testing.assert_array_equal(only, np.where(coded.filters.repeat(2, 0).repeat(2, 1) > 0, expected, STAYING))


@pytest.mark.parametrize("q", [0, 4, Q, 63])
def test_a_filtered_picture_is_as_defined(q):
    (cells, coded), weights = random_frame(q), random_weights()
    planes = planes_of(cells)
    expected = defined(weights, planes, coded)
    LoopFilter(weights)(cells, coded)
    same(cells, expected)
    changed = [float(abs(a - b).max()) for a, b in zip(planes, expected, strict=True)]
    assert min(changed) > 0.01  # the test says something


def test_areas_without_filter_and_cells_that_stay_are_left_as_they_are():
    cells, coded = random_frame()
    before = cells.copy()
    LoopFilter(random_weights(1.0))(cells, coded)
    of_cell = coded.filters.repeat(2, 0).repeat(2, 1)
    stays = defined_classes(planes_of(before)[0], coded) == STAYING
    left = (of_cell == 0) | stays
    np.testing.assert_array_equal(cells[left], before[left])
    assert (cells[~left] != before[~left]).any(1).all()
    cells, coded = random_frame(still=True)
    before = cells.copy()
    LoopFilter(random_weights(1.0))(cells, coded)
    np.testing.assert_array_equal(cells, before)


@pytest.mark.parametrize("strength", [0.0, 0.005, 0.02])
def test_each_area_takes_the_choice_that_costs_least(strength):
    (cells, coded), weights = random_frame(), random_weights(strength)
    planes, rng = planes_of(cells), np.random.default_rng(2)
    wish = defined(weights, planes, coded)  # what was coded: near to what some filter makes
    gains = 1, CHROMA_GAIN, CHROMA_GAIN
    source = [
        (plane / gain + 128 + rng.normal(0, 1, plane.shape)).clip(0, 255).astype(np.uint8)
        for plane, gain in zip(wish, gains, strict=True)
    ]
    costs = []
    for choice in range(FILTERS + 1):
        result = defined(weights, planes, replace(coded, filters=np.full((ROWS, COLUMNS), choice, np.uint8)))
        total = np.full((3, 3), LAMBDA * step_of(Q) ** 2 * CHOICE_BITS[choice])
        for plane, original, gain in zip(result, source, gains, strict=True):
            side = 32 * len(plane) // (16 * ROWS)
            error = np.zeros((3 * side, 3 * side))
            error[: plane.shape[0], : plane.shape[1]] = (plane - (original.astype(float) - 128) * gain) ** 2
            total += error.reshape(3, side, 3, side).sum((1, 3))
        costs.append(total)
    filters = LoopFilter(weights).choose(cells, coded, source)
    chosen = np.take_along_axis(np.array(costs), filters[None, ::2, ::2].astype(int), 0)[0]
    np.testing.assert_allclose(chosen, np.min(costs, 0), rtol=1e-4)
    assert (filters == filters[::2, ::2].repeat(2, 0).repeat(2, 1)[:ROWS, :COLUMNS]).all()
    same(cells, defined(weights, planes, replace(coded, filters=filters)))
    assert filters.any() == (strength > 0)


def test_coefficients_between_two_rates_are_interpolated():
    assert [neighbours(q) for q in (0, 4, 8, 60, 63)] == [
        (0, 1, 0.0), (0, 1, 0.0), (0, 1, 0.5), (RATES - 2, RATES - 1, 1.0), (RATES - 2, RATES - 1, 1.0)
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(), SHAPE[1:], (FILTERS + 1, *SHAPE[1:]), (*SHAPE[:3], CLASSES - 1, *SHAPE[4:])])
def test_coefficients_of_another_shape_are_refused(shape, tmp_path):
    replace(load_model("m"), loop_filter=torch.zeros(shape)).save(tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="loop filter of shape"):
        LraeEncoder(load_model(str(tmp_path / "other.safetensors")), VideoFormat(32, 32))


def test_coefficients_that_are_not_finite_are_refused():
    weights = random_weights()
    weights[0, 1, 2, 3, 4, 0] = np.inf
    with pytest.raises(ModelError, match="loop filter"):
        LoopFilter(weights)


# in the codec


SIZE = 128, 96


@pytest.fixture(scope="module")
def model():
    """The shipped one with a filter that smooths: it serves some areas and not others."""
    weights = np.zeros(SHAPE, np.float32)
    weights[0, ..., :2, :], weights[1, ..., :2, 1] = 0.03, 0.08
    return replace(load_model("m"), loop_filter=torch.from_numpy(weights))


def frames_of(model, count: int = 3, **hints):
    """[(encoded, state before, state after)] of a moving picture."""
    encoder = LraeEncoder(model, VideoFormat(*SIZE))
    state, out = encoder.initial_state(), []
    for number in range(count):
        picture = _picture(number)
        picture = replace(picture, y=picture.y[: SIZE[1]], u=picture.u[: SIZE[1] // 2], v=picture.v[: SIZE[1] // 2])
        wanted = EncodeHints(intra=number == 0, packets=2, **hints)
        encoded, after = encoder.encode(state, picture, number, 40, wanted, max(0, number - 1))
        out.append((encoded, state, after))
        state = after
    return encoder, out


def alike(a, b) -> None:
    torch.testing.assert_close(a.packed, b.packed, rtol=0, atol=0)
    torch.testing.assert_close(a.picture, b.picture, rtol=0, atol=0)
    np.testing.assert_array_equal(a.luma, b.luma)


@pytest.mark.parametrize("layout", range(len(LAYOUTS)), ids=LAYOUTS)
def test_encoder_and_decoder_hold_the_same_picture(model, layout):
    encoder, frames = frames_of(model, layout=layout)
    decoder = LraeDecoder(model, encoder.format)
    state, used = decoder.initial_state(), set()
    for encoded, _, after in frames:
        _, state = decoder.decode(state, encoded.header, dict(enumerate(encoded.payloads)))
        alike(state, after)
        if not encoded.header.intra:
            used |= set(np.unique(encoded.meta.filters))
    assert len(used) > 1  # the test says something


@pytest.mark.parametrize("layout", range(len(LAYOUTS)), ids=LAYOUTS)
@pytest.mark.parametrize("got", [(0,), (1,), ()])
def test_the_sender_knows_the_picture_of_a_receiver_that_lost_packets(model, layout, got):
    encoder, frames = frames_of(model, layout=layout)
    encoded, before, _ = frames[-1]
    decoder = LraeDecoder(model, encoder.format)
    _, after = decoder.decode(before, encoded.header, {index: encoded.payloads[index] for index in got})
    alike(after, encoder.state_after(before, encoded, frozenset(got)))


def test_areas_of_a_lost_tile_are_not_filtered(model):
    encoder, frames = frames_of(model, layout=TILES)
    encoded, _, _ = frames[-1]
    coded, _ = encoder._packer.decode(encoded.header, {0: encoded.payloads[0]})
    lost = coded.missing == 1
    assert lost.any() and not lost.all() and not coded.filters[lost].any()
    np.testing.assert_array_equal(coded.filters[~lost], encoded.meta.filters[~lost])


def test_a_filter_lowers_the_error_it_was_chosen_for(model):
    _, with_filters = frames_of(model, 2)
    _, without = frames_of(replace(model, loop_filter=None), 2)
    picture = _picture(1).y[: SIZE[1]].astype(float)
    errors = [np.square(frames[1][2].luma[: SIZE[1], : SIZE[0]] - picture).mean() for frames in (with_filters, without)]
    assert errors[0] < errors[1]


def test_a_model_without_filters_sends_none(model):
    encoder, frames = frames_of(replace(model, loop_filter=None))
    assert encoder._core.loop_filter is None
    for encoded, _, _ in frames:
        assert encoded.meta.filters is None
        coded, _ = encoder._packer.decode(encoded.header, dict(enumerate(encoded.payloads)))
        assert coded.filters is None


def test_filters_that_do_nothing_leave_the_picture_to_the_bit(model):
    nothing = replace(model, loop_filter=torch.zeros(SHAPE))
    _, frames = frames_of(nothing)
    _, without = frames_of(replace(model, loop_filter=None))
    for (_, _, a), (_, _, b) in zip(frames, without, strict=True):
        alike(a, b)
    assert not frames[-1][0].meta.filters.any()
    assert loop_filter.CLASSES < STAYING
