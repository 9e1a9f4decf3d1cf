"""One run: a clip through a session under a condition, and the row of figures that comes of it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from lrae.channel.loss import parse_loss
from lrae.codec import model_hash
from lrae.codec.conventional.settings import find as find_codec
from lrae.errors import ConfigError
from lrae.experiments.clips import Clip
from lrae.experiments.environment import commit, processor
from lrae.experiments.replay.action import action_accuracy
from lrae.experiments.replay.charge import Charge
from lrae.experiments.replay.encodes import CachedEncoder, Encodes
from lrae.experiments.replay.footage import Footage, load
from lrae.experiments.replay.table import ACCURACY
from lrae.experiments.screen import on_screen
from lrae.experiments.stream import LRAE, Network, Setup, play, viewing_delay
from lrae.experiments.viewing import bits_by_kind, view
from lrae.experiments.virtual import Outcome
from lrae.version import VERSION

RETELLS = 2  # times that a run is done again for equal bits
TRACES = ("trace", "timed", "alphartc", "mahimahi", "raca")  # what a loss or rate begins with that is read from a file


@dataclass(frozen=True)
class Condition:
    """A point of the matrix. bitrate: bit/s, None: congestion control. Texts as the programs take them."""

    codec: str
    bitrate: int | None
    fec: str
    retransmit: bool
    loss: str
    rate: str
    rtt_ms: float
    jitter_ms: float
    pings: str
    queue_bytes: int
    deadline_ms: float
    seed: int


@dataclass(frozen=True)
class Job:
    """A run. model: weights, of lrae; measures: of QUALITY, and ACCURACY; traces: folder of loss and rate traces.
    equal_bits: share by which all datagrams may miss the bitrate before the run is done again with another; 0: never.
    """

    footage: Footage
    condition: Condition
    model: str
    measures: tuple[str, ...]
    traces: str
    equal_bits: float = 0.0

    @cached_property
    def run(self) -> str:
        """16 hex digits that depend on what the run is, not on where its files lie."""
        clip = self.footage
        parts = [clip.name, clip.digest, clip.fit, clip.seconds, asdict(self.condition), self.model, self.measures]
        parts += [self.equal_bits] if self.equal_bits else []
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """One line."""
        return json.dumps({"run": self.run, **asdict(self)})

    @classmethod
    def from_json(cls, line: str) -> Job:
        """The inverse of to_json(). ConfigError."""
        try:
            value = json.loads(line)
            clip = value["footage"]
            footage = Footage(**clip | {"fit": clip["fit"] and tuple(clip["fit"])})
            condition, measures = Condition(**value["condition"]), tuple(value["measures"])
            return cls(footage, condition, value["model"], measures, value["traces"], value["equal_bits"])
        except (ValueError, TypeError, KeyError):
            raise ConfigError(f"not a run of lrae-replay: {line[:60]!r}") from None


@dataclass(frozen=True)
class Played:
    """What happened. delay: viewing delay in seconds. told: bit/s that the session was to keep, None: adaptive."""

    clip: Clip
    outcome: Outcome
    delay: float
    told: float | None


@dataclass(frozen=True)
class Finished:
    """row: of the table. frames: JSON lines of its instants, if they were wanted."""

    row: dict[str, object]
    frames: str | None = None


def located(text: str, traces: str | Path) -> str:
    """A loss or rate whose trace is looked for in the folder `traces`."""
    kind, colon, file = text.partition(":")
    return f"{kind}:{Path(traces) / file}" if colon and kind in TRACES else text


def located_pings(text: str, traces: str | Path) -> str:
    """A file of round trips that is looked for in the folder `traces`; "none" stays."""
    return text if text == "none" else str(Path(traces) / text)


def run_job(job: Job, charge: Charge, cache_folder: str | None = None, frames_log: bool = False) -> Finished:
    """The figures of a run; with an error instead of them if it fails.

    charge: computing time of the codec. cache_folder: as play_job() takes it. frames_log: of every instant, too.
    """
    start, row, lines = time.monotonic(), known_before(job), None
    try:
        played = play_job(job, charge, cache_folder)
        row |= known_of_clip(played.clip) | charged(job, charge)
        if not played.outcome.sent:
            raise ConfigError("the session never began: too many of its first packets were lost")
        session = played.clip, played.outcome, played.delay
        viewing, instants = view(*session, [measure for measure in job.measures if measure != ACCURACY])
        if ACCURACY in job.measures:
            pictures = [instant.picture for instant in on_screen(*session)]
            row[ACCURACY] = action_accuracy(job.footage.source, pictures, float(played.clip.format.fps))
        row |= asdict(viewing) | {"told_kbps": None if played.told is None else played.told / 1e3}
        if frames_log:
            lines = "".join(json.dumps(asdict(instant)) + "\n" for instant in instants)
    except Exception as error:  # whatever it is: it must not cost the other runs
        row["error"] = f"{type(error).__name__}: {error}"
    return Finished(row | provenance(time.monotonic() - start), lines)


def play_job(job: Job, charge: Charge, cache_folder: str | None = None) -> Played:
    """A run, pictures included; with equal_bits, the one of at most 1 + RETELLS whose bits are the nearest.

    cache_folder: of decoded clips and of what conventional encoders have made. Raises LraeError.
    """
    clip = load(job.footage, cache_folder)
    wanted = told = job.condition.bitrate
    best: tuple[float, Played] | None = None
    for _ in range(1 + RETELLS if wanted and job.equal_bits else 1):
        played = play_once(job, charge, clip, told, cache_folder)
        if not wanted:
            return played
        seconds = len(clip.frames) / float(clip.format.fps)
        share = bits_by_kind(played.outcome, seconds)["kbps"] * 1e3 / wanted
        if best is None or abs(share - 1) < best[0]:
            best = abs(share - 1), played
        if best[0] <= job.equal_bits or not share:
            break
        told = round(told / share)
    return best[1]


def play_once(job: Job, charge: Charge, clip: Clip, told: float | None, cache_folder: str | None) -> Played:
    """A session that is told so many bit/s. Raises LraeError."""
    setup, network = settings(job, charge, told)
    delay, seed = viewing_delay(setup, network), seed_of(job)
    if cache_folder is None:
        return Played(clip, play(clip, setup, network, seed), delay, told)
    with closing(Encodes(Path(cache_folder))) as encodes:
        return Played(clip, play(clip, setup, network, seed, partial(CachedEncoder, encodes)), delay, told)


def seed_of(job: Job) -> int:
    """Another one for each clip: they would all meet the same losses otherwise."""
    return int.from_bytes(hashlib.sha256(f"{job.condition.seed} {job.footage.digest}".encode()).digest()[:4])


def settings(job: Job, charge: Charge, told: float | None) -> tuple[Setup, Network]:
    """What a job is for play(). told: bit/s."""
    c = job.condition
    network = Network(
        located(c.loss, job.traces),
        c.rtt_ms / 1e3,
        located(c.rate, job.traces),
        c.jitter_ms / 1e3,
        c.queue_bytes,
        located_pings(c.pings, job.traces),
    )
    setup = Setup(
        told,
        c.fec,
        c.retransmit,
        deadline=c.deadline_ms / 1e3,
        model=job.model or "m",
        encode_time=charge.encode,
        decode_time=charge.decode,
        replay_time=charge.replay,
        codec=c.codec,
        udp_ip=True,
    )
    return setup, network


def known_before(job: Job) -> dict[str, object]:
    """Columns that depend on nothing that could fail."""
    condition = asdict(job.condition)
    bitrate = condition.pop("bitrate")
    return {
        "run": job.run,
        "sequence": job.footage.name,
        "clip_sha": job.footage.digest,
        "bitrate_kbps": None if bitrate is None else bitrate / 1e3,
        **condition,
    }


def known_of_clip(clip: Clip) -> dict[str, object]:
    """Columns that say what is sent."""
    return {"width": clip.format.width, "height": clip.format.height, "fps": float(clip.format.fps)}


def charged(job: Job, charge: Charge) -> dict[str, object]:
    """Columns that say with what a run was done."""
    c = job.condition
    lrae = c.codec == LRAE
    return {
        "loss_rate": parse_loss(located(c.loss, job.traces)).mean,
        "model": model_hash(job.model) if lrae else find_codec(c.codec).encoder,
        "encode_ms": charge.encode * 1e3,
        "decode_ms": charge.decode * 1e3,
        "replay_ms": charge.replay * 1e3 if lrae else None,
    }


@cache
def _here() -> dict[str, object]:
    return {"version": VERSION, "commit": commit(), "machine": processor()}


def provenance(took: float) -> dict[str, object]:
    """Columns that say where and when. took: seconds."""
    return _here() | {"date": datetime.now(UTC).isoformat(timespec="seconds"), "took_s": round(took, 3)}


def failed(job: Job, error: str) -> Finished:
    """The row of a run that could not say itself why it ended."""
    return Finished(known_before(job) | {"error": error} | provenance(0.0))


def charge_of(row: Mapping[str, Any]) -> Charge:
    """The computing time that a row's run was charged."""
    return Charge(*((row[name] or 0.0) / 1e3 for name in ("encode_ms", "decode_ms", "replay_ms")))


