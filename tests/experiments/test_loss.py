"""Closed-loop runs under loss: masks, feedback, what loss costs (with a toy codec in LRAE's place)."""

import json
import math
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from lrae.channel.loss import parse_loss
from lrae.errors import ConfigError
from lrae.experiments import bench, concealment, loss, loss_rates, progressive, recovery
from lrae.experiments.clips import read_clip
from lrae.experiments.loss import Condition, Feedback, FrameResult, bursty, run, summarise
from lrae.experiments.loss_tables import impute_tables
from lrae.experiments.pool import Setup, run_jobs
from lrae.sender.flow import LOSS_FIRST

CLIP = "synthetic:64x48@30x24"
MODULES = (loss_rates, concealment, recovery, progressive)


@pytest.fixture
def toy(monkeypatch, fake_codec):
    """FakeCodec for every model; runs in this process."""
    for name in ("make_encoder", "make_decoder"):
        monkeypatch.setattr(loss, name, lambda model, video, device="auto", **_: fake_codec(video))
    for module in MODULES:
        monkeypatch.setattr(module, "model_hash", lambda model: "0" * 16)
    loss.codecs.cache_clear()
    yield
    loss.codecs.cache_clear()


@pytest.fixture
def clip():
    return read_clip(CLIP)


def test_without_loss_all_packets_are_used_and_nothing_is_replayed(toy, clip):
    whole = run(clip, Condition())
    assert all(f.used == f.arrived == f.sent == 4 and not f.replayed for f in whole)
    assert summarise(whole, clip.pixels)["undecodable"] == 0
    assert whole == run(clip, Condition(resync="none"))


def test_the_seed_and_the_clip_decide_the_masks(toy, clip):
    condition = Condition(loss="0.3", seed=1)
    assert run(clip, condition) == run(clip, condition)
    masks = [
        [f.arrived for f in run(c, d)]
        for c, d in ((clip, condition), (clip, replace(condition, seed=2)), (replace(clip, name="other"), condition))
    ]
    assert masks[0] != masks[1] and masks[0] != masks[2]


def test_feedback_beats_no_feedback_on_a_moving_clip(toy, clip):
    with_it, without = (run(clip, Condition(loss="0.2", resync=resync)) for resync in ("feedback", "none"))
    assert [f.arrived for f in with_it] == [f.arrived for f in without]
    assert summarise(with_it, 1)["psnr_yuv"] > summarise(without, 1)["psnr_yuv"] + 1
    assert sum(f.replayed for f in with_it) > 0


def test_a_frame_that_loses_every_packet_counts_as_undecodable(toy, clip):
    lossy = run(clip, Condition(loss="all", start=5, stop=7))
    assert [n for n, f in enumerate(lossy) if f.used == 0] == [5, 6]
    assert summarise(lossy, clip.pixels)["undecodable"] == 2 / len(clip.frames)


def test_the_first_frame_arrives_whole(toy, clip):
    lossy = run(clip, Condition(loss="all"))
    assert lossy[0].used == lossy[0].sent and not any(f.arrived for f in lossy[1:])


@pytest.mark.parametrize(
    ("rtt", "fps", "frames"), [(0.1, 30, 3), (0.1, 25, 3), (0.1, 20, 2), (0.0, 30, 1), (0.11, 30, 4)]
)
def test_news_reaches_the_first_frame_captured_a_round_trip_later(rtt, fps, frames):
    feedback = Feedback(rtt, fps)
    for number in range(frames):
        assert feedback.news(number).confirmed == ()
        feedback.report(number, 4, 3, frozenset({0, 1, 2}))
    assert feedback.news(frames).confirmed == ((0, frozenset({0, 1, 2})),)


def test_the_sender_knows_the_loss_only_from_reports():
    feedback = Feedback(0.1, 30)
    assert feedback.news(0).loss == LOSS_FIRST
    for number in range(200):
        feedback.report(number, 4, 1, frozenset({0}))
    assert feedback.news(2).loss == LOSS_FIRST
    assert feedback.news(250).loss == pytest.approx(0.75, abs=1e-3)


