"""`lrae-bench actions`: how often the classifier is right over packet loss, beside what it has to beat."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from lrae.codec import model_hash
from lrae.codec.types import LAYOUTS, Q_LEVELS
from lrae.errors import ConfigError
from lrae.experiments import action_anchor
from lrae.experiments.action_anchor import AnchorConfig
from lrae.experiments.action_head import LOSSY, accuracy, calibrate, held_out
from lrae.experiments.action_streams import LOSSES, OTHERS, Cache, Samples, StreamConfig, collect, find_items
from lrae.experiments.arguments import count
from lrae.experiments.pool import progress

OWN = "LRAE"
MIDDLE = 0.5  # of a clip: the one picture that the single-frame head is asked about
TARGET = "0.3"  # the loss rate at which the drop is told


def add_command(commands) -> None:
    """commands: what add_subparsers() gave."""
    sub = commands.add_parser("actions", help="accuracy of the action classifier over packet loss, cross-validated")
    sub.set_defaults(run=run)
    sub.add_argument("--folder", type=Path, required=True, help="CLASS/*.mp4, also further down")
    sub.add_argument("--others", type=Path, help="folder of videos that show none of the classes")
    sub.add_argument("--folds", type=count, default=10, help="of recordings (default 10)")
    sub.add_argument("--cache", type=Path, metavar="DIR", help="keep what was decoded here (default: nowhere)")
    sub.add_argument("--model", default="m", help="shipped model or weights file (default m)")
    sub.add_argument("--layout", default=LAYOUTS[0], choices=LAYOUTS)
    sub.add_argument("--q", type=int, default=20, help="0 to 63 (default 20)")
    sub.add_argument("--crf", type=float, default=AnchorConfig.crf, help=f"of H.264 (default {AnchorConfig.crf:g})")
    sub.add_argument("--frames", type=count, default=150, help="of each clip, at most (default 150)")
    sub.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    sub.add_argument("--threads", type=count, default=1, help="torch's threads (default 1)")


def run(args: argparse.Namespace, console: Console) -> dict:
    """Measure, print."""
    if args.frames < 8:
        raise ConfigError("--frames is 8 or more: a shorter clip shows no action")
    if not 0 <= args.q < Q_LEVELS:
        raise ConfigError(f"--q {args.q} is not 0 to {Q_LEVELS - 1}")
    config = StreamConfig(args.model, args.q, frames=args.frames, layout=LAYOUTS.index(args.layout))
    with tempfile.TemporaryDirectory(prefix="lrae-actions-") as scratch:
        cache = args.cache or Path(scratch)
        result = measure(
            args.folder, args.others, args.folds, cache, config, AnchorConfig(crf=args.crf, frames=args.frames)
        )
    console.print(table(result))
    return result


def measure(
    folder: Path, others: Path | None, folds: int, cache: Path, config: StreamConfig, anchor: AnchorConfig
) -> dict:
    """Everything that `docs/actions.md` shows. SourceError, ConfigError, ModelError, SinkError."""
    items = find_items(folder)
    classes = sorted({item.label for item in items})
    groups = {item.group for item in items}
    if len(classes) < 2 or len(groups) < 2:
        raise ConfigError(f"{folder}: it takes one folder of videos for each class, and two recordings or more")
    folds = min(folds, len(groups))
    foreign = find_items(others, OTHERS) if others else []
    anchors = Cache(cache, "h264", lambda path: action_anchor.stream(path, anchor), asdict(anchor))
    with progress(2 * len(items) + len(foreign)) as step:
        own = collect(items + foreign, cache, config, step)
        h264 = []
        for item in items:
            step(f"{item.path.name} (H.264)")
            h264.append(anchors.samples(item))

    def row(samples: Sequence[Samples], lossy: float, moment: float = 1.0) -> dict:
        return accuracy(items, held_out(items, samples, classes, folds, lossy), classes, moment)

    known = own[: len(items)]
    scores = held_out(items + foreign, own, classes, folds)
    rows = {
        OWN: row(known, LOSSY),
        "LRAE, trained without loss": row(known, 0.0),
        "single picture": row([_view(s, s.stills) for s in known], LOSSY, MIDDLE),
        "shape and length of the clip": row([_view(s, _shape(s)) for s in known], LOSSY),
        "H.264, frozen at loss": row(h264, LOSSY),
    }
    if foreign:
        rows["LRAE, with other footage"] = accuracy(items, scores[: len(items)], classes)
    return {
        "accuracy": rows,
        "drop": {key: rows[OWN]["0"]["clip"] - rows[OWN][key]["clip"] for key in rows[OWN]},
        "threshold": calibrate(items + foreign, scores, classes),
        "kbps": {"lrae": _kbps(known), "h264": _kbps(h264)},
        "clips": len(items),
        "recordings": len(groups),
        "folds": folds,
        "classes": classes,
        "model_hash": model_hash(config.model),
    }


def _view(samples: Samples, windows: torch.Tensor) -> Samples:
    """The same clip seen otherwise."""
    return replace(samples, windows=windows)


def _shape(samples: Samples) -> torch.Tensor:
    """What can be known without looking: width, height, their ratio, length, and all products. [losses, 1, 1, 20]."""
    width, height = samples.size
    known = np.log([width, height, width / height, len(samples.bits)])
    values = np.concatenate((known, np.outer(known, known).ravel()))
    return torch.from_numpy(values).float().expand(len(LOSSES), 1, 1, -1)


def _kbps(samples: Sequence[Samples]) -> float:
    """Mean rate of the clips, kbit/s, headers not counted."""
    return float(np.mean([s.bits.mean() * s.fps for s in samples])) / 1e3


def table(result: dict) -> Table:
    """For people."""
    title = f"Clips labelled right (share of the time), {result['clips']} clips of {result['recordings']} recordings"
    told = Table(title=f"{title}, {result['folds']} folds", title_justify="left")
    told.add_column("packets lost", justify="right")
    for name in result["accuracy"]:
        told.add_column(name, justify="right")
    for loss in LOSSES:
        cells = (row[f"{loss:g}"] for row in result["accuracy"].values())
        told.add_row(f"{loss:.0%}", *(f"{right['clip']:.1%} ({right['time']:.0%})" for right in cells))
    drop = 100 * result["drop"][TARGET]
    told.caption = (
        f"at {float(TARGET):.0%} loss {abs(drop):.1f} points {'fewer' if drop >= 0 else 'more'} clips than at none; "
        f"mean rate LRAE {result['kbps']['lrae']:.0f}, H.264 {result['kbps']['h264']:.0f} kbit/s"
    )
    return told
