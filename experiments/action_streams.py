"""Labelled clips as a classifier sees them: encoded once, decoded at several loss rates, sampled, kept in a cache."""

from __future__ import annotations

import json
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from lrae.codec import make_decoder, make_encoder, model_hash
from lrae.codec.features import features
from lrae.codec.types import LAYOUTS, EncodeHints, Frame, VideoFormat
from lrae.errors import SinkError, SourceError
from lrae.experiments.clips import SUFFIXES
from lrae.models.classifier import AREAS, GRID, MEANS, ActionState, descriptor, due, mirror, observe
from lrae.sender.source import open_source

LOSSES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
OTHERS = ""  # the label of footage that shows none of the classes
OTHER_FRAMES = 30  # of each clip of it, at most: two seconds
FPS = 15  # faster clips are thinned to this, as a live sender on a small machine does
VERSION = 1  # of what is kept; raise it when the samples change


@dataclass(frozen=True)
class StreamConfig:
    """How clips become streams. q: fixed quality; packets: K; frames: at most, of each clip."""

    model: str = "m"
    q: int = 20
    packets: int = 4
    frames: int = 150
    layout: int = 0


@dataclass(frozen=True)
class Item:
    """One clip. group: clips of one recording, which are never split between training and test."""

    path: Path
    label: str
    group: str


@dataclass(frozen=True, eq=False)
class Samples:
    """What a classifier saw of one clip, per loss rate. windows: float32 [losses, 2, times, ENERGIES], descriptors
    after each sample, of the picture and of its mirror image; stills: float32 [losses, 1, times, MEANS·areas], the
    means of a single picture; bits: of each encoded frame; size: (width, height); fps: frames a second.
    """

    windows: torch.Tensor
    stills: torch.Tensor
    bits: np.ndarray
    size: tuple[int, int]
    fps: float


