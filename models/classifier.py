"""What is happening in the picture: a recurrent head on a decoder's features, and its weights file.

    features [7,28,64] ─► change since the last sample, motion ─► energies of 14x8 areas ─► exponential window (2 s)
    ─► square root ─► linear readout ─► softmax over the classes, and "anything else" if trained with it

The window is the recurrence: its memory is a sum and a weight, so a state is a small value, and smoothing over time
needs nothing more. Training has a closed form (lrae/experiments/action_head.py).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lrae.errors import ModelError

FORMAT = "lrae-actions-1"
GRID = 28, 64  # rows, columns of the features
FEATURES = 7  # Y, U, V, slopes of Y across and down, motion right and down
MEANS = 5  # of these: what is compared with the last sample
AREAS = 14, 8  # areas whose energies are kept
ENERGIES = (MEANS + 4) * AREAS[0] * AREAS[1]  # changes, and motion to the right, down, left, up
PERIOD = 0.115  # seconds: a frame is looked at when the last sample is at least as old (every 2nd at 15 fps)
STEP = 2 / 15  # seconds between samples in training: changes are brought to it
MAX_GAP = 1.0  # seconds: what changed over a longer pause says nothing
WINDOW = 2.0  # seconds after which a sample counts 1/e
ENOUGH = 0.8  # seconds in the window before anything is said: about a second of video
QUIET = 0.05  # changes below this are coding noise: a still wall is as good as no wall, so a picture's shape is hidden
MAX_CLASSES, MAX_NAME = 1000, 40


@dataclass(frozen=True, eq=False)
class ActionState:
    """means: of the last sample, [..., MEANS, *GRID]; window: sums of energies, [..., ENERGIES]; weight: seconds in it.

    probabilities: of the classes, after the last sample; None until there is ENOUGH in the window.
    """

    time: float
    means: torch.Tensor
    window: torch.Tensor
    weight: float = 0.0
    probabilities: torch.Tensor | None = None


@dataclass(eq=False)
class Classifier:
    """mean, spread: float32 [ENERGIES], of the descriptors; readout: float32 [ENERGIES, len(classes) + others].

    others: 1 if the last column stands for "anything else", which has no label, 0 without. sharpness: scores to
    logits. threshold: the confidence from which a label is shown. card: what it was trained on (JSON-able).
    """

    classes: tuple[str, ...]
    mean: torch.Tensor
    spread: torch.Tensor
    readout: torch.Tensor
    others: int = 0
    sharpness: float = 1.0
    threshold: float = 0.5
    card: dict = field(default_factory=dict)

    def classify(
        self, state: ActionState | None, features: torch.Tensor, time: float
    ) -> tuple[torch.Tensor | None, ActionState]:
        """One sample: features [..., FEATURES, *GRID] (lrae.codec.features) at `time`, seconds; state None: the first.

        Returns (probabilities [..., classes], None until there is ENOUGH to go by; the new state). They add up to less
        than 1 where "anything else" has its share.
        """
        after = observe(state, features, time)
        found = None
        if after.weight >= ENOUGH:
            found = self.logits(descriptor(after)).softmax(-1)[..., : len(self.classes)]
        return found, ActionState(after.time, after.means, after.window, after.weight, found)

    def logits(self, descriptors: torch.Tensor) -> torch.Tensor:
        """[..., ENERGIES] -> [..., len(classes) + others]."""
        return ((descriptors - self.mean) / self.spread) @ self.readout * self.sharpness

    def label(self, probabilities: torch.Tensor | None) -> tuple[str | None, float | None]:
        """(the class to show, None if none is likely enough; the confidence of the likeliest, None of nothing)."""
        if probabilities is None:
            return None, None
        confidence, best = probabilities.max(-1)
        shown = float(confidence) >= self.threshold
        return self.classes[int(best)] if shown else None, float(confidence)

    def save(self, path: Path) -> None:
        """Write the file through a temporary one, so that a cut never leaves half of it."""
        tensors = {name: getattr(self, name).half().contiguous() for name in ("mean", "spread", "readout")}
        head = {"others": self.others, "sharpness": self.sharpness, "threshold": self.threshold}
        metadata = {"format": FORMAT, "classes": json.dumps(self.classes), "head": json.dumps(head)}
        part = path.with_suffix(".part")
        save_file(tensors, part, {**metadata, "card": json.dumps(self.card)})
        part.replace(path)


def due(state: ActionState | None, time: float) -> bool:
    """Whether a frame of this time, seconds, should be looked at; most need not be."""
    return state is None or not 0 <= time - state.time < PERIOD


def observe(state: ActionState | None, features: torch.Tensor, time: float) -> ActionState:
    """The state after one more sample, without probabilities; any leading dimensions."""
    means, motion = features[..., :MEANS, :, :], features[..., MEANS:, :, :] * (2 * STEP)
    if state is None:
        return ActionState(time, means, features.new_zeros(*features.shape[:-3], ENERGIES))
    gap = time - state.time
    if not 0 < gap <= MAX_GAP:
        return ActionState(time, means, state.window, state.weight)
    change = ((means - state.means).abs() - QUIET).relu() * (STEP / gap)
    energies = torch.cat((change, motion.relu(), (-motion).relu()), -3)
    tiles = [whole // part for whole, part in zip(GRID, AREAS, strict=True)]
    energies = energies.unflatten(-2, (-1, tiles[0])).unflatten(-1, (-1, tiles[1])).mean((-3, -1)).flatten(-3)
    decay = math.exp(-gap / WINDOW)
    return ActionState(time, means, state.window * decay + energies * gap, state.weight * decay + gap)


def descriptor(state: ActionState) -> torch.Tensor:
    """What the readout sees: roots of the mean energies, [..., ENERGIES]."""
    return (state.window / max(state.weight, 1e-6) + 1e-6).sqrt()


def mirror(features: torch.Tensor) -> torch.Tensor:
    """The features of the mirrored picture."""
    turned = features.flip(-1)
    sign = turned.new_tensor([1, 1, 1, -1, 1, -1, 1])
    return turned * sign[:, None, None]


def load_classifier(name: str) -> Classifier:
    """Load shipped weights by name ("actions") or any file by path. Raises ModelError with one line."""
    path = Path(name)
    if not path.suffix:
        path = Path(str(resources.files("lrae.models.weights"))) / f"{name}.safetensors"
        if not path.exists() or name.startswith("lrae-"):
            known = sorted(p.stem for p in path.parent.glob("*.safetensors") if not p.stem.startswith("lrae-"))
            raise ModelError(f"unknown classifier {name!r}; shipped: {', '.join(known) or 'none'}, or give a file")
    if not path.exists():
        raise ModelError(f"no such weights file: {path}")
    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key).float() for key in ("mean", "spread", "readout")} if metadata else {}
        if metadata.get("format") != FORMAT:
            raise ModelError(f"{path}: not a classifier of this version ({FORMAT})")
        head = json.loads(metadata["head"])
        found = Classifier(
            classes=tuple(json.loads(metadata["classes"])),
            **tensors,
            others=head["others"],
            sharpness=float(head["sharpness"]),
            threshold=float(head["threshold"]),
            card=json.loads(metadata["card"]),
        )
        _check(found)
    except (SafetensorError, KeyError, IndexError, ValueError, TypeError, RuntimeError, OSError) as error:
        raise ModelError(f"{path}: damaged classifier ({str(error).splitlines()[0]})") from None
    return found


def check_names(classes: tuple[str, ...]) -> None:
    """ValueError unless the names are what a terminal can show, and all different."""
    if not 2 <= len(classes) <= MAX_CLASSES or len(set(classes)) != len(classes):
        raise ValueError(f"{len(classes)} classes, or two of one name")
    for name in classes:
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
            raise ValueError(f"a class name that is not 1 to {MAX_NAME} printable characters")


def _check(found: Classifier) -> None:
    """Sizes and ranges. ValueError."""
    check_names(found.classes)
    shapes = found.mean.shape, found.spread.shape, found.readout.shape
    if found.others not in (0, 1) or shapes != (
        (ENERGIES,),
        (ENERGIES,),
        (ENERGIES, len(found.classes) + found.others),
    ):
        raise ValueError("tensors of other sizes than this version's")
    if not all(bool(torch.isfinite(t).all()) for t in (found.mean, found.spread, found.readout)):
        raise ValueError("values that are not finite")
    if not (bool((found.spread > 0).all()) and 0 < found.sharpness < 1e3 and 0 <= found.threshold <= 1):
        raise ValueError("settings out of range")
    if not isinstance(found.card, dict):
        raise ValueError("a model card of another kind")
