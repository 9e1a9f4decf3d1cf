"""`lrae-train classify`: from a folder CLASS/*.mp4 to the weights of a classifier, its card and its threshold."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lrae.codec import model_hash
from lrae.codec.types import LAYOUTS
from lrae.errors import ConfigError, SinkError
from lrae.experiments.action_head import accuracy, calibrate, fit, held_out
from lrae.experiments.action_streams import OTHERS, Item, StreamConfig, collect, find_items
from lrae.experiments.pool import progress
from lrae.models.classifier import Classifier, check_names

FOLDS = 10


def find_classes(folder: Path, others: Path | None) -> tuple[list[Item], tuple[str, ...]]:
    """(clips of the classes and of anything else, the classes by name). SourceError, ConfigError."""
    items = find_items(folder)
    classes = tuple(sorted({item.label for item in items}))
    try:
        check_names(classes)
    except ValueError as error:
        raise ConfigError(f"{folder}: {error}; it takes one folder of videos for each class") from None
    if len({item.group for item in items}) < 2:
        raise ConfigError(f"{folder}: it takes two recordings or more")
    return items + (find_items(others, OTHERS) if others else []), classes


def classify(
    folder: Path, others: Path | None, output: Path, cache: Path, config: StreamConfig, quiet: bool = False
) -> Classifier:
    """Decode, sample, cross-validate, calibrate, fit on everything; writes `output` and its card (.json) beside it.

    Raises SourceError, ConfigError, ModelError, SinkError.
    """
    items, classes = find_classes(folder, others)
    with progress(len(items)) as step:
        samples = collect(items, cache, config, (lambda text: None) if quiet else step)
    folds = min(FOLDS, len({item.group for item in items}))
    scores = held_out(items, samples, classes, folds)
    settings = calibrate(items, scores, classes)
    known = [index for index, item in enumerate(items) if item.label != OTHERS]
    own = [items[i] for i in known], [scores[i] for i in known]
    found = fit(samples, [item.label for item in items], classes, others is not None)
    found.sharpness, found.threshold = settings["sharpness"], settings["threshold"]
    counts = Counter(item.label for item in items)
    found.card = {
        "clips": {name: counts[name] for name in classes},
        "others": counts[OTHERS],
        "recordings": len({item.group for item in own[0]}),
        "streams": {**asdict(config), "layout": LAYOUTS[config.layout], "weights": model_hash(config.model)},
        "held_out": {"folds": folds, "accuracy": accuracy(*own, classes), **settings},
        "date": datetime.now(UTC).date().isoformat(),
    }
    try:
        found.save(output)
        output.with_suffix(".json").write_text(json.dumps({"classes": classes, **found.card}, indent=1) + "\n")
    except OSError as error:
        raise SinkError(f"{output}: {error.strerror}") from None
    return found


def show(found: Classifier) -> None:
    """The held-out figures for people."""
    held = found.card["held_out"]
    table = Table(title="Held-out recordings", title_justify="left")
    for column in ("packets lost", "right at the end of a clip", "right share of the time"):
        table.add_column(column, justify="right")
    for loss, right in held["accuracy"].items():
        table.add_row(f"{float(loss):.0%}", f"{right['clip']:.1%}", f"{right['time']:.1%}")
    told = f"threshold {found.threshold:g}: {held['shown']:.0%} of the time labelled, {held['right']:.0%} of that right"
    if held["others_labelled"] is not None:
        told += f"; {held['others_labelled']:.0%} of the time in other footage"
    table.caption = told
    Console().print(table)
