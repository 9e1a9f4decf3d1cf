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
from lrae.models.imputer import Imputer, next_doubt
from lrae.models.network import LraeNetwork
from lrae.models.rates import step_of
from lrae.models.store import Model
from lrae.training.footage import Clip
from lrae.training.recordings import Recording, record_all
from lrae.training.streams import to_packed
from lrae.training.train import schedule, update_average

WARM_UP = 3  # frames that the memory sees before the first that counts
FLOOR = 0.5  # mean square error below which a picture is as good as it needs to be
BORDER = 2  # places (of 8 pixels) at a crop's border that do not count: motion reaches over it


@dataclass(frozen=True)
class ImputeConfig:
    """frames: of back-propagation through time; length: frames of each recording."""

    minutes: float = 10.0
    batch: int = 8
    side: int = 192
    frames: int = 3
    length: int = 16
    width: int = 48
    memory: int = 24
    rate: float = 1e-3
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
    run/weights.safetensors."""
    torch.manual_seed(config.seed)
    run.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(config.seed + int(model.card.get("imputer_steps", 0)))
    model = with_imputer(model, config.width, config.memory)
    clips = [clip for clip in clips if min(clip.size) >= config.side]
    order = track(clips, "recording streams", disable=config.quiet, transient=True)
    recordings = [r for r in record_all(model, order, rng, config.length) if len(r.q) >= WARM_UP + config.frames]
    if not any(r.missing[WARM_UP:].any() for r in recordings):
        raise ConfigError(f"no clip of {config.length} frames is as large as the crop of {config.side} pixels")
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
            gain = unroll(imputer, batch_of(recordings, rng, config), device)
            optimizer.zero_grad(set_to_none=True)
            gain.mean().backward()
            if torch.isfinite(torch.nn.utils.clip_grad_norm_(imputer.parameters(), 1.0)):
                optimizer.step()
            step += 1
            update_average(average, imputer, min(config.ema, (1 + step - first) / (10 + step - first)))
            for index, value in enumerate(gain.detach().tolist()):
                key = f"frame {index + 1}"
                means[key] = 0.98 * means.get(key, value) + 0.02 * value
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


def batch_of(recordings: list[Recording], rng: np.random.Generator, config: ImputeConfig) -> dict[str, np.ndarray]:
    """Crops of runs of WARM_UP + frames frames, [B, T, ...], by the names of Recording."""
    length, side = WARM_UP + config.frames, config.side // CELL
    rows: list[dict[str, np.ndarray]] = []
    while len(rows) < config.batch:
        r = recordings[rng.integers(len(recordings))]
        start = int(rng.integers(0, len(r.q) - length + 1))
        height, width = r.missing.shape[1:]
        y, x = (int(rng.integers(0, (full - side) // 2 + 1)) * 2 for full in (height, width))
        span = slice(start, start + length)
        if not r.missing[start + WARM_UP : start + length, y : y + side, x : x + side].any():
            continue
        cut = {name: getattr(r, name)[span, y : y + side, x : x + side] for name in ("guess", "last", "unmoved")}
        cut |= {name: getattr(r, name)[span, y : y + side, x : x + side] for name in ("missing", "doubt")}
        cut |= {name: getattr(r, name)[span, :, y : y + side, x : x + side] for name in ("before", "residual")}
        cut["pictures"] = np.stack([_crop(p, y * CELL, x * CELL, config.side) for p in r.pictures[span]])
        cut["q"] = r.q[span]
        rows.append(cut)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _crop(picture: np.ndarray, y: int, x: int, side: int) -> np.ndarray:
    """A square of an I420 picture."""
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    planes = picture[height:].reshape(2, height // 2, width // 2)
    chroma = planes[:, y // 2 : (y + side) // 2, x // 2 : (x + side) // 2].reshape(-1, side)
    return np.concatenate((picture[y : y + side, x : x + side], chroma))


def unroll(imputer: Imputer, batch: dict[str, np.ndarray], device: torch.device) -> torch.Tensor:
    """Mean change of the error in dB, [frames], against the concealment alone; with gradient."""
    tensors = {k: torch.from_numpy(v).to(device) for k, v in batch.items() if k != "pictures"}
    count, length = batch["q"].shape
    vectors = {k: tensors[k].permute(0, 1, 4, 2, 3).float() for k in ("guess", "last")}
    size = tensors["missing"].shape[-2:]
    h = c = torch.zeros(count, imputer.memory, size[0] // 2, size[1] // 2, device=device)
    losses = []
    with torch.autocast(device.type, torch.bfloat16):
        with torch.no_grad():
            for t in range(WARM_UP):
                seen = tensors["before"][:, t + 1].float(), vectors["guess"][:, t], tensors["missing"][:, t, None]
                h, c = (x.float() for x in imputer.remember(*seen, h, c))
        picture = plain = tensors["before"][:, WARM_UP].float()
        doubt, last = tensors["doubt"][:, WARM_UP, None].float(), vectors["last"][:, WARM_UP]
        for t in range(WARM_UP, length):
            guess, missing = vectors["guess"][:, t], tensors["missing"][:, t, None].float()
            unmoved, residual = tensors["unmoved"][:, t, None].float(), tensors["residual"][:, t].float()
            step = torch.tensor([step_of(int(q)) for q in batch["q"][:, t]], device=device)
            moved = guess + imputer.move(guess, last, unmoved, picture, h).float()
            ctx = warp(picture, moved)
            doubt = next_doubt(doubt, missing)
            mended = ctx + residual + imputer.mend(ctx, residual, missing, doubt, h, step).float()
            picture = clip_packed(mended)
            h, c = (x.float() for x in imputer.remember(picture, moved, missing, h, c))
            last = moved
            with torch.no_grad():
                plain = clip_packed(warp(plain, guess) + residual)
                target = to_packed(batch["pictures"][:, t], device)
            losses.append((10 * (error(picture, target) / error(plain, target)).log10()).mean())
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
