"""`lrae-train init` makes a working codec without a gradient, better than the one it starts from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lrae.codec.lrae import LraeDecoder, LraeEncoder
from lrae.codec.types import EncodeHints, VideoFormat
from lrae.experiments.metrics import psnr_yuv
from lrae.models.store import KINDS, load_model
from lrae.models.tables import CHANNELS, CLASSES, SYMBOLS, TRANSFORMS
from lrae.training import init

TOTAL = 1 << 16


@pytest.fixture(scope="module")
def fitted(clips):
    """init at a fraction of its work."""
    before = init.ROUNDS, init.REGROUPS, init.EM_STEPS
    init.ROUNDS, init.REGROUPS, init.EM_STEPS = 1, 1, 2
    try:
        return init.initialise(clips * 2)
    finally:
        init.ROUNDS, init.REGROUPS, init.EM_STEPS = before


def cost(model, clip, q):
    """(bytes, mean PSNR-YUV) of a clip."""
    encoder = LraeEncoder(model, VideoFormat(*clip.size))
    state, size, quality = encoder.initial_state(), 0, []
    for number in range(len(clip.pictures)):
        frame = clip.frame(number)
        encoded, state = encoder.encode(state, frame, number, q, EncodeHints(intra=number == 0, packets=1))
        size += sum(map(len, encoded.payloads))
        quality.append(psnr_yuv(frame, encoder.picture(state)))
    return size, np.mean(quality)


def test_transforms_are_orthonormal(fitted):
    for kind in KINDS:
        assert fitted.linear[kind].shape == (TRANSFORMS, 384, CHANNELS)
        gram = fitted.linear[kind].transpose(1, 2) @ fitted.linear[kind]
        assert (gram - torch.eye(CHANNELS)).abs().max() < 1e-4


def test_tables_are_integers_that_a_range_coder_can_use(fitted):
    for tables in fitted.tables.values():
        assert tables.frequencies.shape[1] == SYMBOLS
        for frequencies in (tables.frequencies, tables.map_frequencies):
            assert frequencies.dtype == np.int32 and frequencies.min() >= 1
            assert (frequencies.sum(-1) == TOTAL).all()
        assert tables.rows.shape == (CLASSES, CHANNELS) and tables.rows.max() <= tables.never
        assert np.isfinite(tables.shift).all()


def test_fewer_bits_than_the_bootstrap_model_takes_for_the_same_quality(fitted, clips):
    start = init.bootstrap()
    for clip in clips[:2]:
        curve = [cost(start, clip, q) for q in (0, 8, 16, 24)]
        size, quality = cost(fitted, clip, 10)
        same_quality = np.exp(np.interp(quality, [c[1] for c in curve], np.log([c[0] for c in curve])))
        assert curve[0][1] < quality < curve[-1][1]
        assert size < 0.7 * same_quality


@pytest.mark.parametrize("which", ["bootstrap", "fitted"])
def test_a_model_without_training_can_be_saved_loaded_and_used_by_both_ends(which, fitted, clips, tmp_path):
    path = tmp_path / "model.safetensors"
    (init.bootstrap() if which == "bootstrap" else fitted).save(path)
    model, video = load_model(str(path)), VideoFormat(*clips[0].size)
    assert model.hash and model.card["stage"] == ("bootstrap" if which == "bootstrap" else "init")
    encoder, decoder = LraeEncoder(model, video), LraeDecoder(model, video)
    state, receiver = encoder.initial_state(), decoder.initial_state()
    for number in range(3):
        frame = clips[0].frame(number)
        encoded, state = encoder.encode(state, frame, number, 20, EncodeHints(intra=number == 0))
        output, receiver = decoder.decode(receiver, encoded.header, dict(enumerate(encoded.payloads)))
        assert output.complete and torch.equal(state.packed, receiver.packed)


def test_a_seed_gives_the_same_vectors_again(clips):
    model = init.bootstrap()
    found = [init.collect(model, clips[:1], np.random.default_rng(5), frames=6) for _ in range(2)]
    for kind in KINDS:
        assert len(found[0][kind])
        np.testing.assert_array_equal(found[0][kind], found[1][kind])


def test_refitted_tables_keep_the_transforms_and_stay_codable(fitted, clips, monkeypatch):
    monkeypatch.setattr(init, "EM_STEPS", 1)
    refitted = init.refit_tables(fitted, clips[:1])
    for kind in KINDS:
        assert torch.equal(refitted.linear[kind], fitted.linear[kind])
        assert (refitted.tables[kind].map_frequencies.sum(-1) == TOTAL).all()
    assert cost(refitted, clips[0], 20)[1] > 25
