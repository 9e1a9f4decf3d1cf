"""The metrics give the values that their definitions give."""

import math

import numpy as np
import pytest

from lrae.codec.types import Frame
from lrae.experiments.metrics import mean_psnr_yuv, psnr_plane, psnr_planes, psnr_yuv, ssim, ssim_db


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


def test_ssim_db_is_the_log_of_what_is_missing():
    assert ssim_db(0.99) == pytest.approx(20)
    assert ssim_db(1.0) == 100
    assert ssim_db(0.0) == 0
