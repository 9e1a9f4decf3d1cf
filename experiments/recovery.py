"""How fast a stream is well again after a burst of loss, and what replays and missing packets cost in time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import process_time

import torch

from lrae.codec import model_hash
from lrae.codec.types import LAYOUTS, EncodedFrame, EncodeHints
from lrae.errors import ConfigError
from lrae.experiments.clips import Clip
from lrae.experiments.loss import Condition, Run, codecs, run
from lrae.experiments.loss_rates import read
from lrae.experiments.pool import Setup

LEAD = 8  # frames before the burst
BURST_SECONDS, BURST_LOSS = 1.0, 0.5
WITHIN = 0.3  # dB below the run without loss that count as recovered
REPLAYED = 4  # frames of the replay that is timed
WARM_UP = 4  # frames that are not timed
NO_NETWORK = "neighbours"  # of IMPUTE: the concealment that the imputer starts from


@dataclass(frozen=True)
class Job:
    """A clip under the burst, with as many masks as seeds."""

    clip: str
    frames: int
    condition: Condition
    seeds: tuple[int, ...]
    setup: Setup


def burst_frames(fps: float) -> int:
    """How many frames the burst lasts."""
    return max(1, round(BURST_SECONDS * fps))


def frames_until(whole: Run, lossy: Run, stop: int) -> int | None:
    """Frames after the burst's last (number stop - 1) until the first that is at most WITHIN dB below the run without
    loss; None: none is."""
    pairs = zip(whole[stop:], lossy[stop:], strict=True)
    return next((n for n, (a, b) in enumerate(pairs, 1) if b.psnr >= a.psnr - WITHIN), None)


def recover(job: Job) -> dict[str, object]:
    """frames: as frames_until(), for each seed; target: the round trip in frames + 5; depth: dB below the run without
    loss at the burst's last frame, mean."""
    clip = read(job.clip, job.frames)
    fps = float(clip.format.fps)
    stop = LEAD + burst_frames(fps)
    if len(clip.frames) <= stop:
        raise ConfigError(f"{clip.name}: {len(clip.frames)} frames are too few: the burst ends with number {stop}")
    codec = job.setup.model, job.setup.device
    whole = run(clip, job.condition, *codec)
    lossy = replace(job.condition, loss=repr(BURST_LOSS), start=LEAD, stop=stop)
    runs = [run(clip, replace(lossy, seed=seed), *codec) for seed in job.seeds]
    return {
        "clip": clip.name,
        "q": job.condition.q,
        "frames": [frames_until(whole, one, stop) for one in runs],
        "seen": len(clip.frames) - stop,
        "target": math.ceil(job.condition.rtt * fps - 1e-6) + 5,
        "depth": sum(whole[stop - 1].psnr - one[stop - 1].psnr for one in runs) / len(runs),
    }


def time_codec(clip: Clip, condition: Condition, setup: Setup) -> dict[str, float]:
    """Medians of CPU time over a clip, ms: replay of REPLAYED frames of which each lacks its first packet; decoding
    with all packets, without the first, the same without the imputer network, without any. Beside them the frame
    interval.
    """
    encoder, decoder = codecs(setup.model, clip.format, setup.device, condition.impute)
    plain = codecs(setup.model, clip.format, setup.device, NO_NETWORK)[1]
    sent, received = encoder.initial_state(), decoder.initial_state()
    hints = EncodeHints(packets=condition.packets, layout=LAYOUTS.index(condition.layout))
    states, sents = [], []
    times = {key: [] for key in ("replay", "decode_whole", "decode_one_lost", "decode_unimputed", "decode_nothing")}
    for number, frame in enumerate(clip.frames):
        states.append(sent)
        encoded, sent = encoder.encode(sent, frame, number, condition.q, replace(hints, intra=number == 0))
        sents.append(encoded)
        payloads = dict(enumerate(encoded.payloads))
        if number >= WARM_UP + REPLAYED:
            timed(times["replay"], replay, encoder, states[-REPLAYED], sents[-REPLAYED:])
            some = {index: payload for index, payload in payloads.items() if index}
            timed(times["decode_one_lost"], decoder.decode, received, encoded.header, some)
            timed(times["decode_unimputed"], plain.decode, received, encoded.header, some)
            timed(times["decode_nothing"], decoder.decode, received, None, {})
        _, received = timed(times["decode_whole"], decoder.decode, received, encoded.header, payloads)
    times["decode_whole"] = times["decode_whole"][WARM_UP + REPLAYED :]
    medians = {f"{key}_ms": 1e3 * median(values) for key, values in times.items()}
    return {**medians, "frame_interval_ms": 1e3 / float(clip.format.fps)}


def replay(encoder, state: object, frames: Sequence[EncodedFrame]) -> object:
    """state_after() through `frames`, each without its first packet."""
    for encoded in frames:
        state = encoder.state_after(state, encoded, frozenset(range(1, len(encoded.payloads))))
    return state


def timed(times: list[float], function: Callable, *args):
    """function(*args); its seconds of CPU time, which other programs disturb little, go to `times`."""
    start = process_time()
    result = function(*args)
    times.append(process_time() - start)
    return result


def measure(
    clips: Sequence[str],
    frames: int,
    qs: Sequence[int],
    seeds: int,
    *,
    size: tuple[int, int] = (448, 256),
    base: Condition = Condition(),
    setup: Setup = Setup(),
) -> dict[str, object]:
    """The result of `lrae-bench recovery` (keys: docs/loss.md)."""
    weights = model_hash(setup.model)
    jobs = [Job(clip, frames, replace(base, q=q), tuple(range(seeds)), setup) for clip in clips for q in qs]
    clip = read(clips[0], max(frames, WARM_UP + REPLAYED + 8), scale=size)
    times = time_codec(clip, replace(base, q=qs[len(qs) // 2]), setup)
    (rows,) = setup.run((recover, jobs))
    waits = [math.inf if n is None else n for row in rows for n in row["frames"]]
    middle = median(waits)
    late = sum(n is None or n > row["target"] for row in rows for n in row["frames"])
    return {
        "recovery_frames": None if math.isinf(middle) else middle,
        "late_share": late / len(waits),
        "times": {"clip": clip.name, "size": f"{size[0]}x{size[1]}", "threads": torch.get_num_threads(), **times},
        "within_db": WITHIN,
        "model_hash": weights,
        "runs": rows,
    }
