"""What a user sees of lrae-train: it says what is wrong in one line, and does what its help says."""

from __future__ import annotations

import sys

import pytest

from lrae.models.store import load_model
from lrae.training import init, main
from lrae.training.footage import load, write_pack


def run(monkeypatch, *words) -> int:
    monkeypatch.setattr(sys, "argv", ["lrae-train", *map(str, words)])
    return main.main()


@pytest.fixture
def pack(tmp_path, clips):
    write_pack(clips, tmp_path / "footage.pack")
    return tmp_path / "footage.pack"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("", "arguments are required: command"),
        ("init", "arguments are required: data, --output"),
        ("init /no/such --output {tmp}/x.safetensors", "/no/such: no videos to train on"),
        ("init {tmp} --output {tmp}/x.safetensors", "no videos to train on"),
        ("init {tmp}/text --output {tmp}/x.safetensors", "text: not a packed footage file"),
        ("init {tmp}/footage.pack --output /no/such/x.safetensors", "/no/such/x.safetensors: no such folder"),
        ("train {tmp}/footage.pack --folder {tmp}/run", "--weights FILE to start from, or --resume"),
        ("train {tmp}/footage.pack --folder {tmp}/run --resume", "run/weights.safetensors"),
        ("train {tmp}/footage.pack --folder {tmp}/run --weights nosuch", "unknown model 'nosuch'"),
        ("train {tmp}/footage.pack --folder {tmp}/run --weights {tmp}/text.safetensors", "no such weights file"),
        ("train {tmp}/footage.pack --folder {tmp}/text --weights m", "text: not a folder"),
        ("train {tmp}/footage.pack --folder {tmp}/run --weights m --minutes nan", "--minutes nan"),
        ("train {tmp}/footage.pack --folder {tmp}/run --weights m --side 100", "--side 100"),
        ("train {tmp}/footage.pack --folder {tmp}/run --weights m --batch 0", "--batch"),
        ("train {tmp}/footage.pack --folder {tmp}/run --weights m --device abacus", "--device"),
        ("refit {tmp}/footage.pack --output {tmp}/x.safetensors", "arguments are required: --weights"),
        ("filter {tmp}/footage.pack --weights m", "arguments are required: --output"),
        ("filter {tmp}/footage.pack --weights m --output {tmp}/x.safetensors --rounds 0", "--rounds and --clips are 1"),
        ("filter {tmp}/footage.pack --weights m --output /no/such/x.safetensors", "no such folder"),
        ("pack {tmp}/text --output {tmp}/x.pack", "text: not a packed footage file"),
        ("validate --weights nosuch", "unknown model 'nosuch'"),
        ("classify --output {tmp}/x.safetensors", "arguments are required: --folder"),
        ("classify --folder /no/such --output {tmp}/x.safetensors", "/no/such: no such folder"),
        ("classify --folder {tmp} --output {tmp}/x.safetensors", "no videos in this folder"),
        ("classify --folder {tmp} --output /no/such/x.safetensors", "/no/such/x.safetensors: no such folder"),
        ("classify --folder {tmp} --output {tmp}/x.safetensors --q 64", "--q 0 to 63"),
        ("classify --folder {tmp} --output {tmp}/x.safetensors --frames 3", "--frames is 8 or more"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_one(monkeypatch, capsys, tmp_path, pack, words, text):
    (tmp_path / "text").write_text("not what is wanted")
    assert run(monkeypatch, *words.format(tmp=tmp_path).split()) == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and text in line
    assert not list(tmp_path.glob("x.*"))


def test_resume_without_a_checkpoint_is_one_line_even_where_weights_are_given(monkeypatch, capsys, tmp_path, pack):
    init.bootstrap().save(tmp_path / "start.safetensors")
    words = "train", pack, "--folder", tmp_path / "run", "--resume", "--weights", tmp_path / "start.safetensors"
    assert run(monkeypatch, *words, "--side", 64, "--quiet") == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert line == f"error: {tmp_path}/run/checkpoint.pt: no checkpoint to resume from"


def test_a_crop_that_no_clip_can_fill_is_one_line(monkeypatch, capsys, tmp_path, pack):
    init.bootstrap().save(tmp_path / "start.safetensors")
    words = "train", pack, "--folder", tmp_path / "run", "--weights", tmp_path / "start.safetensors"
    assert run(monkeypatch, *words, "--quiet") == 1
    assert capsys.readouterr().err.splitlines()[-1] == "error: no clip is as large as the crop of 128 pixels"


def test_from_videos_to_a_pack_to_trained_weights(monkeypatch, capsys, tmp_path, write_video, clips):
    write_video(tmp_path / "clip.mkv", clips[0].pictures)
    assert run(monkeypatch, "pack", tmp_path, "--output", tmp_path / "f.pack", "--quiet") == 0
    assert len(load(str(tmp_path / "f.pack"))) == 1
    init.bootstrap().save(tmp_path / "start.safetensors")
    words = "--weights", tmp_path / "start.safetensors", "--side", 64, "--batch", 1, "--frames", 1, "--minutes", 0.001
    assert run(monkeypatch, "train", tmp_path / "f.pack", "--folder", tmp_path / "run", "--quiet", *words) == 0
    steps = load_model(str(tmp_path / "run" / "weights.safetensors")).card["steps"]
    assert f"weights.safetensors: {steps} steps" in capsys.readouterr().out


def test_loop_filters_are_fitted_and_fitted_on(monkeypatch, capsys, tmp_path, pack):
    init.bootstrap().save(tmp_path / "start.safetensors")
    path = tmp_path / "filter.safetensors"
    words = "--output", path, "--rounds", 1, "--clips", 1, "--quiet"
    assert run(monkeypatch, "filter", pack, "--weights", tmp_path / "start.safetensors", *words) == 0
    first = load_model(str(path)).loop_filter
    assert run(monkeypatch, "filter", pack, "--weights", path, *words) == 0
    assert f"{path}: 2 rounds of the loop filters" in capsys.readouterr().out
    assert first.any() and (load_model(str(path)).loop_filter != first).any()
