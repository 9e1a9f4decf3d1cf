"""Action accuracy of what was on screen: of any codec, against the action that the clip's folder is called by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lrae.codec.types import Frame
from lrae.experiments.clips import read_clip
from lrae.experiments.replay import action
from lrae.experiments.replay.action import action_accuracy
from lrae.models.classifier import ENERGIES, Classifier

CLIP = read_clip("synthetic:64x48@30x60")


def made(winner):
    """A classifier that always names class `winner` of two."""
    readout = torch.zeros(ENERGIES, 2)
    readout[:, winner] = 1.0
    return Classifier(("hug", "kick"), torch.zeros(ENERGIES), torch.ones(ENERGIES), readout)


@pytest.mark.parametrize(("folder", "accuracy"), [("hug", 0.0), ("kick", 1.0), ("sing", None)])
def test_the_folder_of_a_clip_is_the_action_that_has_to_be_named(folder, accuracy, monkeypatch):
    monkeypatch.setattr(action, "load_classifier", lambda name: made(1))
    assert action_accuracy(f"some/{folder}/clip.mp4", CLIP.frames, 30.0) == accuracy


def test_a_clip_of_less_than_a_second_has_none(monkeypatch):
    monkeypatch.setattr(action, "load_classifier", lambda name: made(0))
    assert action_accuracy("hug/clip.mp4", CLIP.frames[:15], 30.0) is None


def test_the_classifier_sees_the_pictures_on_screen():
    still = [replace(CLIP.frames[0], time=i / 30) for i in range(60)]
    flat = np.zeros((64, 64), np.uint8)
    dark = [Frame(flat, flat[::2, ::2], flat[::2, ::2])] * 60
    seen = []

    class Watching(Classifier):
        def logits(self, descriptors):
            seen.append(float(descriptors.sum()))
            return super().logits(descriptors)

    for pictures in (CLIP.frames, still, dark):
        watching = Watching(("hug", "kick"), torch.zeros(ENERGIES), torch.ones(ENERGIES), torch.ones(ENERGIES, 2))
        assert len(action.actions(watching, pictures, 30.0)) == 60 - 32  # nothing is said in the first second
    moving, frozen, nothing = (seen[i * len(seen) // 3] for i in range(3))
    assert moving > frozen == nothing
