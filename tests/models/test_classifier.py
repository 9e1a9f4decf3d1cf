"""The classifier sees changes and motion, not shapes; its state is a value; its file is whole or refused."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from lrae.errors import ModelError
from lrae.models.classifier import (
    AREAS,
    ENERGIES,
    FEATURES,
    FORMAT,
    GRID,
    MAX_GAP,
    MEANS,
    PERIOD,
    STEP,
    Classifier,
    descriptor,
    due,
    load_classifier,
    mirror,
    observe,
)


@pytest.fixture
def classifier():
    g = torch.Generator().manual_seed(0)
    readout = torch.randn(ENERGIES, 3, generator=g)
    return Classifier(("run", "sit"), torch.zeros(ENERGIES), torch.ones(ENERGIES), readout, 1, 0.5, 0.4, {"clips": 3})


def moving(seed: int, count: int = 10) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [torch.rand(FEATURES, *GRID, generator=g) for _ in range(count)]


def run(classifier, samples, step=STEP):
    state = None
    for index, sample in enumerate(samples):
        found, state = classifier.classify(state, sample, index * step)
    return found, state


def test_nothing_is_known_in_the_first_second_and_probabilities_leave_room_for_anything_else(classifier):
    first, state = classifier.classify(None, moving(0)[0], 0.0)
    assert first is None and classifier.label(state.probabilities) == (None, None)
    assert run(classifier, moving(0, 7))[0] is None
    found, state = run(classifier, moving(0))
    assert found.shape == (2,) and (found >= 0).all() and 0 < float(found.sum()) < 1
    assert torch.equal(state.probabilities, found)


def test_a_state_is_a_value_that_two_futures_can_start_from(classifier):
    _, state = run(classifier, moving(1))
    before = state.window.clone()
    one, _ = classifier.classify(state, moving(2)[0], state.time + STEP)
    other, _ = classifier.classify(state, moving(3)[0], state.time + STEP)
    again, _ = classifier.classify(state, moving(2)[0], state.time + STEP)
    assert torch.equal(state.window, before) and torch.equal(one, again) and not torch.equal(one, other)


def test_several_streams_at_once_are_the_same_as_one_after_the_other():
    samples = torch.stack([torch.stack(moving(seed)) for seed in (1, 2)], 1)
    both, alone = None, None
    for index, pair in enumerate(samples):
        both, alone = observe(both, pair, index * STEP), observe(alone, pair[1], index * STEP)
    assert torch.allclose(descriptor(both)[1], descriptor(alone), atol=1e-6)


def test_a_still_picture_has_no_energy_whatever_it_shows_and_neither_has_noise_below_the_threshold():
    picture = moving(4)[0]
    picture[MEANS:] = 0
    state = observe(observe(None, picture, 0.0), picture + 0.02 * (torch.rand(FEATURES, 1, 1) - 0.5), STEP)
    state = observe(state, picture, 2 * STEP)
    assert state.weight > 0 and float(state.window[: MEANS * AREAS[0] * AREAS[1]].abs().sum()) == 0


def test_the_mirrored_picture_has_the_mirrored_energies_and_mirroring_twice_changes_nothing():
    one = two = None
    for index, sample in enumerate(moving(5)):
        assert torch.equal(mirror(mirror(sample)), sample)
        one, two = observe(one, sample, index * STEP), observe(two, mirror(sample), index * STEP)
    left, right = (s.window.reshape(MEANS + 4, *AREAS) for s in (one, two))
    assert torch.allclose(left[:MEANS].flip(-1), right[:MEANS], atol=1e-6)
    assert torch.allclose(left[MEANS].flip(-1), right[MEANS + 2], atol=1e-6)  # right of one is left of the other
    assert torch.allclose(left[MEANS + 1].flip(-1), right[MEANS + 1], atol=1e-6)  # down stays down


@pytest.mark.parametrize("gap", [-5.0, 0.0, MAX_GAP + 0.1, 1e9])
def test_a_jump_of_the_clock_is_no_change_of_the_picture(classifier, gap):
    _, state = run(classifier, moving(6))
    found, after = classifier.classify(state, moving(7)[0], state.time + gap)
    assert torch.equal(after.window, state.window) and torch.isfinite(found).all()


def test_frames_between_samples_are_not_looked_at_and_a_clock_set_back_is_no_dead_end(classifier):
    assert due(None, 0.0)
    _, state = run(classifier, moving(8))
    assert not due(state, state.time + PERIOD / 2)
    assert due(state, state.time + 1.01 * PERIOD) and due(state, state.time - 1)


def test_a_label_is_shown_from_the_threshold_on(classifier):
    assert classifier.label(torch.tensor([0.1, 0.41])) == ("sit", pytest.approx(0.41))
    assert classifier.label(torch.tensor([0.3, 0.2])) == (None, pytest.approx(0.3))


def test_class_evidence_has_a_gradient_with_respect_to_the_picture(classifier):
    _, state = run(classifier, moving(9))
    last = moving(10)[0].requires_grad_(True)
    found, _ = classifier.classify(state, last, state.time + STEP)
    found[0].backward()
    assert torch.isfinite(last.grad).all() and float(last.grad.abs().max()) > 0


def test_what_is_loaded_is_what_was_saved(classifier, tmp_path):
    classifier.save(tmp_path / "c.safetensors")
    loaded = load_classifier(str(tmp_path / "c.safetensors"))
    assert (loaded.classes, loaded.others, loaded.sharpness, loaded.threshold) == (("run", "sit"), 1, 0.5, 0.4)
    assert loaded.card == classifier.card and torch.equal(loaded.readout, classifier.readout.half().float())
    assert not list(tmp_path.glob("*.part"))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans(), head=st.booleans())
def test_a_damaged_file_loads_or_is_one_line(classifier, tmp_path, place, bit, cut, head):
    classifier.save(tmp_path / "whole.safetensors")
    data = bytearray((tmp_path / "whole.safetensors").read_bytes())
    at = int(place * (600 if head else len(data)))
    if cut:
        del data[at:]
    else:
        data[at] ^= 1 << bit
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(data)
    try:
        load_classifier(str(path))
    except ModelError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert not cut


def test_other_formats_sizes_names_and_values_are_refused(classifier, tmp_path):
    path = tmp_path / "c.safetensors"
    classifier.save(path)
    tensors = load_file(path)
    head = {"others": 1, "sharpness": 1.0, "threshold": 0.5}
    good = {"format": FORMAT, "classes": '["a", "b"]', "head": json.dumps(head), "card": "{}"}
    for change in (
        {"classes": '["a"]'},
        {"classes": '["a", "a"]'},
        {"classes": '["a", "b\\n"]'},
        {"classes": '["a", 3]'},
        {"classes": "3"},
        {"classes": '["a", "b", "c", "d"]'},
        {"head": "[]"},
        {"head": json.dumps(head | {"others": 2})},
        {"head": json.dumps(head | {"sharpness": 0})},
        {"head": json.dumps(head | {"threshold": None})},
        {"card": "[]"},
    ):
        save_file(tensors, path, good | change)
        with pytest.raises(ModelError, match="damaged"):
            load_classifier(str(path))
    for name, tensor in (
        ("readout", tensors["readout"][1:]),
        ("mean", tensors["mean"] * float("nan")),
        ("spread", tensors["spread"] * 0),
    ):
        save_file(tensors | {name: tensor.contiguous()}, path, good)
        with pytest.raises(ModelError, match="damaged"):
            load_classifier(str(path))
    save_file({"mean": tensors["mean"]}, path, good)
    with pytest.raises(ModelError, match="damaged"):
        load_classifier(str(path))
    save_file(tensors, path, good | {"format": "lrae-1"})
    with pytest.raises(ModelError, match="not a classifier of this version"):
        load_classifier(str(path))
    with pytest.raises(ModelError, match="no such weights file"):
        load_classifier(str(tmp_path / "gone.safetensors"))
    for name in ("nosuch", "lrae-m"):
        with pytest.raises(ModelError, match="unknown classifier"):
            load_classifier(name)
