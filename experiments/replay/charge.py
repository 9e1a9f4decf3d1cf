"""Computing time: measured once for each codec and picture size, then charged to every frame of every run.

Charged, not measured live: a run is then the same every time, on a busy machine too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from lrae.codec import conventional, make_decoder, make_encoder
from lrae.codec.types import Frame
from lrae.errors import ConfigError
from lrae.experiments.clips import Clip
from lrae.experiments.replay.footage import Footage, load, prolonged
from lrae.experiments.replay.table import replace_file
from lrae.experiments.stream import LRAE
from lrae.sender.conventional import ConventionalFrameEncoder
from lrae.sender.encoding import FrameEncoder
from lrae.sender.events import News
from lrae.sender.rate import RateControl

FILE = "calibration.json"
FRAMES, WARMING = 24, 4  # measured of a clip; of those, not counted
ROUNDS = 3  # measurements, of which the least counts
DIGITS = 4  # of a second: 0.1 ms is well below how far two measurements differ


@dataclass(frozen=True)
class Charge:
    """Seconds that a frame takes to encode, to decode, and to decode again at the sender (replay)."""

    encode: float
    decode: float
    replay: float = 0.0


class Calibration:
    """The charges of a folder of results, kept in calibration.json: {"h264 480x272": {"encode": seconds, …}, …}."""

    def __init__(self, folder: Path) -> None:
        """ConfigError: the file is damaged."""
        self._path = folder / FILE
        self._known: dict[str, Charge] = {}
        if self._path.exists():
            try:
                stored = json.loads(self._path.read_text())
                self._known = {key: Charge(**value) for key, value in stored.items()}
            except (OSError, ValueError, TypeError, AttributeError) as error:
                raise ConfigError(f"{self._path}: not a calibration: {error}") from None

    def __getitem__(self, key: str) -> Charge:
        return self._known[key]

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def add(self, key: str, charge: Charge) -> None:
        """Kept from now on. SinkError."""
        self._known[key] = charge
        stored = {name: asdict(known) for name, known in sorted(self._known.items())}
        replace_file(self._path, json.dumps(stored, indent=1) + "\n")


def measure(codec: str, model: str, bitrate: int, clip: Footage, cache_folder: str | None = None) -> Charge:
    """Medians over the first frames of a clip without loss, in CPU time: what one core of this machine needs. The
    least of ROUNDS such medians, as whatever else the machine does only adds to them.

    codec, model: as a Condition and a Job name them. bitrate: bit/s. Raises LraeError.
    """
    footage = load(clip, cache_folder)
    rounds = [
        measure_lrae(footage, model, bitrate) if codec == LRAE else measure_conventional(footage, codec, bitrate)
        for _ in range(ROUNDS)
    ]
    return Charge(*(min(times) for times in zip(*map(astuple, rounds), strict=True)))


def measure_lrae(clip: Clip, model: str, bitrate: int) -> Charge:
    """The learned codec."""
    video = clip.format
    encoder, decoder = make_encoder(model, video), make_decoder(model, video)
    rate = RateControl(bitrate, float(video.fps), video.width * video.height)
    frames = FrameEncoder(encoder, rate, worth=True)
    watch, state, news = Watch(), decoder.initial_state(), News()
    for frame in opening(clip):
        before = frames.reference.state
        encoded = watch("encode", frames.encode, frame, news)
        if encoded is None:
            continue
        news = News(confirmed=((encoded.header.number, encoded.sent),))
        watch("replay", encoder.state_after, before, encoded, encoded.sent - {0})
        payloads = {index: encoded.payloads[index] for index in encoded.sent}
        _, state = watch("decode", decoder.decode, state, encoded.header, payloads, frame.time)
    return watch.charge()


def measure_conventional(clip: Clip, codec: str, bitrate: int) -> Charge:
    """A codec of libav."""
    decoder = conventional.make_decoder(codec, clip.format)
    frames = ConventionalFrameEncoder(conventional.make_encoder(codec, clip.format, bitrate), bitrate)
    watch, state = Watch(), decoder.initial_state()
    for frame in opening(clip):
        encoded = watch("encode", frames.encode, frame, News())
        if encoded is not None:
            payloads = dict(enumerate(encoded.payloads))
            _, state = watch("decode", decoder.decode, state, encoded.header, payloads, frame.time)
    return watch.charge()


def opening(clip: Clip) -> Iterator[Frame]:
    """The frames that are measured, at their times in a session."""
    for index, frame in enumerate(prolonged(clip, FRAMES / float(clip.format.fps)).frames):
        yield replace(frame, time=index / float(clip.format.fps))


class Watch:
    """Calls functions and keeps how much CPU time each call took, of all threads of this process."""

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = {}

    def __call__(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        start = time.process_time()
        result = function(*args)
        self._times.setdefault(name, []).append(time.process_time() - start)
        return result

    def charge(self) -> Charge:
        """Medians of the calls after the first few."""
        return Charge(**{name: round(median(times[WARMING:] or times), DIGITS) for name, times in self._times.items()})
