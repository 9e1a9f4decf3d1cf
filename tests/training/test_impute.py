"""The imputer trains on what receivers really see, and its loss is the error of what the decoder shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lrae.codec import make_decoder
from lrae.codec.conceal import CHANGE
from lrae.codec.lrae import LraeDecoder, LraeEncoder
from lrae.codec.types import EncodeHints, VideoFormat
from lrae.errors import ConfigError
from lrae.models.blocks import pack
from lrae.models.store import load_model
from lrae.sender.source import open_source
from lrae.training import impute, recordings
from lrae.training.footage import Clip

SMALL = impute.ImputeConfig(minutes=0.01, batch=2, length=12, quiet=True)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    """Two synthetic clips of several tiles."""
    found = []
    for width, height in ((192, 128), (128, 192)):
        source = open_source(f"synthetic:{width}x{height}@30x12")
        pictures = [
            np.concatenate((frame.y, frame.u.reshape(-1, width), frame.v.reshape(-1, width))) for frame in source
        ]
        source.close()
        found.append(Clip(f"{width}x{height}", np.stack(pictures)))
    return found


@pytest.fixture(scope="module")
def trained(clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return folder, impute.train_imputer(load_model("m"), clips, folder, SMALL, CPU)


def test_a_run_leaves_weights_that_a_codec_uses(trained):
    folder, model = trained
    assert model.card["imputer_steps"] >= 1
    path = str(folder / "weights.safetensors")
    assert load_model(path).card["imputer_steps"] == model.card["imputer_steps"]
    decoder = make_decoder(path, VideoFormat(96, 96), "cpu")
    assert decoder.initial_state().recall is not None
    assert make_decoder(path, VideoFormat(96, 96), "cpu", "neighbours").initial_state().recall is None


def test_the_shipped_networks_are_left_as_they_are(trained):
    before, after = load_model("m").network.state_dict(), trained[1].network.state_dict()
    for name, value in before.items():
        if not name.startswith("imputer."):
            assert torch.equal(value, after[name]), name


@pytest.mark.parametrize("lost", [(1,), (0, 2)])
def test_the_training_loss_is_the_error_of_what_the_decoder_shows(trained, clips, lost):
    """One frame by training/impute.py and by the decoder: the same mean square error of the prediction."""
    model, clip = load_model(str(trained[0] / "weights.safetensors")), clips[0]
    video = VideoFormat(*clip.size)
    encoder, decoder = LraeEncoder(model, video), LraeDecoder(model, video)
    state, memory, starts = encoder.initial_state(), [], []
    for number in range(4):
        previous = state
        encoded, state = encoder.encode(previous, clip.frame(number), number, 24, EncodeHints(number == 0, 3))
        if 0 < number < 3:
            memory.append(recordings._remembered(decoder, previous, state, encoded.meta))
            starts.append(number == 1)
    kept = {i: p for i, p in enumerate(encoded.payloads) if i not in lost}
    coded = decoder.parse(encoded.header, kept)[0]
    frame = recordings._damaged(decoder, previous, coded, clip.frame(3), 2)
    recording = recordings.Recording(np.stack([*memory, memory[-1]]), np.array([*starts, False]), (frame,))
    core = decoder._core
    with torch.inference_mode():
        found = float(impute.gain(core.imputer, recording, frame, CPU))
        shown = core.imputed(coded, previous)[1][0]
        look = core.look(coded, previous)
    truth = clip.frame(3)
    wanted = pack(*(torch.from_numpy(p)[None, None].float() for p in (truth.y, truth.u, truth.v)))[0]
    gone = torch.from_numpy(coded.unmoved)
    error = (shown - wanted).square()[:, gone].mean() + frame.floor
    single = (torch.from_numpy(look.pictures[CHANGE]).permute(2, 0, 1) - wanted[:, look.lost])[:, gone[look.lost]]
    expected = 10 * np.log10(float(error / (single.square().mean() + frame.floor)))
    assert abs(found - expected) < 0.02


def test_recordings_hold_losses_and_what_the_memory_saw(clips):
    with torch.inference_mode():
        found = recordings.record(load_model("m"), clips[0], np.random.default_rng(3), 10)
    assert len(found.memory) == len(found.starts) <= 9 and found.starts[0]
    for frame in found.damaged:
        assert frame.lost.any() and frame.number < len(found.memory)
        assert len(frame.gram) == frame.lost.sum()
        assert (np.linalg.eigvalsh(frame.gram) > -1).all(), "mean products of errors"


def test_clips_in_which_nothing_is_lost_are_refused(clips, tmp_path):
    short = [Clip("short", clips[0].pictures[:1])]
    with pytest.raises(ConfigError, match="nothing was lost"):
        impute.train_imputer(load_model("m"), short, tmp_path, impute.ImputeConfig(quiet=True), CPU)


def test_half_of_the_streams_are_recorded_anew_and_stay_with_their_clips(monkeypatch):
    monkeypatch.setattr(impute, "record_all", lambda model, clips, rng, length: [f"new {clips[0]}"])
    old = [(clip, f"old {clip}") for clip in range(40)]
    new = impute.renewed(old, None, np.random.default_rng(0), 20)
    assert [clip for clip, _ in new] == list(range(40))
    assert all(recording in (f"old {clip}", f"new {clip}") for clip, recording in new)
    assert 10 < sum(recording.startswith("new") for _, recording in new) < 30
