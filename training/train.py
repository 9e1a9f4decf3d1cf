"""The training loop: resumable, one process or several (torchrun), EMA weights, JSONL and TensorBoard."""

from __future__ import annotations

import copy
import json
import os
import pickle
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.distributed as dist
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from lrae.errors import ModelError
from lrae.models.network import LraeNetwork
from lrae.models.store import Model
from lrae.training.footage import Clip
from lrae.training.step import Stepper
from lrae.training.streams import Streams


@dataclass(frozen=True)
class TrainConfig:
    """minutes: wall-clock length of this run. frames: back-propagation through time, in frames."""

    minutes: float = 10.0
    batch: int = 8
    side: int = 128
    frames: int = 4
    intra_batch: int = 4
    rate: float = 3e-4
    ema: float = 0.998
    seed: int = 0
    save_every: float = 120.0  # seconds
    workers: int = 1  # threads that search motion
    bf16: bool = True
    quiet: bool = False


def train(model: Model, clips: list[Clip], run: Path, config: TrainConfig, resume: bool, device: torch.device) -> Model:
    """Train from `model` (or from the run's last checkpoint with resume); returns the model with EMA weights.

    Writes run/checkpoint.pt, run/weights.safetensors (EMA) and run/log.jsonl.
    """
    rank, world = join_group(device)
    run.mkdir(parents=True, exist_ok=True)
    network = copy.deepcopy(model.network).to(device).requires_grad_(True).train()
    network = network.to(memory_format=torch.channels_last)
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=0, betas=(0.9, 0.99))
    step = int(model.card.get("steps", 0))
    if resume:
        step = restore(run / "checkpoint.pt", network, average, optimizer, device)
    if world > 1:
        for parameter in network.parameters():
            dist.broadcast(parameter.data, 0)
    streams = Streams(clips, config.batch, config.side, config.seed + 1000 * rank + step, config.workers)
    stepper = Stepper(model, network, streams, device, config.bf16)
    start = last_save = time.monotonic()
    first_step, means = step, {}
    log = Log(run, config.quiet) if rank == 0 else None
    done = False
    while not done:
        elapsed = (time.monotonic() - start) / 60
        for group in optimizer.param_groups:
            group["lr"] = config.rate * schedule(step - first_step, elapsed / config.minutes)
        loss, values = stepper.run(config.frames, config.intra_batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if world > 1:
            average_gradients(network, world)
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        if torch.isfinite(norm):
            optimizer.step()
        update_average(average, network, min(config.ema, (1 + step) / (10 + step)))
        step += 1
        for key, value in values.items():
            means[key] = 0.98 * means.get(key, value) + 0.02 * value
        done = agree(elapsed >= config.minutes, device, world)
        now = time.monotonic()
        if rank == 0:
            log.write(step, elapsed, config.minutes, optimizer.param_groups[0]["lr"], means)
            if done or now - last_save > config.save_every:
                last_save = now
                save(run, model, network, average, optimizer, step)
    if log:
        log.close()
    return result(model, average, step)


def schedule(step: int, progress: float) -> float:
    """Warm-up over 100 steps, flat, then down to 5 % over the last 40 % of the run."""
    return min(1.0, (step + 1) / 100) * min(1.0, max(0.05, 1 - (progress - 0.6) / 0.4))


def result(model: Model, average: LraeNetwork, step: int) -> Model:
    """The model with the averaged weights and its step count."""
    network = copy.deepcopy(average).cpu().eval()
    return replace(model, network=network, card={**model.card, "stage": "train", "steps": step}, hash="")


def save(run: Path, model: Model, network, average, optimizer, step: int) -> None:
    """Checkpoint through a temporary file: a cut leaves the last one whole."""
    part = run / "checkpoint.part"
    state = {"network": network.state_dict(), "average": average.state_dict()}
    torch.save({**state, "optimizer": optimizer.state_dict(), "step": step}, part)
    part.replace(run / "checkpoint.pt")
    result(model, average, step).save(run / "weights.safetensors")


def restore(path: Path, network, average, optimizer, device: torch.device) -> int:
    """Load a checkpoint in place; returns its step. ModelError if there is none or it does not fit."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
    except FileNotFoundError:
        raise ModelError(f"{path}: no checkpoint to resume from") from None
    except (OSError, EOFError, KeyError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or ["an empty file"])[0]
        raise ModelError(f"{path}: cannot resume ({reason})") from None
    return int(state["step"])


@torch.no_grad()
def update_average(average: LraeNetwork, network: LraeNetwork, decay: float) -> None:
    for a, b in zip(average.parameters(), network.parameters(), strict=True):
        a.lerp_(b, 1 - decay)


def join_group(device: torch.device) -> tuple[int, int]:
    """(rank, world) under torchrun, else (0, 1)."""
    if "WORLD_SIZE" not in os.environ:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return dist.get_rank(), dist.get_world_size()


def average_gradients(network: LraeNetwork, world: int) -> None:
    """One all-reduce over the flattened gradients (the branches run as methods, which DDP does not wrap)."""
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= world
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


def agree(done: bool, device: torch.device, world: int) -> bool:
    """All processes stop at the same step."""
    if world == 1:
        return done
    flag = torch.tensor([float(done)], device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag.item())


class Log:
    """JSONL every 20 steps, TensorBoard where it is installed, a progress bar."""

    def __init__(self, run: Path, quiet: bool):
        self.file = (run / "log.jsonl").open("a")
        try:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(run))
        except ImportError:
            self.board = None
        columns = (TextColumn("train"), BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        self.progress = Progress(*columns, disable=quiet)
        self.bar = self.progress.add_task("", total=1.0)
        self.progress.start()

    def write(self, step: int, elapsed: float, minutes: float, rate: float, means: dict[str, float]) -> None:
        text = " ".join(f"{k} {v:+.2f} dB" for k, v in means.items())
        self.progress.update(self.bar, completed=min(1.0, elapsed / minutes), description=f"step {step} {text}")
        if step % 20 == 0:
            self.file.write(json.dumps({"step": step, "minutes": elapsed, "lr": rate, **means}) + "\n")
            self.file.flush()
            if self.board:
                for key, value in means.items():
                    self.board.add_scalar(key, value, step)

    def close(self) -> None:
        self.progress.stop()
        self.file.close()
        if self.board:
            self.board.close()
