"""How often a classifier names the right action from what was on screen, whatever codec put it there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lrae.codec.features import features
from lrae.codec.types import Frame
from lrae.experiments.action_anchor import as_state
from lrae.models.classifier import ActionState, Classifier, due, load_classifier

CLASSIFIER = "actions"  # the shipped one


def action_accuracy(source: str, pictures: Sequence[Frame], fps: float) -> float | None:
    """Share of the instants, from about the first second on, at which the likeliest action is that of the clip.

    source: of the clip; its folder's name is the action. None where that is none the classifier knows, or the clip is
    too short. pictures: on screen, one an instant; all codecs alike are judged by these, with motion from optical flow.
    """
    classifier = load_classifier(CLASSIFIER)
    action = Path(source).parent.name
    if action not in classifier.classes:
        return None
    named = actions(classifier, pictures, fps)
    return named.count(action) / len(named) if named else None


def actions(classifier: Classifier, pictures: Sequence[Frame], fps: float) -> list[str]:
    """The likeliest action at each instant at which there is one."""
    state: ActionState | None = None
    named = []
    width, height = pictures[0].size
    for index, picture in enumerate(pictures):
        if due(state, index / fps):
            seen = features(as_state(picture, pictures[max(0, index - 1)]), width, height, fps)
            _, state = classifier.classify(state, seen, index / fps)
        if state.probabilities is not None:
            named.append(classifier.classes[int(state.probabilities.argmax())])
    return named
