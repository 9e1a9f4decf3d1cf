"""The classifier beside the decoder: what a receiver tells of the action in the picture."""

from __future__ import annotations

from typing import Any

from lrae.codec.features import features
from lrae.codec.types import VideoFormat
from lrae.models.classifier import ActionState, due, load_classifier


class Labeller:
    """A classifier (name or file; ModelError) and its state along one stream."""

    def __init__(self, name: str) -> None:
        self._classifier = load_classifier(name)
        self._format: VideoFormat | None = None
        self._state: ActionState | None = None

    def start(self, video: VideoFormat) -> None:
        """A stream begins; nothing is known of it."""
        self._format, self._state = video, None

    def look(self, state: Any, time: float) -> tuple[str | None, float | None]:
        """(label, confidence of the likeliest class) after the frame that the decoder's `state` shows, captured at
        `time`, seconds. Most frames are not looked at: then what was known stands."""
        if due(self._state, time):
            video = self._format
            seen = features(state, video.width, video.height, float(video.fps))
            _, self._state = self._classifier.classify(self._state, seen, time)
        return self._classifier.label(self._state.probabilities)
