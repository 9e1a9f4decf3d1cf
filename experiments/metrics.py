"""Quality of one picture against another: PSNR-YUV 6:1:1, SSIM and MS-SSIM on 8-bit planes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from lrae.codec.types import Frame

PSNR_CAP = 100.0  # dB, stands for "identical"
SSIM_C1, SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # Wang et al. 2004, K1 and K2
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, finest scale first
STRIP = 48  # rows at a time: what they need stays in the cache, three times as fast as the whole plane
MS_SSIM_SIDE = SSIM_WINDOW << (len(MS_SSIM_WEIGHTS) - 1)  # 176: the window must fit the coarsest scale


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


def _ssim_and_contrast(reference: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """Means of SSIM and of its contrast-structure term over two float32 planes, where the window lies inside."""
    positions, sums = reference.shape[0] - SSIM_WINDOW + 1, np.zeros(2)
    for top in range(0, positions, STRIP):
        rows = slice(top, top + STRIP + SSIM_WINDOW - 1)
        sums += np.multiply(_of_strip(reference[rows], test[rows]), min(STRIP, positions - top))
    return tuple((sums / positions).tolist())


def _of_strip(reference: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    mean, square = _blur(reference), _blur(reference * reference)
    return _against(reference, mean, square - mean * mean, test)


def _against(a: np.ndarray, mean_a: np.ndarray, var_a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Of rows of two float32 planes, one with its blurred mean and variance: the means where the window lies inside."""
    mean_b = _blur(b)
    square_b, product = mean_b * mean_b, mean_a * mean_b
    var_b = _blur(b * b) - square_b
    covariance = _blur(a * b) - product
    contrast = (2 * covariance + SSIM_C2) / (var_a + var_b + SSIM_C2)
    luminance = (2 * product + SSIM_C1) / (mean_a * mean_a + square_b + SSIM_C1)
    margin = SSIM_WINDOW // 2
    inner = slice(margin, -margin), slice(margin, -margin)
    score = luminance[inner] * contrast[inner]
    return cv2.mean(score)[0], cv2.mean(contrast[inner])[0]  # sums in double precision


class SsimReference:
    """A uint8 plane [H, W] that many others are held against: its share of the work is done once, and kept in 9 bytes a
    sample."""

    def __init__(self, plane: np.ndarray) -> None:
        """ValueError: a side is less than 11."""
        if min(plane.shape) < SSIM_WINDOW:
            raise ValueError(f"SSIM needs planes of 11 or more a side: {plane.shape}")
        samples = plane.astype(np.float32)
        self._plane, self._mean = plane, _blur(samples)
        self._variance = _blur(samples * samples) - self._mean * self._mean

    def ssim(self, test: np.ndarray) -> float:
        """As ssim(); ValueError: of another shape."""
        if test.shape != self._plane.shape:
            raise ValueError(f"planes differ in shape: {self._plane.shape} and {test.shape}")
        positions, total = test.shape[0] - SSIM_WINDOW + 1, 0.0
        for top in range(0, positions, STRIP):
            rows = slice(top, top + STRIP + SSIM_WINDOW - 1)
            planes = self._plane[rows].astype(np.float32), self._mean[rows], self._variance[rows]
            score, _ = _against(*planes, test[rows].astype(np.float32))
            total += score * min(STRIP, positions - top)
        return total / positions


def ssim(reference: np.ndarray, test: np.ndarray) -> float:
    """SSIM of two uint8 planes [H, W], both sides at least 11 (Wang et al. 2004).

    Gaussian window 11x11 with sigma 1.5, mean over the positions where the window lies inside the plane,
    full resolution (no downsampling beforehand).
    """
    if reference.shape != test.shape or min(reference.shape) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs two planes of one shape, 11 or more a side: {reference.shape}")
    return _ssim_and_contrast(reference.astype(np.float32), test.astype(np.float32))[0]


def ssim_and_ms_ssim(reference: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """ssim() and MS-SSIM of two uint8 planes [H, W], both sides at least MS_SSIM_SIDE.

    Wang, Simoncelli and Bovik 2003: five scales, each the mean of 2x2 samples of the one before (a last odd row or
    column is left out); contrast and structure at each, luminance at the coarsest. A negative factor counts as 0.
    """
    if reference.shape != test.shape or min(reference.shape) < MS_SSIM_SIDE:
        raise ValueError(f"MS-SSIM needs two planes of one shape, {MS_SSIM_SIDE} or more a side: {reference.shape}")
    a, b = reference.astype(np.float32), test.astype(np.float32)
    first, total, last = 0.0, 1.0, len(MS_SSIM_WEIGHTS) - 1
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        whole, contrast = _ssim_and_contrast(a, b)
        first = whole if scale == 0 else first
        total *= max(0.0, whole if scale == last else contrast) ** weight
        if scale < last:
            a, b = _halved(a), _halved(b)
    return first, total


def _halved(plane: np.ndarray) -> np.ndarray:
    height, width = plane.shape[0] // 2, plane.shape[1] // 2
    return cv2.resize(plane[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)


def ssim_y(reference: Frame, test: Frame) -> float:
    """SSIM of the luma planes."""
    return ssim(reference.y, test.y)


def ssim_db(value: float) -> float:
    """SSIM on a dB scale: -10 log10(1 - ssim), at most PSNR_CAP."""
    return PSNR_CAP if value >= 1 else min(PSNR_CAP, -10 * math.log10(1 - value))
