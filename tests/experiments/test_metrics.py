"""The metrics give the values that their definitions give."""

import math

import numpy as np
import pytest

from lrae.codec.types import Frame
from lrae.experiments.metrics import (
    MS_SSIM_WEIGHTS,
    SsimReference,
    mean_psnr_yuv,
    psnr_plane,
    psnr_planes,
    psnr_yuv,
    ssim,
    ssim_and_ms_ssim,
    ssim_db,
)


def flat(y, u, v):
    return Frame(np.full((32, 48), y, np.uint8), np.full((16, 24), u, np.uint8), np.full((16, 24), v, np.uint8))


def test_psnr_of_a_constant_error_is_its_formula_and_identical_is_100():
    a, b = flat(100, 50, 60), flat(105, 50, 61)
    expected = 10 * math.log10(255**2 / 25), 100.0, 10 * math.log10(255**2)
    assert psnr_planes(a, b) == pytest.approx(expected)
    assert psnr_yuv(a, b) == pytest.approx((6 * expected[0] + expected[1] + expected[2]) / 8)
    assert psnr_yuv(a, a) == 100
    assert mean_psnr_yuv([a, a], [a, b]) == pytest.approx((100 + psnr_yuv(a, b)) / 2)


def test_psnr_works_on_views_with_gaps_between_rows():
    big = np.random.default_rng(1).integers(0, 256, (64, 64), np.uint8)
    a, b = big[:30, :31], big[1:31, 2:33]
    expected = 10 * math.log10(255**2 / np.mean((a.astype(float) - b) ** 2))
    assert psnr_plane(a, b) == pytest.approx(expected)


def test_planes_of_different_shape_are_refused():
    with pytest.raises(ValueError):
        psnr_plane(np.zeros((8, 8), np.uint8), np.zeros((8, 9), np.uint8))
    with pytest.raises(ValueError):
        ssim(np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8))


def ssim_by_definition(a, b):
    """Wang et al. 2004, window by window in double precision."""
    axis = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(axis, axis) / axis.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            x, y = a[i : i + 11, j : j + 11].astype(float), b[i : i + 11, j : j + 11].astype(float)
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
            cov = (window * (x - mx) * (y - my)).sum()
            values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return np.mean(values)


def test_ssim_is_wangs_definition():
    rng = np.random.default_rng(2)
    a = np.clip(np.cumsum(rng.normal(0, 9, (24, 27)), 1) + 128, 0, 255).astype(np.uint8)
    b = np.clip(a + rng.normal(0, 6, a.shape), 0, 255).astype(np.uint8)
    assert ssim(a, b) == pytest.approx(ssim_by_definition(a, b), abs=1e-5)
    assert ssim(a, a) == pytest.approx(1, abs=1e-6)


def test_a_reference_that_many_are_held_against_gives_the_same_ssim():
    rng = np.random.default_rng(4)
    a, *others = rng.integers(0, 256, (4, 107, 61), np.uint8)  # more rows than two strips
    reference = SsimReference(a)
    assert [reference.ssim(b) for b in others] == pytest.approx([ssim(a, b) for b in others], abs=1e-7)
    with pytest.raises(ValueError, match="shape"):
        reference.ssim(a[1:])
    with pytest.raises(ValueError, match="11 or more"):
        SsimReference(a[:10])


def test_ssim_db_is_the_log_of_what_is_missing():
    assert ssim_db(0.99) == pytest.approx(20)
    assert ssim_db(1.0) == 100
    assert ssim_db(0.0) == 0


def textured(height, width, seed=3):
    rng = np.random.default_rng(seed)
    a = np.clip(np.cumsum(rng.normal(0, 5, (height, width)), 1) + 128, 0, 255).astype(np.uint8)
    return a, np.clip(a + rng.normal(0, 12, a.shape), 0, 255).astype(np.uint8)


def contrast_by_definition(a, b):
    """The contrast-structure term of SSIM, window by window in double precision."""
    axis = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(axis, axis) / axis.sum() ** 2
    views = [np.lib.stride_tricks.sliding_window_view(plane.astype(float), (11, 11)) for plane in (a, b)]
    x, y = (np.einsum("ijkl,kl->ij", view, window) for view in views)
    xx, yy = (np.einsum("ijkl,ijkl,kl->ij", view, view, window) for view in views)
    xy = np.einsum("ijkl,ijkl,kl->ij", *views, window)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    contrast = (2 * (xy - x * y) + c2) / (xx - x * x + yy - y * y + c2)
    return np.mean(contrast), np.mean(contrast * (2 * x * y + c1) / (x * x + y * y + c1))


def test_ms_ssim_is_wangs_definition_over_five_scales_and_comes_with_ssim():
    a, b = textured(181, 176)
    product, x, y = 1.0, a.astype(float), b.astype(float)
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        contrast, whole = contrast_by_definition(x, y)
        product *= (whole if scale == 4 else contrast) ** weight
        x, y = (p[: p.shape[0] // 2 * 2, : p.shape[1] // 2 * 2] for p in (x, y))
        x, y = (p.reshape(p.shape[0] // 2, 2, -1, 2).mean(axis=(1, 3)) for p in (x, y))
    first, several = ssim_and_ms_ssim(a, b)
    assert several == pytest.approx(product, abs=1e-5)
    assert first == ssim(a, b)
    assert sum(MS_SSIM_WEIGHTS) == pytest.approx(1, abs=1e-3)


def test_ms_ssim_is_1_for_equal_planes_0_at_least_and_needs_room_for_its_window():
    a, _ = textured(176, 176)
    assert ssim_and_ms_ssim(a, a) == pytest.approx((1, 1), abs=1e-6)
    assert ssim_and_ms_ssim(a, 255 - a)[1] == 0
    with pytest.raises(ValueError, match="176"):
        ssim_and_ms_ssim(a[:175], a[:175])
