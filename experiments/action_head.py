"""Training the classifier's readout: weighted ridge regression, cross-validation by recording, calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from lrae.experiments.action_streams import LOSSES, OTHERS, Item, Samples
from lrae.models.classifier import Classifier

RIDGE = 0.5  # penalty on the readout of descriptors of spread 1
FLOOR = 0.3  # of the mean spread: areas in which little ever moves do not count more than that
MOMENTS = 0.5, 0.75, 1.0  # of a clip: when its window is taken as an example
LOSSY = 0.2  # share of the examples' weight that has lost packets
WRONG = 0.1  # share of the labels shown that may be wrong, where the threshold is set
THRESHOLDS = np.arange(0.3, 0.96, 0.05)
SHARPNESS = np.arange(1.0, 30.1, 0.5)


def examples(samples: Samples, lossy: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(descriptors [examples, ENERGIES], their weights, 1 in all): three moments without loss, the end with each."""
    times = samples.windows.shape[2]
    at = [max(0, int(times * moment) - 1) for moment in MOMENTS]
    clean, lost = samples.windows[0][:, at].flatten(0, 1), samples.windows[1:, :, -1].flatten(0, 1)
    weights = torch.cat(
        (torch.full((len(clean),), (1 - lossy) / len(clean)), torch.full((len(lost),), lossy / len(lost)))
    )
    return torch.cat((clean, lost)), weights


def ridge(inputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """(mean, spread, readout) for inputs [n, d], one-hot targets [n, classes], weights [n]: the scores
    (inputs − mean) / spread @ readout come nearest to the centred targets. In closed form, float64 inside."""
    inputs, targets, weights = inputs.double(), targets.double(), weights.double()[:, None] / weights.sum()
    mean = (weights * inputs).sum(0)
    spread = (weights * (inputs - mean).square()).sum(0).sqrt()
    spread = spread + FLOOR * spread.mean() + 1e-6
    whitened = (inputs - mean) / spread
    centred = targets - (weights * targets).sum(0)
    covariance = whitened.T @ (weights * whitened) + RIDGE * torch.eye(whitened.shape[1], dtype=torch.float64)
    readout = torch.linalg.solve(covariance, whitened.T @ (weights * centred))
    return mean.float(), spread.float(), readout.float()


def fit(
    samples: Sequence[Samples], labels: Sequence[str], classes: Sequence[str], others: bool, lossy: float = LOSSY
) -> Classifier:
    """A classifier of `classes`; others: one more column, for samples labelled OTHERS. All classes weigh the same."""
    names = [*classes, *([OTHERS] if others else [])]
    parts = [examples(sample, lossy) for sample in samples]
    index = torch.tensor([names.index(label) for label in labels])
    index = index.repeat_interleave(torch.tensor([len(part[0]) for part in parts]))
    weights = torch.cat([part[1] / labels.count(label) for part, label in zip(parts, labels, strict=True)])
    solved = ridge(torch.cat([part[0] for part in parts]), F.one_hot(index, len(names)), weights)
    return Classifier(tuple(classes), *solved, others=int(others))


def fold_of(items: Sequence[Item], folds: int) -> list[int]:
    """Which fold each item is tested in: groups stay together and are dealt in order of their names."""
    groups = {group: number % folds for number, group in enumerate(sorted({item.group for item in items}))}
    return [groups[item.group] for item in items]


def held_out(
    items: Sequence[Item], samples: Sequence[Samples], classes: Sequence[str], folds: int, lossy: float = LOSSY
):
    """For every item its scores by a classifier that has not seen its group: [losses, times, classes (+ others)]."""
    fold, others = fold_of(items, folds), any(item.label == OTHERS for item in items)
    scores: list[torch.Tensor] = [torch.empty(0)] * len(items)
    for number in sorted(set(fold)):
        rest = [i for i, f in enumerate(fold) if f != number]
        found = fit([samples[i] for i in rest], [items[i].label for i in rest], classes, others, lossy)
        for i, f in enumerate(fold):
            if f == number:
                scores[i] = found.logits(samples[i].windows[:, 0])
    return scores


def calibrate(items: Sequence[Item], scores: Sequence[torch.Tensor], classes: Sequence[str]) -> dict[str, float]:
    """Sharpness by likelihood, and the lowest threshold at which no more than WRONG of the labels shown are wrong, on
    held-out streams, with all classes (and "anything else") counted alike. `shown`, `right`, `others_labelled`: what
    follows for footage of the classes and for anything else, over all samples after the first third of a clip."""
    names = [*classes, OTHERS]
    late = [score[:, score.shape[1] // 3 :].flatten(0, 1) for score in scores]
    truth = torch.cat([torch.full((len(s),), names.index(i.label)) for s, i in zip(late, items, strict=True)])
    counts = torch.bincount(truth, minlength=len(names)).clamp(min=1)
    weight, score = 1 / counts[truth].double(), torch.cat(late).double()
    loss = {a: float((weight * F.cross_entropy(score * a, truth, reduction="none")).sum()) for a in SHARPNESS}
    sharpness = float(min(loss, key=loss.get))
    confidence, best = (score * sharpness).softmax(1)[:, : len(classes)].max(1)
    right, known = best == truth, truth < len(classes)
    threshold = float(THRESHOLDS[-1])
    for candidate in THRESHOLDS:
        shown = confidence >= candidate
        if float((weight * (shown & ~right)).sum()) <= WRONG * float((weight * shown).sum()):
            threshold = float(candidate)
            break
    shown = confidence >= threshold

    def share(part: torch.Tensor, whole: torch.Tensor) -> float:
        return float((weight * (part & whole)).sum() / (weight * whole).sum().clamp(min=1e-9))

    return {
        "sharpness": sharpness,
        "threshold": round(threshold, 2),
        "shown": share(shown, known),
        "right": share(right, shown & known),
        "others_labelled": share(shown, ~known) if (~known).any() else None,
    }


def accuracy(
    items: Sequence[Item], scores: Sequence[torch.Tensor], classes: Sequence[str], moment: float = 1.0
) -> dict[str, dict[str, float]]:
    """Per loss rate `clip`: the share of clips whose label at `moment` of them is right; `time`: the right share of
    the samples after their first third."""
    result = {}
    for index, loss in enumerate(LOSSES):
        chosen = [
            score[index, :, : len(classes)].argmax(-1) == classes.index(item.label)
            for score, item in zip(scores, items, strict=True)
        ]
        ends = [float(c[max(0, int(len(c) * moment) - 1)]) for c in chosen]
        late = [float(c[len(c) // 3 :].float().mean()) for c in chosen]
        result[f"{loss:g}"] = {"clip": float(np.mean(ends)), "time": float(np.mean(late))}
    return result
