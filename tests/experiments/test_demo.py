"""The demo pairs every source frame with what was on screen, and reports children that fail in one line."""

import io
import itertools
import json

import av
import numpy as np
import pytest
from rich.console import Console

from lrae.codec.types import Frame, VideoFormat
from lrae.codec.y4m import frame_bytes, header
from lrae.errors import LraeError, ModelError
from lrae.experiments import demo
from lrae.experiments.demo_programs import Programs, free_ports
from lrae.experiments.demo_video import (
    Run,
    Screen,
    Shown,
    compose,
    match,
    panel_size,
    read_events,
    side_by_side,
    tell,
    watch,
)
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
    assert [one.status for one in found] == ["complete, hug 71%", "all packets lost: extrapolated"]
    assert Shown(0, 0.1, 4, 3).status == "1 of 4 packets lost"


def test_a_source_frame_that_was_not_shown_stands_beside_the_one_that_stayed_on_screen():
    shown = [Shown(index, 0.1, 2, 2) for index in (1, 2, 5)]
    screens = itertools.islice(watch(Run("", [flat(100 + one.index) for one in shown], shown)), 7)
    seen = [screen and (int(screen.frame.y[0, 0]), screen.shown.index, screen.held) for screen in screens]
    assert seen == [
        None, (101, 1, False), (102, 2, False), (102, 2, True), (102, 2, True), (105, 5, False), (105, 5, True),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [(63, 49), (64, 48), (200, 121), (17, 300)])
