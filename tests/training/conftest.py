"""Small moving clips, and one thread for what is to be reproducible."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest
import torch

from lrae.training.footage import Clip


def moving(seed: int, count: int = 12, side: int = 64) -> Clip:
    """A soft texture that moves by whole pixels."""
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.normal(0, 1, (160, 160)).astype(np.float32), (0, 0), 1.5 + seed % 3)
    texture = np.clip(128 + 40 * texture / texture.std(), 0, 255).astype(np.uint8)
    dx, dy = rng.integers(-3, 4, 2)
    pictures = []
    for time in range(count):
        top, left = 48 + time * dy, 48 + time * dx
        luma = texture[top : top + side, left : left + side]
        half = cv2.resize(luma, (side // 2, side // 2)).reshape(-1, side)
        pictures.append(np.concatenate((luma, 255 - half, half)))
    return Clip(f"moving{seed}", np.stack(pictures))


@pytest.fixture(scope="session")
def clips() -> list[Clip]:
    return [moving(seed) for seed in range(3)]


@pytest.fixture
def write_video():
    """write_video(path, pictures I420 [T,H·3/2,W]): a file that libav opens, without loss."""

    def write(path, pictures: np.ndarray) -> None:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", 25)
            stream.width, stream.height, stream.pix_fmt = pictures.shape[2], pictures.shape[1] * 2 // 3, "yuv420p"
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "yuv420p")))
            container.mux(stream.encode())

    return write


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
