"""Training of the imputer on recorded lossy streams, through several frames, by the picture that a viewer gets."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from lrae.codec.motion_field import CELL
from lrae.codec.reconstruct import warp_torch
from lrae.errors import ConfigError
from lrae.models.blocks import clip as clip_packed
from lrae.models.blocks import pack, unpack
from lrae.models.imputer import Imputer
from lrae.models.network import LraeNetwork
from lrae.models.store import Model
from lrae.training.footage import Clip
from lrae.training.recordings import Recording, record_all
from lrae.training.streams import to_packed
from lrae.training.train import schedule, update_average

FORGET = 0.25  # share of a batch that trains without memory
WARM_UP = 8  # frames that the memory sees before the first that counts
FLOOR = 0.5  # mean square error below which a picture is as good as it needs to be
BORDER = 2  # places (of 8 pixels) at a crop's border that do not count: motion reaches over it


@dataclass(frozen=True)
class ImputeConfig:
    """frames: of back-propagation through time; length: frames of each recording; fresh: steps after which half of the
    streams are recorded anew."""

    minutes: float = 10.0
    batch: int = 8
    side: int = 192
    frames: int = 3
    length: int = 20
    width: int = 16
    memory: int = 8
    rate: float = 2e-3
    fresh: int = 400
    ema: float = 0.995
    seed: int = 0
    quiet: bool = False


def with_imputer(model: Model, width: int, memory: int) -> Model:
    """The model with a fresh imputer, unless it has one."""
    if model.network.imputer is not None:
        return model
    config = replace(model.network.config, imputer_width=width, imputer_memory=memory)
    network = LraeNetwork(config)
    network.load_state_dict(model.network.state_dict(), strict=False)
    return replace(model, network=network.eval().requires_grad_(False), hash="")


def train_imputer(model: Model, clips: list[Clip], run: Path, config: ImputeConfig, device: torch.device) -> Model:
    """Record streams of all clips, train, return the model with the averaged weights. Writes run/log.jsonl and
    run/weights.safetensors; "held out" in the log is on streams that are not trained on."""
    torch.manual_seed(config.seed)
    run.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(config.seed + int(model.card.get("imputer_steps", 0)))
    model = with_imputer(model, config.width, config.memory)
    clips = [clip for clip in clips if min(clip.size) >= config.side]
    rng.shuffle(clips)
    held = len(clips) // 8  # not trained on
    order = track(clips, "recording streams", disable=config.quiet, transient=True)
    recordings = [(clip, recording) for clip in order for recording in record_all(model, [clip], rng, config.length)]
    length, held = WARM_UP + config.frames, set(map(id, clips[:held]))
    held_out = runs_of([r for clip, r in recordings if id(clip) in held], length)
    recordings = [(clip, r) for clip, r in recordings if id(clip) not in held]
    runs = runs_of([r for _, r in recordings], length)
    if not runs:
        raise ConfigError(f"no clip of {length + 1} frames is as large as the crop of {config.side} pixels")
    imputer = copy.deepcopy(model.network.imputer).to(device, memory_format=torch.channels_last)
    imputer = imputer.requires_grad_(True).train()
    average = copy.deepcopy(imputer).requires_grad_(False)
    optimizer = torch.optim.AdamW(imputer.parameters(), lr=config.rate, weight_decay=0, betas=(0.9, 0.99))
    first = step = int(model.card.get("imputer_steps", 0))
    start = saved = time.monotonic()
    means: dict[str, float] = {}
    with (run / "log.jsonl").open("a") as log:
        while (elapsed := (time.monotonic() - start) / 60) < config.minutes:
            for group in optimizer.param_groups:
                group["lr"] = config.rate * schedule(step - first, elapsed / config.minutes)
            gain = unroll(imputer, batch_of(runs, rng, config), device, FORGET)
            optimizer.zero_grad(set_to_none=True)
            gain.mean().backward()
            if torch.isfinite(torch.nn.utils.clip_grad_norm_(imputer.parameters(), 1.0)):
                optimizer.step()
            step += 1
            if (step - first) % config.fresh == 0:
                recordings = renewed(recordings, model, rng, config.length)
                runs = runs_of([r for _, r in recordings], length) or runs
            update_average(average, imputer, min(config.ema, (1 + step - first) / (10 + step - first)))
            for index, value in enumerate(gain.detach().tolist()):
                means[f"frame {index + 1}"] = 0.98 * means.get(f"frame {index + 1}", value) + 0.02 * value
            if step % 20 == 0 and held_out:
                with torch.no_grad():
                    value = float(unroll(average, batch_of(held_out, rng, config), device).mean())
                means["held out"] = 0.9 * means.get("held out", value) + 0.1 * value
            if step % 20 == 0:
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


def runs_of(recordings: list[Recording], length: int) -> list[tuple[Recording, int]]:
    """(recording, start) of all runs of `length` frames in which motion is lost after the warm-up."""
    return [
        (r, start)
        for r in recordings
        for start in range(len(r.missing) - length + 1)
        if r.unmoved[start + WARM_UP : start + length].any()
    ]


def batch_of(
    runs: list[tuple[Recording, int]], rng: np.random.Generator, config: ImputeConfig
) -> dict[str, np.ndarray]:
    """Crops of random runs of WARM_UP + frames frames, [B, T, ...], by the names of Recording."""
    side, rows = config.side // CELL, []
    for index in rng.integers(len(runs), size=config.batch):
        r, start = runs[index]
        span = slice(start, start + WARM_UP + config.frames)
        height, width = r.missing.shape[1:]
        y, x = (int(rng.integers(0, (full - side) // 2 + 1)) * 2 for full in (height, width))
        names = "guess", "last", "unmoved", "missing"
        cut = {name: getattr(r, name)[span, y : y + side, x : x + side] for name in names}
        names = "before", "residual", "filtered"
        cut |= {name: getattr(r, name)[span, :, y : y + side, x : x + side] for name in names}
        cut["pictures"] = np.stack([_crop(p, y * CELL, x * CELL, config.side) for p in r.pictures[span]])
        rows.append(cut)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _crop(picture: np.ndarray, y: int, x: int, side: int) -> np.ndarray:
    """A square of an I420 picture."""
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    planes = picture[height:].reshape(2, height // 2, width // 2)
    chroma = planes[:, y // 2 : (y + side) // 2, x // 2 : (x + side) // 2].reshape(-1, side)
    return np.concatenate((picture[y : y + side, x : x + side], chroma))


def unroll(imputer: Imputer, batch: dict[str, np.ndarray], device: torch.device, forget: float = 0.0) -> torch.Tensor:
    """Mean change of the error in dB, [frames], against motion guessed from neighbours alone; with gradient.

    forget: share of the batch whose memory is held at zero, so that the imputer works without it too.
    """
    tensors = {k: torch.from_numpy(v).to(device) for k, v in batch.items() if k != "pictures"}
    count, length = batch["missing"].shape[:2]
    vectors = {k: tensors[k].permute(0, 1, 4, 2, 3).float() for k in ("guess", "last")}
    size = tensors["missing"].shape[-2:]
    h = c = torch.zeros(count, imputer.memory, size[0] // 2, size[1] // 2, device=device)
    keep = (torch.arange(count, device=device) >= forget * count).float()[:, None, None, None]
    picture = plain = tensors["before"][:, WARM_UP].float()
    losses = []
    for t in range(length):
        guess, last = vectors["guess"][:, t], vectors["last"][:, t]
        residual, missing = tensors["residual"][:, t].float(), tensors["missing"][:, t, None].float()
        added = residual + tensors["filtered"][:, t].float()
        if t >= WARM_UP:
            unmoved = tensors["unmoved"][:, t, None].float()
            ctx = imputer.blend(warp(picture, guess), warp(picture, last), picture, guess, last, unmoved, h * keep)
            picture = clip_packed(ctx + added)
            with torch.no_grad():
                plain = clip_packed(warp(plain, guess) + added)
                target = to_packed(batch["pictures"][:, t], device)
            losses.append((10 * (error(picture, target) / error(plain, target)).log10()).mean())
        h, c = imputer.remember(residual, guess, last, missing, h, c)
    return torch.stack(losses)


def warp(packed: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Overlapped block motion compensation of packed pictures [B,96,h,w] by vectors in quarter-pel [B,2,h,w]."""
    y, u, v = unpack(packed)
    field = (vectors / 4).permute(0, 2, 3, 1)
    luma = warp_torch(y, field.repeat_interleave(CELL, 1).repeat_interleave(CELL, 2), CELL)
    half = (field / 2).repeat_interleave(CELL // 2, 1).repeat_interleave(CELL // 2, 2)
    chroma = warp_torch(torch.cat((u, v), 1), half, CELL // 2)
    return pack(luma, chroma[:, :1], chroma[:, 1:])


def error(picture: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean square error [B] without the border."""
    inner = (picture - target)[:, :, BORDER:-BORDER, BORDER:-BORDER]
    return inner.square().mean((1, 2, 3)).clamp(min=FLOOR)
