"""A weights file is whole or refused, and its hash says which one it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from lrae.errors import ModelError
from lrae.models.network import LraeNetwork, NetworkConfig
from lrae.models.store import FORMAT, KINDS, Model, load_model
from lrae.models.tables import (
    CHANNELS,
    CLASSES,
    CONTEXTS,
    MAP_SETS,
    TRANSFORMS,
    ClassTables,
    table_grid,
    to_frequencies,
)

SMALL = NetworkConfig(width=8, context_blocks=1, synthesis_blocks=1, intra_blocks=1, memory=4)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    rng, frequencies = np.random.default_rng(0), table_grid()
    rows = rng.integers(0, len(frequencies) + 1, (CLASSES, CHANNELS)).astype(np.uint8)
    maps = to_frequencies(rng.random((MAP_SETS, CONTEXTS, CLASSES)))
    shift = rng.random((len(frequencies), 2), np.float32)
    tables = ClassTables(rows, frequencies, shift, maps, rng.integers(1, 7, CLASSES).astype(np.uint8))
    linear = {kind: torch.randn(TRANSFORMS, 384, CHANNELS) / 20 for kind in KINDS}
    return Model(LraeNetwork(SMALL), linear, {kind: tables for kind in KINDS}, {"stage": "test", "steps": 3})


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "whole.safetensors"
    model.save(path)
    return path


def test_what_is_loaded_is_what_was_saved(model, whole):
    loaded = load_model(str(whole))
    assert loaded.card == model.card and loaded.network.config == SMALL
    assert not any(p.requires_grad for p in loaded.network.parameters()) and not loaded.network.training
    for a, b in zip(model.network.parameters(), loaded.network.parameters(), strict=True):
        assert torch.equal(a.half().float(), b)
    for kind in KINDS:
        assert torch.equal(model.linear[kind].half().float(), loaded.linear[kind])
        for name in ("rows", "frequencies", "map_frequencies", "rank"):
            was, now = getattr(model.tables[kind], name), getattr(loaded.tables[kind], name)
            assert was.dtype == now.dtype and (was == now).all()


def test_saving_a_loaded_model_keeps_its_hash(whole, tmp_path):
    first = load_model(str(whole))
    first.save(tmp_path / "again.safetensors")
    again = load_model(str(tmp_path / "again.safetensors"))
    assert len(first.hash) == 16 and again.hash == first.hash
    assert not list(tmp_path.glob("*.part"))


def test_other_weights_have_another_hash_and_replacing_the_file_is_seen(model, tmp_path):
    path = tmp_path / "m.safetensors"
    model.save(path)
    first = load_model(str(path)).hash
    with torch.no_grad():
        model.network.g_c.tail.bias[0] += 1
    try:
        model.save(path)
    finally:
        with torch.no_grad():
            model.network.g_c.tail.bias[0] -= 1
    assert load_model(str(path)).hash != first


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
@example(place=0.0001, bit=0, cut=False)
def test_a_damaged_file_is_refused_or_differs_in_its_hash_or_card(whole, tmp_path, place, bit, cut):
    data = bytearray(whole.read_bytes())
    at = int(place * len(data))
    if cut:
        del data[at:]
    else:
        data[at] ^= 1 << bit
    path = tmp_path / f"{at}-{bit}-{cut}.safetensors"
    path.write_bytes(data)
    try:
        loaded = load_model(str(path))
    except ModelError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        # the hash is over all tensors; the card (training steps, dates) is only shown, and the configuration may hold
        # sizes of parts that this network does not have
        known = [(m.hash, m.card, m.network.config) for m in (loaded, load_model(str(whole)))]
        assert not cut and known[0] != known[1]
    finally:
        path.unlink()


def test_any_byte_of_the_header_may_be_damaged(whole, tmp_path):
    data, refused = whole.read_bytes(), 0
    length = 8 + int.from_bytes(data[:8], "little")
    for at in range(0, length, 41):
        path = tmp_path / f"{at}.safetensors"
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        try:
            load_model(str(path))
        except ModelError:
            refused += 1
        path.unlink()
    assert refused > 0


def test_another_format_missing_tensors_and_other_networks_are_refused(model, whole, tmp_path):
    path, tensors = tmp_path / "other.safetensors", load_file(whole)
    config = '{"width": 8, "context_blocks": 1, "synthesis_blocks": 1, "intra_blocks": 1, "memory": 4}'
    good = {"format": FORMAT, "config": config, "card": "{}"}
    for change, text in (
        ({"format": "lrae-0"}, "not weights of this version"),
        ({"config": "{"}, "damaged"),
        ({"config": "[]"}, "damaged"),
        ({"config": '{"depth": 3}'}, "damaged"),
        ({"config": '{"width": 16}'}, "damaged"),
        ({"card": "{"}, "damaged"),
    ):
        save_file(tensors, path, good | change)
        with pytest.raises(ModelError, match=text):
            load_model(str(path))
    save_file(tensors, path, good)
    assert load_model(str(path)).hash == load_model(str(whole)).hash
    for name in ("inter.rows", "intra.linear", "frequencies", "network.g_c.head.weight"):
        save_file({key: tensor for key, tensor in tensors.items() if key != name}, path, good)
        with pytest.raises(ModelError, match="damaged"):
            load_model(str(path))
    for name, tensor in (
        ("inter.linear", tensors["inter.linear"][:, :, 1:]),
        ("inter.rows", torch.full_like(tensors["inter.rows"], 255)),
        ("inter.rank", tensors["inter.rank"][1:]),
        ("intra.map", tensors["intra.map"] + 1),
        ("intra.map", tensors["intra.map"][0]),
        ("intra.shift", tensors["intra.shift"][:, :1]),
        ("frequencies", tensors["frequencies"] * 0),
    ):
        save_file(tensors | {name: tensor.contiguous()}, path, good)
        with pytest.raises(ModelError, match="damaged"):
            load_model(str(path))
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="not weights of this version"):
        load_model(str(path))


def test_a_folder_or_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(ModelError, match="no such weights file"):
        load_model(str(tmp_path / "gone.safetensors"))
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    with pytest.raises(ModelError, match="folder"):
        load_model(str(folder))