def find_items(folder: Path, label: str | None = None) -> list[Item]:
    """The videos in and below a folder; their class is the name of the folder they lie in, or `label`.

    A group is the `seqNN` in a file's name, else the file. SourceError: no folder, no videos.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise SourceError(f"{folder}: no videos in this folder ({', '.join(SUFFIXES)})")
    groups = (re.search(r"seq\d+", path.stem) for path in paths)
    return [
        Item(p, p.parent.name if label is None else label, g[0] if g else p.stem)
        for p, g in zip(paths, groups, strict=True)
    ]


def read_frames(path: Path, count: int) -> tuple[VideoFormat, list[Frame]]:
    """The first frames, thinned to at most FPS. SourceError."""
    source = open_source(str(path))
    rate = source.format.fps
    if rate > FPS:
        source.close()
        source = open_source(str(path), fps=rate / math.ceil(rate / FPS))
    try:
        frames = list(islice(source, count))
    finally:
        source.close()
    if len(frames) < 4:
        raise SourceError(f"{path}: fewer than 4 frames")
    return source.format, frames


class Sampler:
    """Features in the order of the frames -> Samples; one classifier window for all loss rates and both mirrors."""

    def __init__(self, fps: Fraction) -> None:
        self._fps, self._state, self._frame = fps, None, -1
        self._windows: list[torch.Tensor] = []
        self._stills: list[torch.Tensor] = []

    def wants(self) -> bool:
        """Whether the next frame is one that a classifier looks at; to be called once a frame."""
        self._frame += 1
        return due(self._state, float(self._frame / self._fps))

    def add(self, seen: list[torch.Tensor]) -> None:
        """features() of this frame, one per loss rate."""
        batch = torch.stack(seen)
        both = torch.stack((batch, mirror(batch)), 1)
        first = self._state is None
        self._state: ActionState = observe(self._state, both, float(self._frame / self._fps))
        if not first:
            self._windows.append(descriptor(self._state).half())
            self._stills.append(still(batch).half())

    def samples(self, bits: list[int], size: tuple[int, int]) -> Samples:
        """All of them. bits: of each frame; size: (width, height)."""
        windows, stills = torch.stack(self._windows, 2), torch.stack(self._stills, 1)[:, None]
        return Samples(windows.float(), stills.float(), np.array(bits), size, float(self._fps))


def still(batch: torch.Tensor) -> torch.Tensor:
    """Means of the areas of a single picture: features [..., FEATURES, *GRID] -> [..., MEANS·areas]."""
    tiles = [whole // part for whole, part in zip(GRID, AREAS, strict=True)]
    means = batch[..., :MEANS, :, :].unflatten(-2, (-1, tiles[0])).unflatten(-1, (-1, tiles[1]))
    return means.mean((-3, -1)).flatten(-3)


def stream(path: Path, config: StreamConfig) -> Samples:
    """One clip through encoder, independent packet loss and decoder, without feedback: losses stay in the picture.

    The first frame arrives whole (a session would ask for another one); the loss-free picture is the encoder's own.
    """
    video, frames = read_frames(path, config.frames)
    encoder = make_encoder(config.model, video, "cpu")
    decoder = make_decoder(config.model, video, "cpu")
    hints = EncodeHints(packets=config.packets, layout=config.layout, side_copies=config.packets)
    draws = [np.random.default_rng((zlib.crc32(path.name.encode()), round(100 * loss))) for loss in LOSSES[1:]]
    states = [encoder.initial_state()] * len(LOSSES)
    sampler, bits = Sampler(video.fps), []
    for number, frame in enumerate(frames):
        intra = EncodeHints(True, hints.packets, hints.layout, hints.side_copies) if number == 0 else hints
        encoded, states[0] = encoder.encode(states[0], frame, number, config.q, intra, max(0, number - 1))
        bits.append(8 * sum(map(len, encoded.payloads)))
        for index, (loss, draw) in enumerate(zip(LOSSES[1:], draws, strict=True), 1):
            arrived = (draw.random(encoded.header.packets) >= loss) | (number == 0)
            payloads = {i: encoded.payloads[i] for i in np.flatnonzero(arrived).tolist()}
            header = encoded.header if payloads else None
            _, states[index] = decoder.decode(states[index], header, payloads)
        if sampler.wants():
            sampler.add([features(state, video.width, video.height, float(video.fps)) for state in states])
    return sampler.samples(bits, (video.width, video.height))


class Cache:
    """Samples of clips in a folder; computed where they are not there or were made otherwise.

    make: what turns a clip into samples, named by `kind` in the files' names; settings: what they depend on, JSON-able.
    """

    def __init__(self, folder: Path, kind: str, make: Callable[[Path], Samples], settings: dict) -> None:
        self._folder, self._kind, self._make = folder, kind, make
        self._made = {**settings, "losses": LOSSES, "fps": FPS, "version": VERSION}

    @classmethod
    def of_streams(cls, folder: Path, config: StreamConfig) -> Cache:
        """Of LRAE's own streams."""
        settings = {**asdict(config), "layout": LAYOUTS[config.layout], "weights": model_hash(config.model)}
        return cls(folder, "lrae", lambda path: stream(path, config), settings)

    def samples(self, item: Item) -> Samples:
        """Read where they are there, else computed. SourceError, SinkError."""
        stat = item.path.stat()
        key = json.dumps({**self._made, "file": str(item.path.resolve()), "bytes": stat.st_size, "at": stat.st_mtime})
        name = f"{self._kind}__{item.label}__{item.path.stem}__{zlib.crc32(str(item.path.resolve()).encode()):08x}.npz"
        path = self._folder / name
        if path.exists() and (kept := _read(path, key)):
            return kept
        samples = self._make(item.path)
        arrays = {"windows": samples.windows.half().numpy(), "stills": samples.stills.half().numpy()}
        part = path.with_suffix(".part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.savez(file, key=np.array(key), bits=samples.bits, size=samples.size, fps=samples.fps, **arrays)
            part.replace(path)
        except OSError as error:
            raise SinkError(f"{path}: {error.strerror}") from None
        return samples


def collect(items: Sequence[Item], folder: Path, config: StreamConfig, step: Callable[[str], None]) -> list[Samples]:
    """The LRAE streams of all items, kept in `folder`; other footage is cut to OTHER_FRAMES. step: called before each.

    SourceError, ModelError, SinkError.
    """
    own = Cache.of_streams(folder, config)
    other = Cache.of_streams(folder, replace(config, frames=min(config.frames, OTHER_FRAMES)))
    samples = []
    for item in items:
        step(item.path.name)
        samples.append((other if item.label == OTHERS else own).samples(item))
    return samples


def _read(path: Path, key: str) -> Samples | None:
    """What was kept, if it was made as `key` says and is whole."""
    try:
        with np.load(path) as file:
            if str(file["key"]) != key:
                return None
            windows, stills = (torch.from_numpy(file[name]).float() for name in ("windows", "stills"))
            width, height = map(int, file["size"])
            return Samples(windows, stills, file["bits"], (width, height), float(file["fps"]))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
