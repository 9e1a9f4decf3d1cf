"""The training loop can be cut at any time and goes on from where it was; its gradient is the one it claims."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

from lrae.codec.quantiser import LAMBDA, Quantiser, dequantise, whole
from lrae.errors import ConfigError, ModelError
from lrae.models.store import load_model
from lrae.models.tables import CHANNELS, LEVELS, TRANSFORMS
from lrae.training import train as loop
from lrae.training.init import bootstrap
from lrae.training.step import Stepper
from lrae.training.streams import Streams

SMALL = loop.TrainConfig(minutes=0.015, batch=2, side=64, frames=2, intra_batch=1, quiet=True)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Weights as `lrae-train` would read them."""
    path = tmp_path_factory.mktemp("weights") / "start.safetensors"
    bootstrap().save(path)
    return load_model(str(path))


@pytest.fixture(scope="module")
def finished(model, clips, tmp_path_factory):
    """(folder, model) of a short run."""
    folder = tmp_path_factory.mktemp("runs") / "m"
    return folder, loop.train(model, clips, folder, SMALL, False, CPU)


def parameters(network):
    return torch.cat([p.detach().reshape(-1) for p in network.parameters()])


def test_a_run_leaves_a_checkpoint_and_weights_that_load(finished, model):
    folder, trained = finished
    steps = trained.card["steps"]
    assert steps >= 1 and trained.card["stage"] == "train"
    assert {path.name for path in folder.iterdir()} >= {"checkpoint.pt", "weights.safetensors", "log.jsonl"}
    assert not list(folder.glob("*.part"))
    saved = load_model(str(folder / "weights.safetensors"))
    assert saved.card["steps"] == steps and saved.hash != model.hash
    learned = parameters(trained.network)
    assert torch.isfinite(learned).all()
    assert not torch.equal(learned, parameters(model.network)), "something was learned"
    assert torch.equal(saved.linear["inter"], model.linear["inter"]), "transforms stay as they are"
    np.testing.assert_array_equal(saved.tables["inter"].rows, model.tables["inter"].rows)


