"""The imputer trains on what receivers really see, and its training loop is the codec's own recursion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lrae.codec import make_decoder
from lrae.codec.lrae import LraeDecoder, LraeEncoder
from lrae.codec.types import EncodeHints, VideoFormat
from lrae.errors import ConfigError
from lrae.models.blocks import clip as clip_packed
from lrae.models.store import load_model
from lrae.sender.source import open_source
from lrae.training import impute
from lrae.training.footage import Clip
from lrae.training.recordings import record

SMALL = impute.ImputeConfig(minutes=0.01, batch=2, side=96, frames=2, length=12, quiet=True)
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


@pytest.mark.parametrize("lost", [(1,), (0, 2), (0, 1, 2)])
def test_the_training_recursion_is_the_decoders(trained, clips, lost):
    """One frame by training/impute.py and by the decoder: the same picture."""
    model = load_model(str(trained[0] / "weights.safetensors"))
    clip = clips[0]
    video = VideoFormat(*clip.size)
    encoder, decoder = LraeEncoder(model, video), LraeDecoder(model, video)
    decoder._core.loop_filter = None  # what it changes is recorded (Recording.filtered)
    state = encoder.initial_state()
    for number in range(4):
        previous = state
        encoded, state = encoder.encode(previous, clip.frame(number), number, 24, EncodeHints(number == 0, 3))
    kept = {i: p for i, p in enumerate(encoded.payloads) if i not in lost}
    core = decoder._core
    after = decoder.decode(previous, encoded.header if kept else None, kept)[1]
    guess, last = core.vectors(after.motion), core.vectors(previous.motion)
    coded = decoder.parse(encoded.header, kept)[0] if kept else None
    unmoved = torch.zeros(1, 1, *guess.shape[2:])
    residual = torch.zeros_like(previous.packed)
    if coded is not None:
        unmoved, residual = torch.from_numpy(coded.unmoved)[None, None].float(), core.residual(coded)
    picture = previous.packed
    moved, before = impute.warp(picture, guess), impute.warp(picture, last)
    ctx = core.imputer.blend(moved, before, picture, guess, last, unmoved, previous.recall.h)
    torch.testing.assert_close(clip_packed(ctx + residual), after.packed, atol=0.6, rtol=0)
    assert (clip_packed(ctx + residual) - after.packed).abs().mean() < 0.02


def test_recordings_hold_losses_and_the_originals(clips):
    with torch.inference_mode():
        found = record(load_model("m"), clips[0], np.random.default_rng(3), 10)
    count = len(found.missing)
    assert 1 <= count <= 9 and found.missing.max() == 1
    names = "before", "residual", "filtered", "guess", "last", "pictures"
    assert all(len(getattr(found, name)) == count for name in names)
    np.testing.assert_array_equal(found.pictures[-1], clips[0].pictures[9])
    assert (found.unmoved <= (found.missing == 1)).all()


def test_clips_that_are_too_small_are_refused(clips, tmp_path):
    with pytest.raises(ConfigError, match="as large as the crop"):
        impute.train_imputer(load_model("m"), clips, tmp_path, impute.ImputeConfig(side=4096, quiet=True), CPU)


def test_half_of_the_streams_are_recorded_anew_and_stay_with_their_clips(monkeypatch):
    monkeypatch.setattr(impute, "record_all", lambda model, clips, rng, length: [f"new {clips[0]}"])
    old = [(clip, f"old {clip}") for clip in range(40)]
    new = impute.renewed(old, None, np.random.default_rng(0), 20)
    assert [clip for clip, _ in new] == list(range(40))
    assert all(recording in (f"old {clip}", f"new {clip}") for clip, recording in new)
    assert 10 < sum(recording.startswith("new") for _, recording in new) < 30