@pytest.mark.parametrize("mean", [0.05, 0.2, 0.5, 0.6, 0.95])
def test_bursty_losses_have_the_mean_asked_for_and_last(mean):
    model = parse_loss(bursty(mean))
    assert model.mean == pytest.approx(mean) and model.mean_burst >= loss.BURST - 1e-9
    drawn = list(islice(model.outcomes(np.random.default_rng(0)), 40_000))
    assert np.mean(drawn) == pytest.approx(mean, abs=0.03)


def test_a_sender_that_hears_nothing_knows_the_loss_rate_and_that_the_first_frame_arrived(toy, clip, monkeypatch):
    told = []

    class Listener(loss.FrameEncoder):
        def encode(self, frame, news):
            told.append(news)
            return super().encode(frame, news)

    monkeypatch.setattr(loss, "FrameEncoder", Listener)
    run(clip, Condition(loss="0.3", resync="none"))
    assert {news.loss for news in told} == {0.3}
    assert [n for news in told for n, _ in news.confirmed] == [0]


@pytest.mark.parametrize(
    "wrong", [{"resync": "hope"}, {"layout": "spiral"}, {"rtt": -1}, {"resync": "refresh", "layout": "interleaved"}]
)
def test_a_condition_that_cannot_be_is_one_error(wrong):
    with pytest.raises(ConfigError):
        Condition(**wrong)


def test_jobs_on_processes_come_back_in_order():
    calls = []
    assert run_jobs(math.sqrt, [9.0, 4.0, 1.0], 2, calls.append) == [3.0, 2.0, 1.0]
    assert calls == [""] * 4
    numbers, words = Setup(processes=2).run((math.sqrt, [9.0, 4.0]), (str.upper, ["a"]))
    assert (numbers, words) == ([3.0, 2.0], ["A"])


def test_loss_writes_its_documented_keys_and_no_loss_costs_nothing(toy, tmp_path, capsys):
    out, plot = tmp_path / "loss.json", tmp_path / "loss.png"
    command = ["loss", "--clips", CLIP, "--frames", "12", "--no-feedback-frames", "20", "--jobs", "1", "--burst"]
    assert bench.main([*command, "--q", "10,30", "--loss", "0.1,0.3", "--json", str(out), "--plot", str(plot)]) == 0
    result = json.loads(out.read_text())
    for measure in ("psnr_drop", "ssim_drop", "extra_bits", "undecodable", "psnr_yuv", "ssim_db"):
        for part in (result, result["bursty"], result["by_q"]["10"]["independent"], result["by_q"]["30"]["bursty"]):
            for key in (measure, *(f"{measure}_{name}" for name in ("no_feedback", "refresh", "no_imputer"))):
                assert list(part[key]) == ["0", "0.1", "0.3"]
    for key in ("psnr_drop", "ssim_drop", "extra_bits", "psnr_drop_no_feedback", "extra_bits_no_feedback"):
        assert result[key]["0"] == 0
    assert result["psnr_drop_no_feedback"]["0.3"] > result["psnr_drop"]["0.3"] > 0
    assert {row["frames"] for row in result["runs"]} == {12, 20}
    assert {"variants", "model_hash", "arguments", "environment"} <= set(result)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "PSNR-YUV lost" in capsys.readouterr().out


def results(*psnr):
    return [FrameResult(value, 0.9, 100, 10, 4, 4, 4) for value in psnr]


def test_recovery_counts_from_the_end_of_the_burst():
    whole = results(40, 40, 40, 40, 40)
    assert recovery.frames_until(whole, results(40, 30, 35, 39.6, 39.8), 2) == 3
    assert recovery.frames_until(whole, results(40, 30, 39.9, 30, 30), 2) == 1
    assert recovery.frames_until(whole, results(40, 30, 35, 36, 37), 2) is None