def test_a_resumed_run_goes_on_from_the_saved_step(finished, clips, tmp_path):
    folder, trained = finished
    for name in ("checkpoint.pt", "weights.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    again = loop.train(load_model(str(tmp_path / "weights.safetensors")), clips, tmp_path, SMALL, True, CPU)
    assert again.card["steps"] > trained.card["steps"]
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    counts = {int(entry["step"]) for entry in state["optimizer"]["state"].values()}
    assert counts == {again.card["steps"]}, "the optimiser went on too"


def test_the_log_says_how_the_loss_stands(model, clips, tmp_path):
    log = loop.Log(tmp_path, quiet=True)
    log.write(20, 0.5, 1.0, 3e-4, {"synthesis": -0.25})
    log.write(21, 0.5, 1.0, 3e-4, {"synthesis": -0.26})
    log.close()
    (row,) = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert row == {"step": 20, "minutes": 0.5, "lr": 3e-4, "synthesis": -0.25}


@pytest.mark.parametrize("where", ["checkpoint", "weights"])
def test_a_cut_while_saving_leaves_the_last_files_whole(finished, model, tmp_path, monkeypatch, where):
    network = copy.deepcopy(finished[1].network)
    optimizer = torch.optim.AdamW(network.parameters())
    loop.save(tmp_path, model, network, network, optimizer, 7)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def cut(_, path, *__):
        path.write_bytes(b"half a fi")
        raise KeyboardInterrupt

    if where == "checkpoint":
        monkeypatch.setattr(torch, "save", cut)
    else:
        monkeypatch.setattr("lrae.models.store.save_file", cut)
    with pytest.raises(KeyboardInterrupt):
        loop.save(tmp_path, model, network, network, optimizer, 8)
    monkeypatch.undo()
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after["weights.safetensors"] == before["weights.safetensors"]
    saved = 7 if where == "checkpoint" else 8
    assert loop.restore(tmp_path / "checkpoint.pt", network, network, optimizer, CPU) == saved


@pytest.mark.parametrize("damage", [b"", b"half a fi", None])
def test_a_checkpoint_that_is_missing_or_damaged_is_a_model_error(tmp_path, model, damage):
    path = tmp_path / "checkpoint.pt"
    if damage is not None:
        path.write_bytes(damage)
    network = copy.deepcopy(model.network)
    with pytest.raises(ModelError, match=r"checkpoint\.pt: (cannot resume|no checkpoint)"):
        loop.restore(path, network, network, torch.optim.AdamW(network.parameters()), CPU)


def test_a_checkpoint_of_other_networks_is_a_model_error(finished):
    network = torch.nn.Linear(2, 2)
    with pytest.raises(ModelError, match="cannot resume"):
        loop.restore(finished[0] / "checkpoint.pt", network, network, torch.optim.AdamW(network.parameters()), CPU)


def step(model, clips, frames=2):
    """(loss, gradient) of one seeded step."""
    network = copy.deepcopy(model.network).requires_grad_(True).train()
    stepper = Stepper(model, network, Streams(clips, 2, 64, seed=3), CPU)
    loss, logged = stepper.run(frames, 1)
    loss.backward()
    assert all(np.isfinite(value) for value in logged.values())
    return loss.item(), [p.grad for p in network.parameters()]


def test_one_seeded_step_is_reproducible_on_one_thread(model, clips):
    (loss, gradient), (again, gradient_again) = step(model, clips), step(model, clips)
    assert np.isfinite(loss) and loss == again
    assert any(g is not None and g.abs().max() > 0 for g in gradient)
    for a, b in zip(gradient, gradient_again, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


def test_a_crop_larger_than_every_clip_is_a_config_error(clips):
    with pytest.raises(ConfigError, match="128 pixels"):
        Streams(clips, 2, 128, seed=0)


def test_the_learning_rate_rises_stays_and_falls():
    assert loop.schedule(0, 0.0) == 0.01
    assert loop.schedule(500, 0.5) == 1.0
    assert loop.schedule(500, 0.8) == pytest.approx(0.5)
    assert loop.schedule(500, 1.0) == loop.schedule(500, 2.0) == 0.05


def test_the_gradient_of_distortion_plus_rate_is_that_of_the_distortion_with_the_level_held():
    """The envelope theorem (step.py): d/du min over l of (u - rec_l)² + lambda·bits_l = 2(u - rec), off the ties."""
    tables = bootstrap().tables["inter"]
    bits = tables.level_bits()[:-1].astype(np.float64)
    level = np.arange(bits.shape[1])
    shift = np.where(level == 1, tables.shift[:, :1], tables.shift[:, 1:])
    values = np.where(level == 0, 0, level - shift)

    def costs(u):
        """[U, T, levels]"""
        return (u[:, None, None] - values) ** 2 + LAMBDA * bits

    u, delta = np.random.default_rng(0).uniform(0, 8, 300), 1e-5
    cost = np.sort(costs(u), -1)
    clear = cost[..., 1] - cost[..., 0] > 1e-3
    held = np.take_along_axis(values[None], costs(u).argmin(-1)[..., None], -1)[..., 0]
    slope = (costs(u + delta).min(-1) - costs(u - delta).min(-1)) / (2 * delta)
    assert clear.mean() > 0.9
    np.testing.assert_allclose(slope[clear], (2 * (u[:, None] - held))[clear], atol=1e-4)
    # and over ties, where the level jumps: the cost has a kink there, no step
    fine = np.linspace(0, 8, 20_001)
    best = (fine[:, None, None] - values[:2]) ** 2 + LAMBDA * bits[:2]
    held = np.take_along_axis(np.broadcast_to(values[:2], best.shape), best.argmin(-1)[..., None], -1)[..., 0]
    integral = (2 * (fine[:, None] - held)).mean(0) * 8
    np.testing.assert_allclose(integral, best.min(-1)[-1] - best.min(-1)[0], atol=2e-2)


def test_the_quantiser_takes_levels_of_least_cost_within_its_bins():
    tables = bootstrap().tables["inter"]
    rng = np.random.default_rng(1)
    coefficients = rng.laplace(0, 2, (64, TRANSFORMS, CHANNELS)).astype(np.float32).clip(-LEVELS + 2, LEVELS - 2)
    classes, levels = Quantiser(tables).choose(whole(coefficients), (8, 8))
    own = coefficients[np.arange(64), classes % TRANSFORMS]
    bits, table = tables.level_bits(), tables.rows[classes]
    everything = np.arange(-LEVELS, LEVELS + 1)
    values = np.stack([dequantise(np.full_like(levels, level), classes, tables) for level in everything], -1)
    cost = (own[..., None] - values) ** 2 + LAMBDA * bits[table[..., None], np.abs(everything)]
    taken = np.take_along_axis(cost, (levels + LEVELS)[..., None].astype(int), -1)[..., 0]
    visited = np.abs(own) >= 0.5
    assert (taken - cost.min(-1))[visited].max() < 0.13
    assert (taken - cost.min(-1))[visited].mean() < 2e-3
