"""Every kind of output holds what was written, or says in one line why it cannot."""

import io
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest

from lrae.codec.avframe import crop, from_av
from lrae.codec.timeline import Timeline
from lrae.codec.types import Frame, VideoFormat
from lrae.codec.y4m import Y4mReader
from lrae.errors import SinkError
from lrae.receiver.sink import check_sink, open_sink

LEVELS = (40, 90, 140, 190)


def flat(level, time, size=(64, 48)):
    width, height = size
    half = ((height + 1) // 2, (width + 1) // 2)
    return Frame(*(np.full(shape, level, np.uint8) for shape in ((height, width), half, half)), time=time)


def read(path):
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_file_has_the_frames_their_times_and_the_colour_tags(tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    sink = open_sink(str(path), VideoFormat(64, 48, Fraction(25), "pc", "smpte170m"))
    for level, time in zip(LEVELS, (7.0, 7.04, 7.2, 7.24), strict=True):
        sink.write(flat(level, time), "info")
    sink.close()
    sink.close()
    pictures = read(path)
    times = [picture.time - pictures[0].time for picture in pictures]
    np.testing.assert_allclose(times, [0, 0.04, 0.2, 0.24], atol=0.0011)
    assert [abs(int(from_av(p).y.mean()) - level) <= 1 for p, level in zip(pictures, LEVELS, strict=True)]
    assert {(p.color_range, p.colorspace) for p in pictures} == {(2, 6)}


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_file_whose_program_was_killed_still_plays_what_came_before_the_last_second(tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    sink = open_sink(str(path), VideoFormat(64, 48, Fraction(25)))
    for number in range(80):
        sink.write(flat(40 + number, number / 25))
    (tmp_path / f"copy.{suffix}").write_bytes(path.read_bytes())  # what a kill would leave
    sink.close()
    assert len(read(tmp_path / f"copy.{suffix}")) >= 80 - 26
    assert len(read(path)) == 80


def test_odd_sides_are_padded_by_a_repeated_row_and_column(tmp_path):
    path = tmp_path / "out.mkv"
    sink = open_sink(str(path), VideoFormat(33, 47))
    sink.write(flat(99, 0.0, (33, 47)))
    sink.close()
    picture = read(path)[0]
    assert (picture.width, picture.height) == (34, 48)
    assert np.abs(crop(from_av(picture), 33, 47).y.astype(int) - 99).max() <= 1


def test_the_next_sender_may_have_another_size_and_clock(tmp_path):
    path = tmp_path / "out.mkv"
    sink = open_sink(str(path), VideoFormat(64, 48, Fraction(25)))
    for frame in (flat(40, 100.0), flat(50, 100.04), flat(60, 3.0, (128, 32)), flat(70, 3.04, (128, 32))):
        sink.write(frame)
    sink.close()
    pictures = read(path)
    np.testing.assert_allclose([picture.time for picture in pictures], np.arange(4) / 25, atol=0.0011)
    assert all(picture.width == 64 for picture in pictures)


def test_a_y4m_file_has_every_frame_once_and_exactly(tmp_path):
    path = tmp_path / "out.y4m"
    rng = np.random.default_rng(1)
    frames = [
        Frame(*(rng.integers(0, 256, s, np.uint8) for s in ((17, 31), (9, 16), (9, 16))), time=time)
        for time in (0.0, 0.5, 0.6)
    ]
    sink = open_sink(str(path), VideoFormat(31, 17, Fraction(10)))
    for frame in frames:
        sink.write(frame)
    sink.close()
    with path.open("rb") as stream:
        back = list(Y4mReader(stream))
    assert len(back) == 3
    assert all((a.y == b.y).all() and (a.v == b.v).all() for a, b in zip(frames, back, strict=True))


def test_standard_output_is_y4m_at_a_constant_rate_with_gaps_filled(monkeypatch):
    stream = io.BytesIO()
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=stream))
    sink = open_sink("-", VideoFormat(64, 48, Fraction(10)))
    for level, time in zip(LEVELS, (0.0, 0.1, 0.4, 0.49), strict=True):
        sink.write(flat(level, time))
    sink.close()
    stream.seek(0)
    levels = [int(frame.y[0, 0]) for frame in Y4mReader(stream)]
    assert levels == [40, 90, 90, 90, 140, 190]


def test_a_pipe_whose_reader_has_gone_and_a_full_disk_are_one_line(monkeypatch, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as stream:
        monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=stream))
        with pytest.raises(SinkError, match="nobody reads"):
            open_sink("-", VideoFormat(64, 48))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("suffix", ["y4m", "mp4", "mkv"])
def test_a_full_disk_is_one_line_and_closing_afterwards_is_quiet(tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    path.symlink_to("/dev/full")
    rng = np.random.default_rng(1)
    with pytest.raises(SinkError) as caught:
        sink = open_sink(str(path), VideoFormat(64, 48))
        for number in range(200):
            planes = (rng.integers(0, 256, s, np.uint8) for s in ((48, 64), (24, 32), (24, 32)))
            sink.write(Frame(*planes, time=number / 30))
        sink.close()
    assert "No space left" in str(caught.value) and "\n" not in str(caught.value)
    if suffix != "y4m":  # there not even the header could be written
        sink.close()


def test_names_and_places_that_cannot_be_written_are_refused_before_any_frame(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    for text in ("out.xyz", "", "out", str(tmp_path / "no" / "out.mp4"), str(tmp_path / "folder.mp4")):
        with pytest.raises(SinkError) as caught:
            check_sink(text)
        assert "\n" not in str(caught.value)
    for text in ("null", "-", str(tmp_path / "out.mp4"), str(tmp_path / "OUT.MKV")):
        check_sink(text)


def test_without_a_display_a_window_is_a_clear_error_and_not_an_abort(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(SinkError, match="no display"):
        check_sink("window")
    with pytest.raises(SinkError, match="no display"):
        open_sink("window", VideoFormat(64, 48))


def test_without_pygame_a_window_says_what_to_install(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(SinkError, match="pip install pygame"):
        open_sink("window", VideoFormat(64, 48))


WINDOW_SCRIPT = """
import numpy as np, pygame
from lrae.codec.types import Frame, VideoFormat
from lrae.receiver.sink import open_sink
sink = open_sink("window", VideoFormat(65, 49))
frame = Frame(np.full((49, 65), 235, np.uint8), *(np.full((25, 33), 128, np.uint8) for _ in "uv"))
sink.write(frame, "frame 1")
print(tuple(pygame.display.get_surface().get_at((30, 20)))[:3], pygame.display.get_caption()[0], sink.wanted)
pygame.event.post(pygame.event.Event(pygame.QUIT))
sink.write(frame)
sink.write(frame)
sink.close()
print(sink.wanted)
"""


def test_a_window_shows_the_frame_and_its_line_and_can_be_closed_by_the_user():
    pytest.importorskip("pygame")
    env = dict(os.environ, SDL_VIDEODRIVER="dummy", PYGAME_HIDE_SUPPORT_PROMPT="1")
    command = [sys.executable, "-c", WINDOW_SCRIPT]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["(255, 255, 255) lrae-recv frame 1 True", "False"]


def test_null_takes_everything():
    sink = open_sink("null", VideoFormat(64, 48))
    sink.write(replace(flat(1, 0.0), time=5.0))
    sink.close()


def test_a_timeline_keeps_pauses_and_closes_discontinuities():
    timeline = Timeline(0.1)
    times = [timeline(stamp) for stamp in (50.0, 50.1, 52.0, 1.0, 1.1, None, 1.3, 900.0)]
    np.testing.assert_allclose(times, [0, 0.1, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5])
