"""The demo pairs every source frame with what was on screen, and reports children that fail in one line."""

import json

import av
import numpy as np
import pytest

from lrae.codec.types import Frame, VideoFormat
from lrae.errors import LraeError, ModelError
from lrae.experiments import demo
from lrae.experiments.demo_video import Shown, compose, match, pair, read_events, side_by_side, tell
from lrae.models.store import load_model


def flat(level, size=(63, 49)):
    width, height = size
    half = ((height + 1) // 2, (width + 1) // 2)
    return Frame(*(np.full(shape, level, np.uint8) for shape in ((height, width), half, half)))


def test_frames_are_matched_by_number_and_capture_time_and_delays_measured():
    sent = [{"number": n, "capture": 1000 + index / 25} for n, index in ((0, 0), (1, 2), (2, 3))]
    shown = [
        {"number": 0, "time": 1000.2, "packets": 3, "used": 3, "label": "hug", "label_confidence": 0.71},
        {"number": 2, "time": 1000.4, "packets": None, "used": 0, "label": None, "label_confidence": 0.3},
        {"number": 9, "time": 1000.5, "packets": 3, "used": 3, "label": None, "label_confidence": None},
    ]
    found = match(sent, shown, 25)
    assert [(one.index, one.packets, one.used) for one in found] == [(0, 3, 3), (3, None, 0)]
    assert [one.delay for one in found] == pytest.approx([0.2, 0.28])
    assert [one.status for one in found] == ["hug 71%", "all packets lost: extrapolated"]
    assert Shown(0, 0.1, 4, 3).status == "1 of 4 packets lost"


def test_a_source_frame_that_was_not_shown_stands_beside_the_one_that_stayed_on_screen():
    originals = [flat(10 * n) for n in range(7)]
    shown = [Shown(index, 0.1, 2, 2) for index in (1, 2, 5)]
    received = [flat(100 + one.index) for one in shown]
    pairs = [(int(a.y[0, 0]), int(b.y[0, 0]), one.index) for a, b, one in pair(originals, received, shown)]
    assert pairs == [(10, 101, 1), (20, 102, 2), (30, 102, 2), (40, 102, 2), (50, 105, 5), (60, 105, 5)]


@pytest.mark.parametrize("size", [(63, 49), (64, 48), (200, 121), (17, 300)])
def test_pictures_have_the_size_that_was_promised_and_both_frames_untouched(size):
    wanted = side_by_side(VideoFormat(*size))
    picture = compose(flat(50, size), flat(90, size), Shown(0, 0.1, 20, 3), False, "LRAE 1 kbit/s")
    assert picture.size == (wanted.width, wanted.height)
    assert picture.u.shape == (wanted.height // 2, wanted.width // 2)
    band, middle = wanted.height - size[1] - size[1] % 2, wanted.width // 2
    assert (picture.y[band:, :middle] == 50).all() and (picture.y[band:, middle:] == 90).all()
    assert picture.y[:band].max() > (200 if size[0] > 60 else 16)


def test_the_figures_count_what_was_shown_and_measure_what_was_on_screen():
    shown = [Shown(0, 0.1, 2, 2), Shown(1, 0.2, 2, 1), Shown(3, 0.3, None, 0)]
    written = []
    frames = [flat(80), flat(80), flat(80), flat(81)]
    figures = tell(frames, [flat(80), flat(80), flat(80)], shown, "caption", written.append).summary()
    assert len(written) == 4
    assert {key: figures[key] for key in ("shown", "complete", "partial", "extrapolated", "held")} == {
        "shown": 3, "complete": 1, "partial": 1, "extrapolated": 1, "held": 1,
    }  # fmt: skip
    assert figures["delay_ms_p50"] == pytest.approx(200)
    assert 80 < figures["psnr_yuv"] < 100


def test_a_line_that_was_cut_off_does_not_spoil_the_statistics(tmp_path):
    path = tmp_path / "stats.jsonl"
    path.write_text('{"event": "sent", "number": 1}\n{"event": "sent", "num')
    assert read_events(path) == {"sent": [{"event": "sent", "number": 1}]}


def test_free_ports_differ():
    assert len(set(demo.free_ports(5))) == 5


def test_a_child_that_fails_is_one_line_and_none_is_left_behind(tmp_path, monkeypatch):
    (tmp_path / "bad_child.py").write_text("def main():\n    raise SystemExit('error: no such thing')\n")
    (tmp_path / "slow_child.py").write_text("import time\ndef main():\n    time.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(LraeError, match="the sender failed: no such thing"), demo.Programs(tmp_path) as programs:
        programs.start("receiver", "slow_child")
        slow = programs._running["receiver"]
        programs.start("sender", "bad_child")
        programs.finish("sender", 30)
    assert slow.poll() is not None


@pytest.mark.parametrize(
    "arguments",
    [
        ["--output", "out.avi"],
        ["--output", "/no/such/folder/out.mp4"],
        ["--frames", "0"],
        ["--input", "/nowhere.mp4"],
        ["--size", "1x1"],
    ],
)
def test_bad_arguments_are_one_line_before_anything_starts(arguments, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "transmit", None)
    assert demo.main(arguments) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_three_processes_carry_a_video_through_loss(tmp_path, capsys):
    try:
        load_model("m")
    except ModelError:
        pytest.skip("no shipped weights")
    output, figures = tmp_path / "demo.mp4", tmp_path / "demo.json"
    arguments = ["--input", "synthetic:96x64@10x12", "--delay", "5", "--output", str(output)]
    assert demo.main([*arguments, "--json", str(figures)]) == 0
    result = json.loads(figures.read_text())
    assert 1 <= result["shown"] <= 12 and result["packets_sent"] > 0
    with av.open(str(output)) as container:
        assert 1 <= len(list(container.decode(video=0))) <= 12
    assert "PSNR-YUV" in capsys.readouterr().out
