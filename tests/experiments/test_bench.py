"""The benchmark harness: its arithmetic, its JSON, its errors (with a toy codec in LRAE's place)."""

import json
import zlib
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from lrae.codec.types import DecodedFrame, EncodedFrame, Frame, FrameHeader
from lrae.errors import LraeError
from lrae.experiments import bench, rd, speed
from lrae.experiments.bdrate import bd_rate
from lrae.experiments.clips import read_clip


@dataclass
class ToyState:
    packed: torch.Tensor


class ToyCodec:
    """Intra only: planes rounded to multiples of a step, deflated."""

    def __init__(self, model, video, device="auto"):
        self.format, self.broken = video, model == "broken"

    def initial_state(self):
        return ToyState(torch.zeros(1))

    def encode(self, state, frame, number, q, hints, reference=0):
        step = 2 ** (1 + (63 - q) // 10)
        planes = [(p // step * step + step // 2).astype(np.uint8) for p in (frame.y, frame.u, frame.v)]
        text = zlib.compress(b"".join(p.tobytes() for p in planes))
        header = FrameHeader(number, hints.intra, q, 1)
        state = ToyState(torch.from_numpy(planes[0]) + (1 if self.broken else 0))
        return EncodedFrame(header, (text,), 0, None, {"entropy": 0.25e-3, "motion": 0.1e-3}), state

    def decode(self, state, header, payloads, time=0.0):
        data = np.frombuffer(zlib.decompress(payloads[0]), np.uint8)
        w, h = self.format.width, self.format.height
        half = ((h + 1) // 2, (w + 1) // 2)
        y, u, v = np.split(data, [w * h, w * h + half[0] * half[1]])
        frame = Frame(y.reshape(h, w), u.reshape(half), v.reshape(half))
        return DecodedFrame(frame, frozenset({0}), True, 0, {}), ToyState(torch.tensor(frame.y))


@pytest.fixture
def toy(monkeypatch):
    for module in (rd, speed):
        monkeypatch.setattr(module, "make_encoder", ToyCodec)
        monkeypatch.setattr(module, "make_decoder", ToyCodec)
        monkeypatch.setattr(module, "model_hash", lambda model: "0" * 16)


CURVE = [(100.0, 30.0), (150.0, 33.0), (230.0, 36.0), (360.0, 39.0)]


def test_bd_rate_of_a_curve_with_a_tenth_more_bits_is_ten_percent():
    pytest.importorskip("bjontegaard")
    more = [(1.1 * rate, quality) for rate, quality in CURVE]
    assert bd_rate(CURVE, more) == pytest.approx(10)
    assert bd_rate(more, CURVE) == pytest.approx(-100 / 11)
    assert bd_rate(CURVE, list(reversed(more))) == pytest.approx(10)


def test_bd_rate_is_unknown_where_curves_do_not_overlap_or_are_too_short():
    pytest.importorskip("bjontegaard")
    assert bd_rate(CURVE, [(rate, quality + 8.6) for rate, quality in CURVE]) is None
    assert bd_rate(CURVE, CURVE[:3]) is None
    assert bd_rate(CURVE, [*CURVE[:3], (400.0, 35.0)]) is None


def test_datagrams_hold_what_fits_beside_their_header():
    assert [rd.datagrams(size, 12) for size in (0, 1, 1188, 1189, 2376, 2377)] == [1, 1, 1, 2, 2, 3]


def test_a_point_counts_payload_bits_and_headers_apart(toy):
    clip = read_clip("synthetic:64x48@30x5")
    point = rd.lrae_point(clip, "toy", 60, 1, "cpu")
    headers = (point.wire_bpp - point.bpp) * clip.pixels / 8
    assert headers == pytest.approx(sum(51 * rd.datagrams(1000, 23) for _ in clip.frames), abs=51 * 5 * 4)
    assert headers % 52 == pytest.approx(0, abs=1e-6) or headers % 52 == pytest.approx(52, abs=1e-6)
    assert 0 < point.intra_share < 1 and 40 < point.psnr_yuv < 60 and point.ssim_db > 10


def test_a_decoder_that_shows_something_else_than_the_encoder_fails_the_run(toy):
    clip = read_clip("synthetic:64x48@30x2")
    with pytest.raises(LraeError, match="not the encoder's"):
        rd.lrae_point(clip, "broken", 60, 1, "cpu")


def test_rd_writes_its_documented_keys_and_can_reuse_the_anchors(toy, tmp_path, monkeypatch, capsys):
    pytest.importorskip("bjontegaard")
    out, again, plot = tmp_path / "rd.json", tmp_path / "again.json", tmp_path / "rd.png"
    common = ["rd", "--clips", "synthetic:64x48@30x4", "--frames", "3", "--q", "3,13,23,33,43,53"]
    common += ["--anchors", "x264-veryfast"]
    assert bench.main([*common, "--json", str(out), "--plot", str(plot)]) == 0
    result = json.loads(out.read_text())
    assert set(result["bd_rate"]) == {"x264-veryfast"}
    keys = {"bd_rate", "bd_rate_wire", "bd_rate_clip_mean", "model_hash", "points", "clips"}
    assert set(result) == keys | {"arguments", "environment"}
    assert result["clips"]["synthetic:64x48@30x4"]["clip"]["frames"] == 3
    point = {"setting", "bpp", "wire_bpp", "psnr_yuv", "psnr_end", "ssim_db", "intra_share"}
    assert set(result["points"]["lrae"][0]) == point and len(result["points"]["lrae"]) == 6
    assert {"cores", "processor", "date", "commit", "versions"} <= set(result["environment"])
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "BD-rate" in capsys.readouterr().out

    monkeypatch.setattr(rd, "run_anchor", None)
    assert bench.main([*common, "--json", str(again), "--reuse", str(out)]) == 0
    assert json.loads(again.read_text())["bd_rate"] == result["bd_rate"]


def test_speed_writes_its_documented_keys(toy, tmp_path, capsys):
    out = tmp_path / "speed.json"
    command = ["speed", "--clips", "synthetic:64x48@30x9", "--frames", "8", "--sizes", "64x48,96x64"]
    assert bench.main([*command, "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert set(result["fps"]) == {"64x48", "96x64"}
    assert all(value > 0 for sides in result["fps"].values() for value in (sides["encode"], sides["decode"]))
    detail = result["detail"]["64x48"]["encode"]
    assert detail["stages_ms"] == pytest.approx({"entropy": 0.25, "motion": 0.1})
    assert detail["entropy_share"] == pytest.approx(0.25 / detail["median_ms"])
    assert result["session_us_per_packet"] > 0 and result["threads"]["torch"] >= 1
    assert "Frames per second" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["rd", "--clips", "/nowhere.mp4"],
        ["rd", "--q", "64"],
        ["rd", "--q", "x"],
        ["rd", "--anchors", "x266"],
        ["rd", "--clips", "synthetic:64x48@30x4", "--reuse", "/nowhere.json"],
        ["rd", "--frames", "0"],
        ["speed", "--q", "1,2"],
        ["speed", "--sizes", "1x1"],
        ["nothing"],
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_1(toy, arguments, capsys):
    assert bench.main(arguments) == 1
    assert capsys.readouterr().err.count("\n") == 1
