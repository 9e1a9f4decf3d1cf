"""A line of text in a picture."""

from __future__ import annotations

import cv2
import numpy as np

from lrae.codec.types import Frame

WHITE, BLACK = 235, 16  # luma


def draw(frame: Frame, text: str) -> Frame:
    """The frame with a line of white text on black in its lower left corner; the frame itself stays as it is."""
    height, width = frame.y.shape
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, max(0.35, height / 500)
    plain = text.encode("ascii", "replace").decode()
    (across, above), below = cv2.getTextSize(plain, font, scale, 1)
    scale = min(scale, scale * (width - 8) / max(across, 1))
    (across, above), below = cv2.getTextSize(plain, font, scale, 1)
    top, right = max(0, height - above - below - 8) // 2 * 2, min(width, across + 8)
    y, u, v = np.array(frame.y), np.array(frame.u), np.array(frame.v)
    y[top:, :right] = BLACK
    u[top // 2 :, : (right + 1) // 2] = v[top // 2 :, : (right + 1) // 2] = 128
    cv2.putText(y, plain, (4, height - below - 4), font, scale, WHITE, 1, cv2.LINE_AA)
    return Frame(y, u, v, frame.time)
