"""The loop filters' fit: less error in the closed loop, the same every time, and equations that mean what they say."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from lrae.codec.loop_filter import CLASSES, FILTERS, LIMITS, PAIRS, RATES, SHAPE, unfold
from lrae.codec.lrae import LraeEncoder
from lrae.codec.types import EncodeHints, VideoFormat
from lrae.models.store import load_model
from lrae.training import fit_filter
from lrae.training.fit_filter import Equations, planes_of


@pytest.fixture(scope="module")
def noisy(clips):
    """Clips with camera noise, of which blocks and quantiser leave traces."""
    rng = np.random.default_rng(0)
    return [
        replace(clip, pictures=(clip.pictures + rng.normal(0, 5, clip.pictures.shape)).clip(0, 255).astype(np.uint8))
        for clip in clips
    ]


@pytest.fixture(scope="module")
def without():
    return replace(load_model("m"), loop_filter=None, card={}, hash="")


@pytest.fixture(scope="module")
def fitted(without, noisy):
    return fit_filter.fit_filter(without, noisy, 1, 3, quiet=True)


def coded(model, clip, q: int) -> tuple[float, int]:
    """(Mean square error of luma, bytes) of a clip."""
    encoder = LraeEncoder(model, VideoFormat(*clip.size, Fraction(30)))
    state, error, size = encoder.initial_state(), 0.0, 0
    for number in range(len(clip.pictures)):
        frame = clip.frame(number)
        hints = EncodeHints(intra=number == 0, even=True)
        encoded, state = encoder.encode(state, frame, number, q, hints, max(0, number - 1))
        error += np.square(state.luma - frame.y.astype(float)).mean() / len(clip.pictures)
        size += sum(map(len, encoded.payloads))
    return error, size


@pytest.mark.parametrize("q", [28, 44])
def test_one_round_lowers_the_error_and_the_bits(without, fitted, noisy, q):
    before, after = (np.sum([coded(model, clip, q) for clip in noisy], 0) for model in (without, fitted))
    assert after[0] < before[0]
    assert after[1] < 1.01 * before[1]


def test_from_nothing_the_second_filter_is_the_first_at_less_strength(fitted):
    weights = fitted.loop_filter.numpy()
    assert weights.shape == SHAPE and np.isfinite(weights).all() and weights.any()
    np.testing.assert_allclose(weights[1], weights[0] * (FILTERS - 1) / FILTERS, rtol=1e-6)


def test_the_same_clips_and_seed_give_the_same_filters(without, fitted, noisy):
    again = fit_filter.fit_filter(without, noisy, 1, 3, quiet=True)
    assert torch.equal(again.loop_filter, fitted.loop_filter)
    assert again.card["filter_rounds"] == 1


def test_a_second_round_goes_on_from_the_first(fitted, noisy):
    more = fit_filter.fit_filter(fitted, noisy, 1, 2, quiet=True)
    assert more.card["filter_rounds"] == 2
    assert not torch.equal(more.loop_filter, fitted.loop_filter)


def test_nothing_learnt_leaves_the_filters_as_they_were():
    weights = np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32)
    np.testing.assert_array_equal(Equations().solve(weights), weights)


def test_the_solution_is_that_of_least_squares():
    """Equations made of known coefficients, each class with many samples: the same come back."""
    rng, taps = np.random.default_rng(0), len(PAIRS) * len(LIMITS)
    wanted, equations = rng.normal(0, 0.1, taps), Equations()
    for k in range(CLASSES):
        samples = rng.normal(0, 1, (500, taps))
        equations.gram[0, 0, :, k] = samples.T @ samples
        equations.side[0, 0, :, k] = samples.T @ (samples @ wanted)
    found = equations.solve(np.zeros(SHAPE, np.float32))[0, 0].reshape(RATES, CLASSES, taps)
    np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), atol=1e-3)
    assert not equations.solve(np.zeros(SHAPE, np.float32))[1].any()


def test_lines_are_planes_with_their_border_repeated():
    cells = np.random.default_rng(0).uniform(-100, 100, (4, 6, 96)).astype(np.float32)
    y, u, v = planes_of(unfold(cells))
    assert y.shape == (36, 52) and u.shape == v.shape == (20, 28)
    np.testing.assert_array_equal(y[2:10, 2:10].reshape(-1), cells[0, 0, :64])
    np.testing.assert_array_equal(u[2:6, 2:6].reshape(-1), cells[0, 0, 64:80])
    np.testing.assert_array_equal(v[-6:-2, -6:-2].reshape(-1), cells[-1, -1, 80:])
    for plane in (y, u, v):
        np.testing.assert_array_equal(plane, np.pad(plane[2:-2, 2:-2], 2, mode="edge"))
