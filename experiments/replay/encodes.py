"""What conventional encoders have made, kept under a hash of all that they were given until then.

An encoder's state lives in libav and cannot be stored, but what it makes next depends on nothing but its settings and
on every frame, rate and keyframe before. As long as all of that has been seen, no encoder is needed at all; at the
first frame that is new one is opened, and encodes everything from the beginning.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path

import av
import msgpack

from lrae.codec import conventional
from lrae.codec.conventional import Coded, ConventionalEncoder
from lrae.codec.conventional.encoder import LEAST_BITRATE, another
from lrae.codec.conventional.settings import RateChange, find
from lrae.codec.types import Frame, VideoFormat

FILE = "encodes.sqlite"
MAX_BYTES = 2 << 30  # of the file; beyond it nothing more is kept
WAIT = 10.0  # seconds for another process that writes


class Encodes:
    """The file in a folder. Where it cannot be read or written, everything is encoded: it only saves time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._fresh: dict[bytes, bytes] = {}
        self._file: sqlite3.Connection | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(self._path, timeout=WAIT)
            self._file.execute("CREATE TABLE IF NOT EXISTS encodes (key BLOB PRIMARY KEY, coded BLOB)")
        except (OSError, sqlite3.Error):
            self._file = None

    def get(self, key: bytes) -> Coded | None:
        """What was kept under a key."""
        packed = self._fresh.get(key)
        if packed is None and self._file is not None:
            try:
                found = self._file.execute("SELECT coded FROM encodes WHERE key = ?", (key,)).fetchone()
            except sqlite3.Error:
                found = None
            packed = found[0] if found else None
        if packed is None:
            return None
        *units, keyframe = msgpack.unpackb(packed)
        return Coded(tuple(units), keyframe)

    def put(self, key: bytes, coded: Coded) -> None:
        """Kept from close() on."""
        self._fresh[key] = msgpack.packb([*coded.units, coded.keyframe])

    def close(self) -> None:
        """Writes what is new."""
        if self._file is None:
            return
        try:
            with closing(self._file), self._file:
                if self._path.stat().st_size < MAX_BYTES:
                    self._file.executemany("INSERT OR IGNORE INTO encodes VALUES (?, ?)", self._fresh.items())
        except (OSError, sqlite3.Error):
            pass
        self._file = None


@cache
def program() -> str:
    """Hash of the code around libav: another version of it may make something else."""
    folder = Path(conventional.__file__).parent
    return hashlib.blake2b(b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))).hexdigest()


class CachedEncoder:
    """A ConventionalEncoder as ConventionalFrameEncoder uses one; what it makes is the same, bit for bit.

    Arguments as of ConventionalEncoder. encoded: frames that had to be encoded. Raises ConfigError.
    """

    def __init__(
        self, encodes: Encodes, name: str, video: VideoFormat, bitrate: float, room: int, refresh: int | None = None
    ) -> None:
        codec = find(name)
        self.format, self.encoded = video, 0
        self.reopens = codec.rate_change is RateChange.REOPEN
        refresh = refresh or codec.refresh
        self.refreshes = refresh is not None
        self._bitrate = max(LEAST_BITRATE, bitrate)
        self._encodes = encodes
        self._open = lambda: conventional.make_encoder(name, video, bitrate, room, refresh)
        self._past: list[Callable[[ConventionalEncoder], object]] = []  # what the encoder has not been told yet
        self._encoder: ConventionalEncoder | None = None
        options = codec.options(round(self._bitrate), room, refresh)
        settings = (name, codec.encoder, options, av.library_versions, program(), video, bitrate, room, refresh)
        self._history = hashlib.blake2b(repr(settings).encode(), digest_size=16)

    @property
    def bitrate(self) -> float:
        """bit/s that coded frames come to."""
        return self._bitrate

    @bitrate.setter
    def bitrate(self, bitrate: float) -> None:
        if (changed := another(bitrate, self._bitrate)) is None:
            return
        self._bitrate = changed
        self._history.update(f"rate {changed!r}".encode())
        self._past.append(lambda encoder: setattr(encoder, "bitrate", changed))

    def encode(self, frame: Frame, keyframe: bool = False) -> Coded:
        """The next frame; its time has to rise."""
        self._history.update(f"frame {frame.time!r} {keyframe}".encode())
        for plane in (frame.y, frame.u, frame.v):
            self._history.update(plane.tobytes())
        self._past.append(lambda encoder: encoder.encode(frame, keyframe))
        key = self._history.digest()
        coded = self._encodes.get(key)
        if coded is None:
            coded = self._catch_up()
            self._encodes.put(key, coded)
        return coded

    def _catch_up(self) -> Coded:
        """Tells the encoder what it has not been told yet; returns what it makes last."""
        self._encoder = self._encoder or self._open()
        made = [tell(self._encoder) for tell in self._past]
        self.encoded += sum(one is not None for one in made)
        self._past.clear()
        return made[-1]
