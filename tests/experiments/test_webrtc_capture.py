"""The recording of the page: what is written can be read, and keeps its times."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("aiortc")

from lrae.experiments.webrtc_capture import main, webp


def durations(data):
    """Milliseconds of each picture of an animated WebP (its ANMF chunks)."""
    found, at = [], 12
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"ANMF":
            found.append(int.from_bytes(data[at + 20 : at + 23], "little"))
        at += 8 + size + size % 2
    return found


def test_a_recording_is_an_animation_with_the_times_of_its_pictures():
    rng = np.random.default_rng(1)
    times = (0.0, 0.1, 0.35, 0.5)
    pictures = [(at, rng.integers(0, 256, (32, 48, 3), np.uint8)) for at in times]
    data = webp(pictures, 60)
    assert data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    assert durations(data)[:3] == [100, 250, 150]
    assert len(webp(pictures, 10)) < len(data)


def test_what_cannot_be_recorded_is_told_in_one_line(capsys):
    assert main(["out.webp", "--input", "/nowhere.mp4"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
