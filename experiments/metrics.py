"""Quality of one picture against another: PSNR-YUV 6:1:1 and SSIM on 8-bit planes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from lrae.codec.types import Frame

PSNR_CAP = 100.0  # dB, stands for "identical"
SSIM_C1, SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # Wang et al. 2004, K1 and K2
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5


def mse_plane(reference: np.ndarray, test: np.ndarray) -> float:
    """Mean squared error of two uint8 planes of one shape."""
    if reference.shape != test.shape:
        raise ValueError(f"planes differ in shape: {reference.shape} and {test.shape}")
    return cv2.norm(reference, test, cv2.NORM_L2SQR) / reference.size


def psnr_plane(reference: np.ndarray, test: np.ndarray) -> float:
    """PSNR in dB of two uint8 planes, at most PSNR_CAP."""
    mse = mse_plane(reference, test)
    return PSNR_CAP if mse == 0 else min(PSNR_CAP, 10 * math.log10(255**2 / mse))


def psnr_planes(reference: Frame, test: Frame) -> tuple[float, float, float]:
    """PSNR of Y, U and V in dB."""
    return (
        psnr_plane(reference.y, test.y),
        psnr_plane(reference.u, test.u),
        psnr_plane(reference.v, test.v),
    )


def psnr_yuv(reference: Frame, test: Frame) -> float:
    """PSNR-YUV 6:1:1 of one frame in dB: (6 PSNR_Y + PSNR_U + PSNR_V) / 8, each plane capped at PSNR_CAP.

    The weights are those of the HEVC and VVC common test conditions.
    """
    y, u, v = psnr_planes(reference, test)
    return (6 * y + u + v) / 8


def mean_psnr_yuv(references: Sequence[Frame], tests: Sequence[Frame]) -> float:
    """PSNR-YUV of a clip: the mean over its frames of the frames' values, in dB."""
    return float(np.mean([psnr_yuv(a, b) for a, b in zip(references, tests, strict=True)]))


def _blur(plane: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(plane, (SSIM_WINDOW, SSIM_WINDOW), SSIM_SIGMA)


def ssim(reference: np.ndarray, test: np.ndarray) -> float:
    """SSIM of two uint8 planes [H, W], both sides at least 11 (Wang et al. 2004).

    Gaussian window 11x11 with sigma 1.5, mean over the positions where the window lies inside the plane,
    full resolution (no downsampling beforehand).
    """
    if reference.shape != test.shape or min(reference.shape) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs two planes of one shape, 11 or more a side: {reference.shape}")
    a, b = reference.astype(np.float32), test.astype(np.float32)
    mean_a, mean_b = _blur(a), _blur(b)
    var_a, var_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    score = (2 * mean_a * mean_b + SSIM_C1) * (2 * covariance + SSIM_C2)
    score /= (mean_a**2 + mean_b**2 + SSIM_C1) * (var_a + var_b + SSIM_C2)
    margin = SSIM_WINDOW // 2
    inner = score[margin:-margin, margin:-margin]
    return float(np.mean(inner, dtype=np.float64))


def ssim_y(reference: Frame, test: Frame) -> float:
    """SSIM of the luma planes."""
    return ssim(reference.y, test.y)


def ssim_db(value: float) -> float:
    """SSIM on a dB scale: -10 log10(1 - ssim), at most PSNR_CAP."""
    return PSNR_CAP if value >= 1 else min(PSNR_CAP, -10 * math.log10(1 - value))
