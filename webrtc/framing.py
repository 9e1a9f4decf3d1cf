"""Pictures of any size brought to one size: cut to its shape in the middle, then scaled; three of them side by side."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from lrae.codec.types import Frame


def fit(frame: Frame, size: tuple[int, int]) -> Frame:
    """The middle of a frame as (width, height), filled, without bars; the frame itself if it has that size."""
    if frame.size == size:
        return frame
    (width, height), (wide, high) = frame.size, size
    scale = max(wide / width, high / height)
    columns, rows = min(width, round(wide / scale)), min(height, round(high / scale))
    left, top = (width - columns) // 2 & ~1, (height - rows) // 2 & ~1  # even: chroma has half the samples
    luma = frame.y[top : top + rows, left : left + columns]
    part = slice(top // 2, (top + rows + 1) // 2), slice(left // 2, (left + columns + 1) // 2)
    half = (wide + 1) // 2, (high + 1) // 2
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    chroma = [cv2.resize(plane[part], half, interpolation=way) for plane in (frame.u, frame.v)]
    return Frame(cv2.resize(luma, size, interpolation=way), *chroma, time=frame.time)


def side_by_side(frames: Sequence[Frame]) -> Frame:
    """Frames of one size, of even sides, as one; its time is the first one's."""
    return Frame(*(np.hstack([getattr(f, p) for f in frames]) for p in "yuv"), time=frames[0].time)