def test_pictures_have_the_size_that_was_promised_and_all_frames_untouched(size):
    wanted = side_by_side(VideoFormat(*size), 2)
    screens = [Screen("LRAE 1 kbit/s", flat(level, size), Shown(0, 0.1, 20, 3), False) for level in (90, 120)]
    picture = compose(flat(50, size), screens)
    assert picture.size == (wanted.width, wanted.height)
    assert picture.u.shape == (wanted.height // 2, wanted.width // 2)
    band, width = wanted.height - size[1] - size[1] % 2, wanted.width // 3
    panels = [picture.y[band:, n * width : (n + 1) * width] for n in range(3)]
    assert [set(panel.ravel()) for panel in panels] == [{50}, {90}, {120}]
    assert picture.y[:band].max() > (200 if size[0] > 60 else 16)


@pytest.mark.parametrize("size", [(1280, 720), (1919, 33), (4096, 16), (641, 4096)])
def test_wide_pictures_are_scaled_down_in_the_video(size):
    width, height = panel_size(size)
    assert width <= 640 and width % 2 == height % 2 == 0 and height >= 2
    picture = compose(flat(50, size), [Screen("", flat(90, size), Shown(0, 0.1, 2, 1), True)])
    wanted = side_by_side(VideoFormat(*size), 1)
    assert picture.size == (wanted.width, wanted.height) and picture.v.shape == (wanted.height // 2, wanted.width // 2)
    assert set(picture.y[-height:, :width].ravel()) == {50} and set(picture.y[-height:, width:].ravel()) == {90}


def test_the_figures_count_what_was_shown_and_measure_what_was_on_screen_in_each_run():
    shown = [Shown(0, 0.1, 2, 2), Shown(1, 0.2, 2, 1), Shown(3, 0.3, None, 0)]
    late = [Shown(1, 0.5, 1, 1)]  # nothing on screen at first: measured from then on, in both runs
    written = []
    runs = [Run("a", [flat(80), flat(80), flat(80)], shown), Run("b", [flat(90)], late)]
    first, second = (f.summary() for f in tell([flat(80), flat(80), flat(80), flat(81)], runs, written.append))
    assert len(written) == 3
    counts = ("shown", "complete", "partial", "extrapolated", "held")
    assert [first[key] for key in counts] == [3, 1, 1, 1, 1]
    assert [second[key] for key in counts] == [1, 1, 0, 0, 2]
    assert first["delay_ms_p50"] == pytest.approx(200) and second["delay_ms_p50"] == pytest.approx(500)
    assert 80 < first["psnr_yuv"] < 100 and second["psnr_yuv"] < 60


def test_a_line_that_was_cut_off_does_not_spoil_the_statistics(tmp_path):
    path = tmp_path / "stats.jsonl"
    path.write_text('{"event": "sent", "number": 1}\n{"event": "sent", "num')
    assert read_events(path) == {"sent": [{"event": "sent", "number": 1}]}


def test_free_ports_differ():
    assert len(set(free_ports(5))) == 5


def test_a_child_that_fails_is_one_line_and_none_is_left_behind(tmp_path, monkeypatch):
    (tmp_path / "bad_child.py").write_text("def main():\n    raise SystemExit('error: no such thing')\n")
    (tmp_path / "slow_child.py").write_text("import time\ndef main():\n    time.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(LraeError, match="the sender failed: no such thing"), Programs(tmp_path) as programs:
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


def test_the_table_has_a_column_for_each_run():
    figures = tell([flat(80)] * 2, [Run(name, [flat(80)], [Shown(0, 0.1, 2, 2)]) for name in "ab"], lambda frame: None)
    sums = {"sent": 1, "dropped": 0, "kbps": 9.6, "packets_sent": 4, "packets_lost": 1, "loss": 0.25}
    results = {impute: one.summary() | sums for impute, one in zip(demo.RUNS, figures, strict=True)}
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(demo.closing_table(results, "title"))
    text = console.export_text()
    assert "without imputation" in text and text.count("1 of 4 (25.0%)") == text.count("10 kbit/s") == 2


def events(path, *lines):
    path.write_text("".join(json.dumps({"event": event, **more}) + "\n" for event, more in lines))


def test_the_clip_goes_through_twice_and_both_are_shown_beside_the_original(tmp_path, monkeypatch, capsys):
    def transmit(args, original, video, seconds, impute, folder, report):
        """What the programs leave behind; without imputation the second frame of four never came."""
        shown = (0, 2, 3) if impute == "zero" else (0, 1, 2, 3)
        frames = list(demo.frames_of(original))
        with (folder / "received.y4m").open("wb") as stream:
            stream.write(header(video) + b"".join(frame_bytes(frames[n]) for n in shown))
        fate = {"packets": 2, "used": 1, "label": None, "label_confidence": None}
        sent = [("sent", {"number": n, "capture": 5 + n / 10}) for n in range(4)]
        events(folder / "sender.jsonl", *sent, ("sender-summary", {"frames": 4, "kbps": 9, "dropped": 0, "skipped": 0}))
        events(folder / "receiver.jsonl", *(("shown", {"number": n, "time": 5.2 + n / 10, **fate}) for n in shown))
        events(folder / "channel.jsonl", ("channel-summary", {"up": {"sent": 8, "lost": 2}}))
        report(folder / "receiver.jsonl")

    monkeypatch.setattr(demo, "transmit", transmit)
    output, figures = tmp_path / "demo.mp4", tmp_path / "demo.json"
    assert demo.main(["--input", "synthetic:96x64@10x4", "--output", str(output), "--json", str(figures)]) == 0
    runs = json.loads(figures.read_text())["runs"]
    assert [(name, run["held"], run["shown"], run["loss"]) for name, run in runs.items()] == [
        ("zero", 1, 3, 0.25), ("full", 0, 4, 0.25),
    ]  # fmt: skip
    assert runs["zero"]["psnr_yuv"] < runs["full"]["psnr_yuv"] == 100
    with av.open(str(output)) as container:
        pictures = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    assert [picture.shape for picture in pictures] == [(64 + 20, 3 * 96)] * 4
    assert "without imputation" in capsys.readouterr().out


def test_three_processes_carry_a_video_through_loss_with_the_concealment_that_was_named(tmp_path):
    try:
        load_model("m")
    except ModelError:
        pytest.skip("no shipped weights")
    arguments = ["--input", "synthetic:96x64@10x20", "--loss", "0.05", "--delay", "5", "--classifier", "none"]
    args = demo.build_parser().parse_args(arguments)
    video, count = demo.record(args, tmp_path / "original.y4m")
    seen = []
    demo.transmit(args, tmp_path / "original.y4m", video, 2.0, "zero", tmp_path, seen.append)
    shown = read_events(tmp_path / "receiver.jsonl")["shown"]
    assert count == 20 and 1 <= len(shown) <= 20 and seen
    assert len(list(demo.frames_of(tmp_path / "received.y4m"))) == len(shown)
