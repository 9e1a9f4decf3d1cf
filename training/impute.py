"""Training of the imputer on recorded lossy streams: its weights of the guesses, by the error that they leave."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from lrae.codec.conceal import CHANGE
from lrae.errors import ConfigError
from lrae.models.imputer import Imputer
from lrae.models.network import LraeNetwork
from lrae.models.store import Model
from lrae.training.footage import Clip
from lrae.training.recordings import Damaged, Recording, record_all
from lrae.training.train import schedule, update_average

FORGET = 0.25  # share of a batch that trains without memory
WARM_UP = 8  # frames that the memory has seen, at most, before the one that counts


@dataclass(frozen=True)
class ImputeConfig:
    """batch: damaged frames a step; length: frames of each recording; fresh: steps after which half of the streams are
    recorded anew."""

    minutes: float = 10.0
    batch: int = 8
    length: int = 20
    width: int = 24
    memory: int = 8
    rate: float = 2e-3
    fresh: int = 2000
    ema: float = 0.998
    seed: int = 0
    quiet: bool = False


def with_imputer(model: Model, width: int, memory: int) -> Model:
    """The model with a fresh imputer, unless it has one."""
    if model.network.imputer is not None:
        return model
    network = LraeNetwork(replace(model.network.config, imputer_width=width, imputer_memory=memory))
    network.load_state_dict(model.network.state_dict(), strict=False)
    return replace(model, network=network.eval().requires_grad_(False), hash="")


def train_imputer(model: Model, clips: list[Clip], run: Path, config: ImputeConfig, device: torch.device) -> Model:
    """Record streams of all clips, train, return the model with the averaged weights. Writes run/log.jsonl and
    run/weights.safetensors; "held out" in the log is on clips that are not trained on."""
    torch.manual_seed(config.seed)
    run.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(config.seed + int(model.card.get("imputer_steps", 0)))
    model = with_imputer(model, config.width, config.memory)
    clips = list(clips)
    rng.shuffle(clips)
    held = len(clips) // 8  # not trained on
    order = track(clips, "recording streams", disable=config.quiet, transient=True)
    recordings = [(clip, recording) for clip in order for recording in record_all(model, [clip], rng, config.length)]
    held_out = damaged_of([r for clip, r in recordings if any(clip is c for c in clips[:held])])
    recordings = [(clip, r) for clip, r in recordings if all(clip is not c for c in clips[:held])]
    frames = damaged_of([r for _, r in recordings])
    if not frames:
        raise ConfigError("nothing was lost in these clips: they are too small or too short")
    imputer = copy.deepcopy(model.network.imputer).to(device).requires_grad_(True).train()
    average = copy.deepcopy(imputer).requires_grad_(False)
    optimizer = torch.optim.AdamW(imputer.parameters(), lr=config.rate, weight_decay=1e-2, betas=(0.9, 0.99))
    first = step = int(model.card.get("imputer_steps", 0))
    start = saved = time.monotonic()
    means: dict[str, float] = {}
    with (run / "log.jsonl").open("a") as log:
        while (elapsed := (time.monotonic() - start) / 60) < config.minutes:
            for group in optimizer.param_groups:
                group["lr"] = config.rate * schedule(step - first, elapsed / config.minutes)
            chosen = (frames[index] for index in rng.integers(len(frames), size=config.batch))
            losses = [gain(imputer, *frame, device, rng.random() < FORGET, True) for frame in chosen]
            optimizer.zero_grad(set_to_none=True)
            loss = torch.stack(losses).mean()
            loss.backward()
            if torch.isfinite(torch.nn.utils.clip_grad_norm_(imputer.parameters(), 1.0)):
                optimizer.step()
            step += 1
            if (step - first) % config.fresh == 0:
                recordings = renewed(recordings, result(model, average, step), rng, config.length)
                frames = damaged_of([r for _, r in recordings]) or frames
            update_average(average, imputer, min(config.ema, (1 + step - first) / (10 + step - first)))
            means["train"] = 0.99 * means.get("train", loss.item()) + 0.01 * loss.item()
            if step % 100 == 0:
                if held_out and step % 500 == 0:
                    with torch.no_grad():
                        means["held out"] = float(torch.stack([gain(average, *f, device) for f in held_out]).mean())
                log.write(json.dumps({"step": step, "minutes": elapsed, **means}) + "\n")
                log.flush()
            if time.monotonic() - saved > 120:
                saved = time.monotonic()
                result(model, average, step).save(run / "weights.safetensors")
    trained = result(model, average, step)
    trained.save(run / "weights.safetensors")
    return trained


def result(model: Model, average: Imputer, steps: int) -> Model:
    """The model with these weights and its step count."""
    network = copy.deepcopy(model.network)
    network.imputer.load_state_dict(average.state_dict())
    return replace(model, network=network.cpu().eval(), card={**model.card, "imputer_steps": steps}, hash="")


def renewed(
    recordings: list[tuple[Clip, Recording]], model: Model, rng: np.random.Generator, length: int
) -> list[tuple[Clip, Recording]]:
    """A random half of the streams recorded anew, at other rates and losses: what is seen again is learnt by heart."""
    out = []
    for clip, old in recordings:
        again = list(record_all(model, [clip], rng, length)) if rng.random() < 0.5 else []
        out.append((clip, again[0] if again else old))
    return out


def damaged_of(recordings: list[Recording]) -> list[tuple[Recording, Damaged]]:
    """All frames with something to choose."""
    return [(recording, frame) for recording in recordings for frame in recording.damaged]


def gain(
    imputer: Imputer, recording: Recording, frame: Damaged, device: torch.device, forget: bool = False,
    turn: bool = False,
) -> torch.Tensor:  # fmt: skip
    """Change of the error of what was lost in dB, against the best single guess; with gradient. forget: nothing is
    remembered, so that the imputer works without it too. turn: the picture is mirrored at random."""

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device).float()

    begin = max(0, frame.number - WARM_UP)
    since = np.flatnonzero(recording.starts[begin : frame.number])
    begin += int(since[-1]) if len(since) else 0
    h = c = torch.zeros(1, imputer.memory, *recording.memory.shape[2:], device=device)
    if not forget and not recording.starts[frame.number]:
        for seen in tensor(recording.memory[begin : frame.number]):
            h, c = imputer.recollect(seen[None], h, c)
    around = h[:, :, torch.from_numpy(frame.rows // 2)].repeat_interleave(2, 3)
    axes = [axis for axis in (2, 3) if turn and torch.rand(()) < 0.5]
    weights = imputer.weights(tensor(frame.seen)[None].flip(axes), around.flip(axes)).flip(axes)[0]
    lost, gram = torch.from_numpy(frame.lost).to(device), torch.from_numpy(frame.gram).to(device)
    weights = weights[:, lost].T[:, None]
    error = (weights @ gram @ weights.mT).mean()
    return 10 * ((error + frame.floor) / (gram[:, CHANGE, CHANGE].mean() + frame.floor)).log10()
