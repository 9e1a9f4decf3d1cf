"""Labelled clips become samples of what a receiver sees; classes are told apart; bad input is one line."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from lrae.errors import ConfigError, SourceError
from lrae.experiments import action_streams, actions
from lrae.experiments.action_anchor import AnchorConfig, as_state, shown
from lrae.experiments.action_anchor import stream as anchor_stream
from lrae.experiments.action_head import accuracy, calibrate, fit, fold_of, held_out, ridge
from lrae.experiments.action_streams import (
    LOSSES,
    OTHERS,
    Cache,
    Item,
    Samples,
    StreamConfig,
    collect,
    find_items,
    read_frames,
    stream,
)
from lrae.models.classifier import ENERGIES
from lrae.training.classify import classify, find_classes


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write(path: Path, across: float, down: float, seed: int, count: int = 20, rate: int = 15) -> None:
    """A textured square that moves over a still texture."""
    rng = np.random.default_rng(seed)
    wall, square = (cv2.GaussianBlur(rng.uniform(0, 255, (96, 96)).astype(np.uint8), (0, 0), 3) for _ in range(2))
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for time in range(count):
            luma = wall[:64].copy()
            left, top = int(36 + across * np.sin(time / 2)), int(20 + down * np.sin(time / 2))
            luma[top : top + 24, left : left + 24] = square[:24, :24]
            picture = np.concatenate((luma, np.full((32, 96), 128, np.uint8)))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "yuv420p")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("actions")
    for seed in range(4):
        write(root / "classes" / "across" / f"a_seq{seed:02d}.mkv", 24, 0, seed)
        write(root / "classes" / "down" / f"d_seq{seed:02d}.mkv", 0, 16, seed + 10)
    write(root / "others" / "still.mkv", 0, 0, 20)
    return root


@pytest.fixture(scope="module")
def kept(folder):
    items = find_items(folder / "classes") + find_items(folder / "others", OTHERS)
    return items, collect(items, folder / "cache", StreamConfig(frames=20), lambda text: None)


def made(label: int, seed: int, noise: float = 1.0) -> Samples:
    """Samples of a clip whose class shows in every third dimension."""
    g = torch.Generator().manual_seed(seed)
    windows = noise * torch.rand(len(LOSSES), 2, 6, ENERGIES, generator=g)
    windows[..., label::3] += 2
    return Samples(windows, windows[:, :1, :, :7], np.ones(6), (64, 48), 15.0)


def test_classes_are_folders_and_recordings_stay_together(folder):
    items = find_items(folder / "classes")
    assert {item.label for item in items} == {"across", "down"} and len(items) == 8
    assert sorted({item.group for item in items}) == ["seq00", "seq01", "seq02", "seq03"]
    folds = fold_of(items, 3)
    assert all(len({f for f, i in zip(folds, items, strict=True) if i.group == g}) == 1 for g in ("seq00", "seq03"))
    assert find_items(folder / "others", OTHERS)[0].group == "still"


def test_fast_clips_are_thinned_and_keep_their_pace(tmp_path):
    write(tmp_path / "fast.mkv", 5, 5, 0, count=40, rate=50)
    video, frames = read_frames(tmp_path / "fast.mkv", 100)
    assert float(video.fps) == 12.5 and len(frames) == 10


def test_samples_without_loss_are_those_of_the_encoder_and_losses_show_in_the_others(kept):
    _, samples = kept
    one = samples[0]
    assert one.windows.shape[:2] == (len(LOSSES), 2) and one.windows.shape[3] == ENERGIES
    assert one.stills.shape[:3] == (len(LOSSES), 1, one.windows.shape[2]) and torch.isfinite(one.windows).all()
    assert len(one.bits) == 20 and one.size == (96, 64) and one.fps == 15
    assert not torch.equal(one.windows[0], one.windows[-1])


def test_a_stream_is_the_same_whenever_it_is_made_and_the_cache_gives_it_back(kept, folder, monkeypatch):
    items, samples = kept
    again = stream(items[0].path, StreamConfig(frames=20))
    assert torch.equal(again.windows, samples[0].windows) and (again.bits == samples[0].bits).all()
    monkeypatch.setattr(action_streams, "stream", None)  # nothing is computed now
    cached = collect(items, folder / "cache", StreamConfig(frames=20), lambda text: None)
    for a, b in zip(samples, cached, strict=True):
        assert torch.equal(a.windows, b.windows) and torch.equal(a.stills, b.stills) and a.size == b.size
    with pytest.raises(TypeError):  # another setting is another stream
        collect(items[:1], folder / "cache", StreamConfig(frames=20, q=30), lambda text: None)


def test_a_damaged_cache_file_is_made_again(tmp_path):
    made_for = []
    path = tmp_path / "x.mp4"
    path.write_bytes(b"any")
    item = Item(path, "a", "g")
    cache = Cache(tmp_path / "cache", "toy", lambda p: made_for.append(p) or made(0, 1), {})
    first = cache.samples(item)
    (file,) = (tmp_path / "cache").iterdir()
    for damage in (b"", b"PK\x03\x04 not a zip file", file.read_bytes()[:-30]):
        file.write_bytes(damage)
        assert cache.samples(item).size == first.size
    assert len(made_for) == 4 and zipfile.is_zipfile(file)
    cache.samples(item)
    assert len(made_for) == 4


def test_classes_that_move_differently_are_told_apart_in_recordings_never_seen(kept):
    items, samples = (list(part[:8]) for part in kept)
    scores = held_out(items, samples, ["across", "down"], 4)
    right = accuracy(items, scores, ["across", "down"])
    assert list(right) == ["0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6"]
    assert right["0"]["clip"] == 1.0 and right["0.3"]["clip"] >= 0.75


def test_ridge_is_the_minimum_of_what_it_says():
    g = torch.Generator().manual_seed(0)
    x, y, w = torch.randn(40, 5, generator=g), torch.eye(2)[torch.arange(40) % 2], torch.rand(40, generator=g)
    mean, spread, readout = ridge(x, y, w)

    def cost(r):
        share = w / w.sum()
        error = ((x - mean) / spread) @ r - (y - (share[:, None] * y).sum(0))
        return float((share[:, None] * error**2).sum() + 0.5 * (r**2).sum())

    for _ in range(10):
        assert cost(readout) < cost(readout + 0.01 * torch.randn(5, 2, generator=g))


def test_no_recording_is_both_trained_on_and_tested():
    items = [Item(Path(f"{n}"), "ab"[n % 2], f"g{n // 2}") for n in range(8)]
    samples = [made(n % 2, n, 0.1) for n in range(8)]
    for n in (0, 1):  # the first recording's labels are wrong: it must not learn that from itself
        samples[n] = made(1 - n, n, 0.1)
    right = accuracy(items, held_out(items, samples, ["a", "b"], 4), ["a", "b"])
    assert right["0"]["clip"] == 0.75


def test_anything_else_gets_a_column_and_the_threshold_keeps_wrong_labels_rare():
    items = [Item(Path(f"{n}"), ("a", "b", OTHERS)[n % 3], f"g{n}") for n in range(18)]
    samples = [made(n % 3, n) for n in range(18)]
    classes = ["a", "b"]
    found = fit(samples, [item.label for item in items], classes, True)
    assert found.others == 1 and found.readout.shape == (ENERGIES, 3)
    settings = calibrate(items, held_out(items, samples, classes, 6), classes)
    assert settings["shown"] > 0.9 and settings["right"] > 0.9 and settings["others_labelled"] < 0.2
    alone = calibrate(items[:2] * 3, [torch.randn(7, 6, 2)] * 6, classes)
    assert alone["others_labelled"] is None and alone["threshold"] > 0.5


def test_h264_freezes_from_a_loss_until_an_intra_frame_a_round_trip_later():
    class Draw:
        def __init__(self, lost):
            self.lost, self.at = lost, -1

        def random(self, count):
            self.at += 1
            return np.full(count, 0.0 if self.at in self.lost else 1.0)

    assert shown([900] * 8, 900, 0.5, 15.0, Draw({3})) == [0, 1, 2, 2, 2, 5, 6, 7]
    assert shown([900] * 9, 900, 0.5, 15.0, Draw({3, 5})) == [0, 1, 2, 2, 2, 2, 2, 7, 8]
    assert shown([900] * 4, 900, 0.5, 15.0, Draw({0})) == [0, 1, 2, 3]
    assert shown([5000] * 50, 5000, 0.0, 15.0, np.random.default_rng(0)) == list(range(50))


def test_h264_is_sampled_as_lrae_is_and_a_frozen_picture_does_not_move(folder):
    path = folder / "classes" / "across" / "a_seq00.mkv"
    samples = anchor_stream(path, AnchorConfig(frames=20))
    own = stream(path, StreamConfig(frames=20))
    assert samples.windows.shape == own.windows.shape and len(samples.bits) == 20
    assert float(samples.windows[0].mean()) > float(samples.windows[-1].mean())
    _, frames = read_frames(path, 4)
    assert not as_state(frames[1], frames[1]).motion.vectors.any()
    assert as_state(frames[1], frames[0]).motion.vectors.any()


def test_the_bench_measures_every_row_and_prints(folder):
    config = StreamConfig(frames=20)
    result = actions.measure(
        folder / "classes", folder / "others", 2, folder / "cache", config, AnchorConfig(frames=20)
    )
    assert set(result["accuracy"]) == {
        "LRAE", "LRAE, trained without loss", "single picture", "shape and length of the clip",
        "H.264, frozen at loss", "LRAE, with other footage",
    }  # fmt: skip
    assert result["accuracy"]["shape and length of the clip"]["0"]["clip"] <= 0.5  # all clips have one shape
    assert result["drop"]["0"] == 0 and result["recordings"] == 4 and json.dumps(result)
    assert actions.table(result).row_count == len(LOSSES)


def test_training_writes_weights_that_load_and_a_card(folder, tmp_path):
    from lrae.models.classifier import load_classifier

    output = tmp_path / "mine.safetensors"
    config = StreamConfig(frames=20)
    classify(folder / "classes", folder / "others", output, folder / "cache", config, quiet=True)
    loaded = load_classifier(str(output))
    assert loaded.classes == ("across", "down") and loaded.others == 1
    card = json.loads(output.with_suffix(".json").read_text())
    assert card["clips"] == {"across": 4, "down": 4} and card["others"] == 1
    assert card["held_out"]["accuracy"]["0"]["clip"] == 1.0 and loaded.threshold == card["held_out"]["threshold"]


def test_what_cannot_be_trained_on_is_one_line(folder, tmp_path):
    with pytest.raises(SourceError, match="no such folder"):
        find_items(tmp_path / "gone")
    with pytest.raises(SourceError, match="no videos"):
        find_items(tmp_path)
    with pytest.raises(ConfigError, match="one folder of videos for each class"):
        find_classes(folder / "classes" / "down", None)
    for name in ("a", "b"):
        write(tmp_path / name / "x_seq01.mkv", 3, 0, 0, count=3)
    with pytest.raises(ConfigError, match="two recordings"):
        find_classes(tmp_path, None)
    with pytest.raises(SourceError, match="fewer than 4 frames"):
        read_frames(tmp_path / "a" / "x_seq01.mkv", 100)
