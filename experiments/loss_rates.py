"""Quality over loss rate: the runs of `lrae-bench loss` and of the ablation, and what is lost against no loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from lrae.channel.loss import check_probability
from lrae.codec import model_hash
from lrae.experiments.clips import read_clip
from lrae.experiments.loss import Condition, bursty, run, summarise
from lrae.experiments.pool import Setup

INDEPENDENT, BURSTY = "independent", "bursty"
read = lru_cache(maxsize=2)(read_clip)


@dataclass(frozen=True)
class Variant:
    """A way to cope with loss. name: its key; frames: how many of each clip, None: as the others."""

    name: str
    resync: str = "feedback"
    impute: str | None = None
    frames: int | None = None


@dataclass(frozen=True)
class Job:
    """A run of one clip: its condition, whose loss is that of a process at a rate."""

    clip: str
    frames: int
    condition: Condition
    variant: str
    process: str
    rate: float
    setup: Setup


def spec(process: str, rate: float) -> str:
    """The loss spec of a mean rate, 0..1. ConfigError: not a probability."""
    check_probability(rate, "loss")
    return bursty(rate) if process == BURSTY else repr(rate)


def run_job(job: Job) -> dict:
    """What was run, and summarise()."""
    clip = read(job.clip, job.frames)
    done = summarise(run(clip, job.condition, job.setup.model, job.setup.device), clip.pixels)
    head = {"clip": clip.name, "frames": len(clip.frames), "q": job.condition.q, "variant": job.variant}
    return {**head, "process": job.process, "loss": job.rate, **done}


def plan(
    names: Sequence[str],
    frames: int,
    qs: Sequence[int],
    rates: Sequence[float],
    variants: Sequence[Variant],
    *,
    processes: Sequence[str] = (INDEPENDENT,),
    base: Condition = Condition(),
    setup: Setup = Setup(),
) -> list[Job]:
    """Every run, the one without loss always among them; neighbours share a clip."""
    lossy = [(process, rate) for process in processes for rate in sorted(set(rates)) if rate > 0]
    losses = ((INDEPENDENT, 0.0), *lossy)
    jobs = []
    for name in names:
        for variant in variants:
            for q in qs:
                condition = replace(base, q=q, resync=variant.resync, impute=variant.impute or base.impute)
                count = variant.frames or frames
                for process, rate in losses:
                    subject = replace(condition, loss=spec(process, rate))
                    jobs.append(Job(name, count, subject, variant.name, process, rate, setup))
    return jobs


def drops(rows: Sequence[dict], variant: Variant, process: str) -> dict[str, dict[str, float]]:
    """What loss costs, by rate ("0.2"), mean over clips and q: psnr_drop and ssim_drop in dB, extra_bits as a share
    (0.04: 4 % more), each against the same clip and q without loss; psnr_yuv and ssim_db, what they are;
    undecodable, the share of frames that show nothing new."""
    whole = {(row["clip"], row["q"]): row for row in rows if row["variant"] == variant.name and row["loss"] == 0}
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
    setup: Setup = Setup(),
) -> dict[str, object]:
    """The result of `lrae-bench loss` (keys: docs/loss.md)."""
    kinds = (INDEPENDENT, BURSTY) if burst else (INDEPENDENT,)
    jobs = plan(names, frames, qs, rates, variants, processes=kinds, base=base, setup=setup)
    weights = model_hash(setup.model)
    (rows,) = setup.run((run_job, jobs))
    result = costs(rows, variants, INDEPENDENT)
    if burst:
        result["bursty"] = costs(rows, variants, BURSTY)
    result["by_q"] = {
        str(q): {kind: costs([r for r in rows if r["q"] == q], variants, kind) for kind in kinds} for q in qs
    }
    return {**result, "variants": [v.name for v in variants], "model_hash": weights, "runs": rows}
