"""A receiver labels what its decoder shows, draws labels only where it may, and leaves the frames as they are."""

from __future__ import annotations

import json
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from lrae import codec
from lrae.codec.avframe import from_av
from lrae.codec.types import DecodedFrame, Frame, VideoFormat
from lrae.codec.wire import Config
from lrae.codec.y4m import Y4mReader
from lrae.errors import ConfigError, ModelError
from lrae.models.blocks import pack
from lrae.models.classifier import ENERGIES, Classifier
from lrae.receiver import main as recv
from lrae.receiver.draw import draw
from lrae.receiver.labels import Labeller
from lrae.receiver.player import Player

VIDEO = VideoFormat(128, 96, Fraction(15))


def flat(level, size=(128, 96), time=0.0):
    width, height = size
    half = ((height + 1) // 2, (width + 1) // 2)
    return Frame(*(np.full(shape, level, np.uint8) for shape in ((height, width), half, half)), time)


@pytest.fixture
def weights(tmp_path):
    """A classifier that is sure of "wave" as soon as it says anything."""
    readout = torch.zeros(ENERGIES, 2)
    readout[:, 1] = 1.0
    path = tmp_path / "wave.safetensors"
    mean, spread = torch.full((ENERGIES,), -1.0), torch.ones(ENERGIES)
    Classifier(("sit", "wave"), mean, spread, readout, sharpness=1.0, threshold=0.9).save(path)
    return str(path)


class GreyDecoder:
    """Every frame is grey and its state shows it."""

    model_hash = "0" * 16

    def initial_state(self):
        return None

    def decode(self, state, header, payloads, time=0.0):
        planes = (torch.full((1, 1, side[0], side[1]), 100.0) for side in ((96, 128), (48, 64), (48, 64)))
        state = SimpleNamespace(packed=pack(*planes), motion=None)
        return DecodedFrame(flat(100, time=time), frozenset(), False), state


@pytest.fixture
def play(monkeypatch):
    """play(player): thirty frames through it; returns what it showed."""
    monkeypatch.setattr(codec, "make_decoder", lambda *_: GreyDecoder())

    def run(player):
        player.prepare(Config(7, VIDEO, "m", "0" * 16))
        frames = [SimpleNamespace(number=n, header=None, payloads={}, capture=5 + n / 15) for n in range(30)]
        player.open(VIDEO)
        shown = [player.decode(frame) for frame in frames]
        for picture in shown:
            player.show(picture)
        player.close()
        return shown

    return run


def test_a_label_comes_after_a_second_and_stays_between_looks(play, weights):
    shown = play(Player(["null"], None, "cpu", weights))
    assert [s.label for s in shown] == [None] * 16 + ["wave"] * 14
    assert shown[0].confidence is None and all(0.9 < s.confidence <= 1 for s in shown[16:])


def test_without_a_classifier_there_are_no_labels(play):
    assert {(s.label, s.confidence) for s in play(Player(["null"], None, "cpu"))} == {(None, None)}


def test_a_new_stream_starts_without_a_label(play, weights):
    player = Player(["null"], None, "cpu", weights)
    play(player)
    assert play(player)[0].label is None


def test_labels_are_drawn_into_video_files_if_asked_and_never_into_raw_video(play, weights, tmp_path):
    outputs = [str(tmp_path / name) for name in ("drawn.mp4", "raw.y4m")]
    play(Player(outputs, None, "cpu", weights, drawn=True))
    play(Player([str(tmp_path / "plain.mp4")], None, "cpu", weights))
    with (tmp_path / "raw.y4m").open("rb") as stream:
        frames = list(Y4mReader(stream))
    assert len(frames) == 30 and all((frame.y == 100).all() for frame in frames)
    brightest = {}
    for name in ("drawn", "plain"):
        with av.open(str(tmp_path / f"{name}.mp4")) as container:
            brightest[name] = [int(from_av(picture).y.max()) for picture in container.decode(video=0)]
    assert max(brightest["plain"]) < 110 and max(brightest["drawn"][:16]) < 110 and min(brightest["drawn"][16:]) > 150


@pytest.mark.parametrize("size", [(128, 96), (33, 47), (16, 16), (640, 360), (17, 300)])
def test_drawing_fits_any_size_and_leaves_the_frame_alone(size):
    frame = flat(90, size, 3.0)
    before = frame.y.copy()
    marked = draw(frame, "handshake 100%")
    assert (frame.y == before).all() and marked.size == size and marked.time == 3.0
    assert (marked.y[0] == 90).all() or size[1] < 20
    assert marked.u.shape == frame.u.shape and not (marked.y == 90).all()
    assert draw(frame, "naïve ☃").size == size


def test_the_shipped_classifier_loads_and_names_the_six_interactions():
    try:
        labeller = Labeller("actions")
    except ModelError:
        pytest.skip("no shipped classifier")
    assert labeller._classifier.classes == ("handshake", "hug", "kick", "point", "punch", "push")
    assert 0.3 <= labeller._classifier.threshold < 1 and json.dumps(labeller._classifier.card)


def test_a_classifier_that_is_not_there_and_labels_without_one_are_one_line():
    with pytest.raises(ModelError, match="unknown classifier"):
        Player(["null"], None, "cpu", "nosuch")
    for words in (["--labels"], ["--labels", "--classifier", "none"]):
        with pytest.raises(ConfigError, match="--labels needs a classifier"):
            recv._main(words)
