"""Quality over loss rate: the runs of `lrae-bench loss` and of the ablation, and what is lost against no loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from lrae.channel.loss import check_probability
from lrae.codec import model_hash
from lrae.experiments.clips import read_clip
from lrae.experiments.loss import Condition, bursty, run, run_unheard, summarise
from lrae.experiments.pool import run_jobs

INDEPENDENT, BURSTY = "independent", "bursty"
read = lru_cache(maxsize=2)(read_clip)


@dataclass(frozen=True)
class Variant:
    """A way to cope with loss. name: its key; frames: how many of each clip, None: as the others; against: the
    variant whose runs without loss are its measure, None: its own."""

    name: str
    resync: str = "feedback"
    impute: str | None = None
    frames: int | None = None
    against: str | None = None


@dataclass(frozen=True)
class Job:
    """Runs of one clip by one sender: a condition, and the (process, rate) pairs that its viewers are subject to."""

    clip: str
    frames: int
    condition: Condition
    variant: str
    losses: tuple[tuple[str, float], ...]
    model: str
    device: str


def spec(process: str, rate: float) -> str:
    """The loss spec of a mean rate, 0..1. ConfigError: not a probability."""
    check_probability(rate, "loss")
    return bursty(rate) if process == BURSTY else repr(rate)


def run_job(job: Job) -> list[dict]:
    """One row per loss: what was run, and summarise()."""
    clip = read(job.clip, job.frames)
    specs = [spec(*loss) for loss in job.losses]
    if job.condition.resync == "feedback":
        conditions = (replace(job.condition, loss=text) for text in specs)
        runs = [run(clip, condition, job.model, job.device) for condition in conditions]
    else:
        runs = run_unheard(clip, job.condition, specs, job.model, job.device)
    head = {"clip": clip.name, "frames": len(clip.frames), "q": job.condition.q, "variant": job.variant}
    return [
        {**head, "process": process, "loss": rate, **summarise(done, clip.pixels)}
        for (process, rate), done in zip(job.losses, runs, strict=True)
    ]


def plan(
    names: Sequence[str],
    frames: int,
    qs: Sequence[int],
    rates: Sequence[float],
    variants: Sequence[Variant],
    *,
    processes: Sequence[str] = (INDEPENDENT,),
    base: Condition = Condition(),
    model: str = "m",
    device: str = "cpu",
) -> list[Job]:
    """Every run, the one without loss always among them; neighbours share a clip."""
    lossy = [(process, rate) for process in processes for rate in sorted(set(rates)) if rate > 0]
    losses = ((INDEPENDENT, 0.0), *lossy)
    jobs = []
    for name in names:
        for variant in variants:
            for q in qs:
                condition = replace(base, q=q, resync=variant.resync, impute=variant.impute or base.impute)
                groups = [(loss,) for loss in losses] if variant.resync == "feedback" else [losses]
                count = variant.frames or frames
                jobs += [Job(name, count, condition, variant.name, group, model, device) for group in groups]
    return jobs


def drops(rows: Sequence[dict], variant: Variant, process: str) -> dict[str, dict[str, float]]:
    """What loss costs, by rate ("0.2"), mean over clips and q: psnr_drop and ssim_drop in dB, extra_bits as a share
    (0.04: 4 % more), each against the same clip and q without loss; psnr_yuv and ssim_db, what they are;
    undecodable, the share of frames that show nothing new."""
    measure = variant.against or variant.name
    whole = {(row["clip"], row["q"]): row for row in rows if row["variant"] == measure and row["loss"] == 0}
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if row["variant"] != variant.name or (row["loss"] > 0 and row["process"] != process):
            continue
        base = whole[row["clip"], row["q"]]
        values = {
            "psnr_drop": base["psnr_yuv"] - row["psnr_yuv"],
            "ssim_drop": base["ssim_db"] - row["ssim_db"],
            "extra_bits": row["bpp"] / base["bpp"] - 1,
            **{key: row[key] for key in ("psnr_yuv", "ssim_db", "undecodable")},
        }
        for key, value in values.items():
            found.setdefault(key, {}).setdefault(f"{row['loss']:g}", []).append(value)
    return {key: {rate: float(np.mean(v)) for rate, v in by_rate.items()} for key, by_rate in found.items()}


def costs(rows: Sequence[dict], variants: Sequence[Variant], process: str) -> dict[str, dict[str, float]]:
    """drops() of all variants in one flat dict; the keys of the variant "feedback" carry no suffix."""
    return {
        key if variant.name == "feedback" else f"{key}_{variant.name}": value
        for variant in variants
        for key, value in drops(rows, variant, process).items()
    }


def measure(
    names: Sequence[str],
    frames: int,
    qs: Sequence[int],
    rates: Sequence[float],
    variants: Sequence[Variant],
    *,
    burst: bool = False,
    base: Condition = Condition(),
    model: str = "m",
    device: str = "cpu",
    processes: int = 1,
    progress: Callable[[int], object],
) -> dict[str, object]:
    """The result of `lrae-bench loss` (keys: docs/loss.md). progress: of a number of jobs, a context manager."""
    kinds = (INDEPENDENT, BURSTY) if burst else (INDEPENDENT,)
    jobs = plan(names, frames, qs, rates, variants, processes=kinds, base=base, model=model, device=device)
    weights = model_hash(model)
    with progress(len(jobs)) as step:
        rows = [row for part in run_jobs(run_job, jobs, processes, step) for row in part]
    result = costs(rows, variants, INDEPENDENT)
    if burst:
        result["bursty"] = costs(rows, variants, BURSTY)
    result["by_q"] = {
        str(q): {kind: costs([r for r in rows if r["q"] == q], variants, kind) for kind in kinds} for q in qs
    }
    return {**result, "variants": [v.name for v in variants], "model_hash": weights, "runs": rows}
