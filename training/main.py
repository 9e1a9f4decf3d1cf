"""`lrae-train`: from a folder of videos to weights.

lrae-train init  VIDEOS --output init.safetensors          # PCA and EM, no gradient: a working codec
lrae-train train VIDEOS --weights init.safetensors --folder runs/m --minutes 60
lrae-train train VIDEOS --folder runs/m --resume --minutes 60
lrae-train filter VIDEOS --weights runs/m/weights.safetensors --output filter.safetensors   # the loop filters
lrae-train refit VIDEOS --weights filter.safetensors --output refit.safetensors
lrae-train validate --weights refit.safetensors --against init.safetensors --clips VALIDATION
lrae-train pack  VIDEOS --output footage.pack               # one small file, for a machine without the videos
lrae-train classify --folder ACTIONS --output mine.safetensors   # ACTIONS/CLASS/*.mp4: labels for lrae-recv
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from pathlib import Path

import cv2
import torch

from lrae.cli import Parser, run_main
from lrae.codec.types import Q_LEVELS
from lrae.errors import ConfigError
from lrae.models.store import load_model


def build_parser() -> Parser:
    """The command line of lrae-train."""
    top = Parser("lrae-train", description="Train LRAE from a folder of videos.")
    commands = top.add_subparsers(dest="command", required=True)

    def command(name: str, text: str, data: bool = True) -> Parser:
        sub = commands.add_parser(name, help=text, description=text)
        if data:
            sub.add_argument("data", help="folder of videos, or a file made by `pack`")
        sub.add_argument("--quiet", action="store_true")
        return sub

    init = command("init", "transforms by PCA and entropy tables by EM, no gradient")
    init.add_argument("--output", type=Path, required=True)
    init.add_argument("--seed", type=int, default=0)
    init.add_argument("--segments", type=int, default=50, help="runs of 32 frames to use, at most")

    train = command("train", "train the networks on top")
    train.add_argument("--weights", help="weights to start from (name or file)")
    train.add_argument("--folder", type=Path, required=True, help="folder of checkpoints and logs")
    train.add_argument("--resume", action="store_true", help="go on from the run's checkpoint")
    train.add_argument("--minutes", type=float, default=10.0)
    train.add_argument("--batch", type=int, default=8)
    train.add_argument("--side", type=int, default=128, help="crop, pixels, a multiple of 16")
    frames = "back-propagation through time, frames; 0: train the intra part alone"
    train.add_argument("--frames", type=int, default=4, help=frames)
    train.add_argument("--intra-batch", type=int, default=4, help="single pictures a step")
    train.add_argument("--rate", type=float, default=3e-4, help="learning rate")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    train.add_argument("--threads", type=int, default=1, help="torch threads; processes are faster (torchrun)")
    train.add_argument("--workers", type=int, default=1, help="threads that search motion")

    impute = command("impute", "train the imputer on streams that lose packets")
    impute.add_argument("--weights", required=True, help="weights to start from (name or file)")
    impute.add_argument("--folder", type=Path, required=True, help="folder of weights and logs")
    impute.add_argument("--minutes", type=float, default=10.0)
    impute.add_argument("--batch", type=int, default=8, help="damaged frames a step")
    impute.add_argument("--length", type=int, default=20, help="frames of each recorded stream")
    impute.add_argument("--rate", type=float, default=2e-3, help="learning rate")
    impute.add_argument("--seed", type=int, default=0)
    impute.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    impute.add_argument("--threads", type=int, default=1, help="torch threads")

    fit = command("filter", "fit the loop filters to what the codec leaves, no gradient")
    fit.add_argument("--weights", required=True, help="weights to start from (name or file)")
    fit.add_argument("--output", type=Path, required=True)
    fit.add_argument("--rounds", type=int, default=6, help="times that clips are coded (default 6)")
    fit.add_argument("--clips", type=int, default=100, help="runs of 32 frames a round (default 100)")
    fit.add_argument("--seed", type=int, default=0)

    refit = command("refit", "refit the entropy tables to what the networks leave")
    refit.add_argument("--weights", required=True)
    refit.add_argument("--output", type=Path, required=True)
    refit.add_argument("--seed", type=int, default=0)
    refit.add_argument("--segments", type=int, default=50)

    pack = command("pack", "pack footage into one file")
    pack.add_argument("--output", type=Path, required=True)
    pack.add_argument("--mebibytes", type=float, default=40.0)
    pack.add_argument("--seed", type=int, default=0)

    validate = command("validate", "closed-loop quality by real bytes", data=False)
    validate.add_argument("--weights", required=True)
    validate.add_argument("--against", help="other weights to compare with")
    validate.add_argument("--clips", default="sample")
    validate.add_argument("--frames", type=int, default=48)
    validate.add_argument("--json", type=Path)

    classify = command("classify", "a classifier of what happens, on decoded streams with and without loss", data=False)
    classify.add_argument("--folder", type=Path, required=True, help="one folder of videos for each class")
    classify.add_argument("--others", type=Path, help="folder of videos that show none of the classes")
    classify.add_argument("--output", type=Path, required=True, help="weights file; its card goes beside it")
    classify.add_argument("--cache", type=Path, help="folder of what was decoded (default: OUTPUT.cache)")
    classify.add_argument("--model", default="m", help="codec weights (default m)")
    classify.add_argument("--q", type=int, default=20, help="0 to 63 (default 20)")
    classify.add_argument("--frames", type=int, default=150, help="of each clip, at most (default 150)")
    return top


def check(args: argparse.Namespace) -> None:
    """What can be known before the footage is read. ConfigError; fills in args.weights for --resume."""
    if args.command not in ("train", "impute"):
        if args.command == "classify" and not (args.frames >= 8 and 0 <= args.q < Q_LEVELS):
            raise ConfigError(f"--frames is 8 or more, --q 0 to {Q_LEVELS - 1}")
        if args.command == "filter" and min(args.rounds, args.clips) < 1:
            raise ConfigError("--rounds and --clips are 1 or more")
        if not args.output.parent.is_dir():
            raise ConfigError(f"--output {args.output}: no such folder")
        return
    if args.folder.exists() and not args.folder.is_dir():
        raise ConfigError(f"--folder {args.folder}: not a folder")
    if not (math.isfinite(args.minutes) and args.minutes > 0):
        raise ConfigError(f"--minutes {args.minutes:g} is not a time")
    if args.command == "impute":
        if min(args.batch, args.threads) < 1 or args.length < 3:
            raise ConfigError("--batch and --threads are 1 or more, --length 3 or more")
        return
    if args.side < 64 or args.side % 16:
        raise ConfigError(f"--side {args.side} is not a multiple of 16, 64 or more")
    if min(args.batch, args.intra_batch, args.threads, args.workers, args.frames + 1) < 1:
        raise ConfigError("--batch, --intra-batch, --threads and --workers are 1 or more, --frames 0 or more")
    if args.weights is None and not args.resume:
        raise ConfigError("--weights FILE to start from, or --resume")
    args.weights = args.weights or str(args.folder / "weights.safetensors")


def work(arguments: list[str]) -> int:
    """Run one command; errors are LraeErrors."""
    from lrae.codec.lrae import pick_device
    from lrae.experiments.action_streams import StreamConfig
    from lrae.training import classify, fit_filter, footage, impute, init, train, validate

    args = build_parser().parse_args(arguments)
    cv2.setNumThreads(1)
    if args.command == "validate":
        points = validate.validate(load_model(args.weights), args.clips, args.frames, quiet=args.quiet)
        old = None
        if args.against:
            old = validate.validate(load_model(args.against), args.clips, args.frames, quiet=args.quiet)
        validate.show(points, old)
        if args.json:
            rows = {"weights": validate.as_rows(points), "against": validate.as_rows(old) if old else None}
            args.json.write_text(json.dumps(rows, indent=1) + "\n")
        return 0
    check(args)
    if args.command == "classify":
        torch.set_num_threads(1)
        config = StreamConfig(args.model, args.q, frames=args.frames)
        cache = args.cache or args.output.with_suffix(".cache")
        found = classify.classify(args.folder, args.others, args.output, cache, config, args.quiet)
        classify.show(found)
        return 0
    model = load_model(args.weights) if getattr(args, "weights", None) else None
    clips = footage.load(args.data, quiet=args.quiet)
    if args.command == "pack":
        count = footage.write_pack(clips, args.output, args.mebibytes, args.seed)
        print(f"{args.output}: {count} pictures, {args.output.stat().st_size / (1 << 20):.1f} MiB")
        return 0
    if args.command == "filter":
        torch.set_num_threads(1)
        random.Random(args.seed).shuffle(clips)
        model = fit_filter.fit_filter(model, clips, args.rounds, args.clips, seed=args.seed, quiet=args.quiet)
        model.save(args.output)
        print(f"{args.output}: {model.card['filter_rounds']} rounds of the loop filters")
        return 0
    if args.command in ("init", "refit"):
        random.Random(args.seed).shuffle(clips)
        clips = clips[: args.segments]
        if args.command == "init":
            init.initialise(clips, seed=args.seed).save(args.output)
        else:
            init.refit_tables(model, clips, args.seed).save(args.output)
        return 0
    torch.set_num_threads(args.threads)
    device = torch.device(pick_device(args.device))
    if args.command == "impute":
        names = ("minutes", "batch", "length", "rate", "seed", "quiet")
        config = impute.ImputeConfig(**{name: getattr(args, name) for name in names})
        model = impute.train_imputer(model, clips, args.folder, config, device)
        print(f"{args.folder / 'weights.safetensors'}: {model.card['imputer_steps']} steps of the imputer")
        return 0
    config = train.TrainConfig(
        minutes=args.minutes,
        batch=args.batch,
        side=args.side,
        frames=args.frames,
        intra_batch=args.intra_batch,
        rate=args.rate,
        seed=args.seed,
        workers=args.workers,
        quiet=args.quiet,
    )
    model = train.train(model, clips, args.folder, config, args.resume, device)
    print(f"{args.folder / 'weights.safetensors'}: {model.card['steps']} steps")
    return 0


def main() -> int:
    return run_main(work, sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