def test_recovery_writes_its_documented_keys(toy, tmp_path, capsys):
    out = tmp_path / "recovery.json"
    command = ["recovery", "--clips", "synthetic:64x48@10x30", "--q", "22", "--seeds", "2", "--jobs", "1"]
    assert bench.main([*command, "--frames", "30", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert {"recovery_frames", "late_share", "times", "within_db", "model_hash", "runs"} <= set(result)
    assert result["runs"][0]["target"] == 6 and len(result["runs"][0]["frames"]) == 2
    assert result["times"]["size"] == "448x256" and result["times"]["replay_ms"] > 0
    assert {"decode_whole_ms", "decode_one_lost_ms", "decode_unimputed_ms", "decode_nothing_ms"} <= set(result["times"])
    assert bench.main([*command, "--frames", "9"]) == 1
    assert "too few" in capsys.readouterr().err


def test_progressive_writes_quality_and_bytes_over_the_packets(toy, tmp_path):
    out, plot = tmp_path / "progressive.json", tmp_path / "progressive.png"
    command = ["progressive", "--clips", CLIP, "--frames", "9", "--q", "22", "--packets", "3", "--jobs", "1"]
    assert bench.main([*command, "--layouts", "tiles,progressive", "--json", str(out), "--plot", str(plot)]) == 0
    result = json.loads(out.read_text())
    assert set(result["layouts"]) == {"tiles", "progressive"}
    for layout in result["layouts"].values():
        assert layout["psnr_yuv"] == sorted(layout["psnr_yuv"]) and len(layout["psnr_yuv"]) == 4
        assert layout["bytes"][0] == 0 and layout["bytes"][-1] == 1
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_concealments_are_compared_over_loss_and_over_frames_lost_whole(toy):
    names = ("zero", "full")
    result = concealment.measure([CLIP], 16, (22,), (0.2,), names)
    for resync in ("feedback", "none"):
        assert set(result[resync]) == set(names)
        assert list(result[resync]["full"]["psnr_yuv"]) == ["0", "0.2"]
    assert result["feedback"]["zero"] == result["feedback"]["full"]  # the toy knows one way only
    whole = result["whole_frames"][0]
    assert whole["lost"] == 2 and whole["motion"] > concealment.MOVING
    assert result["whole_frame_gain"] == {name: {"moving": 0.0, "all": 0.0} for name in names}
    assert len(impute_tables(result)) == 5


def test_a_clip_that_stands_still_does_not_count_as_moving(clip):
    still = clip.frames[:1] * 4
    assert concealment.motion_of(still) == 0 < concealment.MOVING < concealment.motion_of(clip.frames)
    row = {"motion": 0.0, "psnr_yuv": {"repeat": 30.0, "full": 31.5}}
    assert concealment.gains([row], ["full"]) == {"full": {"moving": None, "all": 1.5}}


@pytest.mark.parametrize(
    "arguments",
    [
        ["loss", "--loss", "1.0"],
        ["loss", "--loss", "some"],
        ["loss", "--layout", "spiral"],
        ["loss", "--packets", "65"],
        ["loss", "--clips", CLIP, "--rtt", "-1"],
        ["loss", "--variants", "hope"],
        ["loss", "--clips", CLIP, "--layout", "interleaved", "--variants", "no_feedback,refresh"],
        ["impute", "--names", "hope"],
        ["progressive", "--layouts", "spiral"],
        ["recovery", "--seeds", "0"],
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_1(toy, arguments, capsys):
    assert bench.main(arguments) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_real_codec_loses_little_when_its_sender_hears_of_the_loss():
    clip = read_clip("synthetic:96x64@30x14")
    whole, heard, unheard = (
        summarise(run(clip, Condition(loss=text, resync=resync)), clip.pixels)
        for text, resync in (("none", "feedback"), ("0.25", "feedback"), ("0.25", "none"))
    )
    assert whole["undecodable"] == 0
    assert whole["psnr_yuv"] > heard["psnr_yuv"] > unheard["psnr_yuv"]
