"""lrae-bench utility: what losing a packet does, against what the sender guesses, gradients say, and its size says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from time import perf_counter

import numpy as np
import torch

from lrae.codec import model_hash
from lrae.codec.features import features
from lrae.codec.lrae import pick_device
from lrae.codec.reconstruct import Reconstructor
from lrae.codec.state import State
from lrae.codec.tiles import regions
from lrae.codec.types import TILES, EncodedFrame, EncodeHints, Frame
from lrae.codec.utility import utility
from lrae.experiments.loss import codecs
from lrae.experiments.loss_rates import read
from lrae.experiments.pool import Setup
from lrae.experiments.rd import WHOLE
from lrae.models.blocks import pack
from lrae.models.classifier import ActionState, Classifier, descriptor, due, load_classifier, observe
from lrae.models.store import load_model

EVERY = 5  # frames between those whose packets are lost one by one; shares no divisor with 8
LATER = 4  # frames after them in which the damage is counted as well
LOSS, REPAIR = 0.1, 4.0  # what the encoder expects: spare motion travels as it does over a network
PREDICTORS = ("live", "saliency", "size")
EFFECTS = ("now", "later", "evidence")


@dataclass(frozen=True)
class Job:
    """One clip at one q, each frame in `packets` packets."""

    clip: str
    frames: int
    q: int
    packets: int
    classifier: str
    setup: Setup


def squared_error(frame: Frame, other: Frame) -> float:
    """Summed over the samples of all planes."""
    pairs = zip((frame.y, frame.u, frame.v), (other.y, other.u, other.v), strict=True)
    return sum(float(np.square(a.astype(np.float32) - b).sum(dtype=np.float64)) for a, b in pairs)


class Judge:
    """What the classifier makes of a state, as if it looked at every frame."""

    def __init__(self, classifier: Classifier, width: int, height: int, fps: float) -> None:
        self._classifier, self._size, self._fps = classifier, (width, height), fps
        self.before: ActionState | None = None

    def logits(self, state: State, time: float) -> torch.Tensor:
        """[classes], of the stream so far and this picture."""
        return self._classifier.logits(descriptor(observe(self.before, self._features(state), time)))

    def see(self, state: State, time: float) -> None:
        """This picture becomes part of the stream where it is due."""
        if due(self.before, time):
            self.before = observe(self.before, self._features(state), time)

    def _features(self, state: State) -> torch.Tensor:
        return features(state, *self._size, self._fps)


@lru_cache(maxsize=2)
def reconstructor(model: str, width: int, height: int, device: str) -> Reconstructor:
    """A decoder's networks, to take gradients of."""
    return Reconstructor(load_model(model), width, height, torch.device(pick_device(device)))


def saliency(core: Reconstructor, encoded: EncodedFrame, before: State, frame: Frame) -> np.ndarray:
    """Sum of |gradient times residual| over each packet's region, float64 [K]; gradient: of the squared error."""
    coded = encoded.meta
    with torch.no_grad():
        prediction = [part.clone() for part in core.predict(before, coded)]
        residual = core.residual(coded)
    residual = residual.clone().requires_grad_()
    if coded.intra:
        packed, _ = core.network.synthesis_intra(*prediction, residual, *core.rate(coded.q))
    elif core.idle:
        packed = prediction[0] + residual
    else:
        packed, _ = core.network.synthesis(prediction[0], residual, prediction[1], *core.rate(coded.q))
    (packed - source(core, frame)).square().sum().backward()
    return by_region(core, (residual.grad * residual).detach(), encoded)


def evidence_saliency(
    core: Reconstructor, judge: Judge, encoded: EncodedFrame, before: State, after: State, time: float
) -> np.ndarray:
    """Sum of |gradient times change of the picture| over each packet's region, float64 [K]; of the largest logit."""
    packed = after.packed.clone().requires_grad_()
    judge.logits(replace(after, packed=packed), time).max().backward()
    return by_region(core, (packed.grad * (packed - before.packed)).detach(), encoded)


def by_region(core: Reconstructor, packed: torch.Tensor, encoded: EncodedFrame) -> np.ndarray:
    """Magnitudes of [1,96,h,w] summed over the region of each packet."""
    cells = packed[0].abs().sum(0).cpu().numpy().astype(np.float64)
    return np.array([region.take(cells, 2).sum() for region in regions(*core.grid, encoded.header.packets)])


def source(core: Reconstructor, frame: Frame) -> torch.Tensor:
    """The frame, packed and padded, fp32 [1,96,h,w]."""
    planes = []
    for plane, scale in ((frame.y, 1), (frame.u, 2), (frame.v, 2)):
        margin = [(0, side // scale - have) for side, have in zip((core.height, core.width), plane.shape, strict=True)]
        whole = np.pad(plane, margin, mode="edge").astype(np.float32)
        planes.append(torch.from_numpy(whole)[None, None].to(core.device))
    return pack(*planes)


def lose_packets(job: Job) -> dict[str, object]:
    """Effects and predictions for the packets of every EVERY-th frame, rank correlations, times."""
    clip = read(job.clip, max(job.frames, EVERY + LATER + 1))
    width, height, fps = clip.format.width, clip.format.height, float(clip.format.fps)
    encoder, _ = codecs(job.setup.model, clip.format, job.setup.device, None)
    core = reconstructor(job.setup.model, width, height, job.setup.device)
    judge = Judge(load_classifier(job.classifier), width, height, fps)
    state, open_, done, times = encoder.initial_state(), [], [], []
    for number, frame in enumerate(clip.frames):
        hints = EncodeHints(number == 0, job.packets, TILES, max_payload=WHOLE, loss=LOSS, repair=REPAIR)
        start = perf_counter()
        encoded, after = encoder.encode(state, frame, number, job.q, hints, max(number - 1, 0))
        middle = perf_counter()
        live = utility(encoded, state, after)
        times.append((middle - start, perf_counter() - middle))
        whole = squared_error(frame, encoder.picture(after))
        every = frozenset(range(encoded.header.packets))
        for row in open_:
            row.states = [encoder.state_after(each, encoded, every) for each in row.states]
            row.later += [squared_error(frame, encoder.picture(each)) - whole for each in row.states]
        done += [row for row in open_ if row.number + LATER == number]
        open_ = [row for row in open_ if row.number + LATER > number]
        if number and number % EVERY == 0:
            states = [encoder.state_after(state, encoded, every - {index}) for index in sorted(every)]
            now = np.array([squared_error(frame, encoder.picture(each)) - whole for each in states])
            kept = judge.logits(after, frame.time)
            effects = {"now": now, "evidence": [float((judge.logits(s, frame.time) - kept).norm()) for s in states]}
            guesses = {
                "live": {"quality": live.quality, "evidence": live.evidence},
                "saliency": {
                    "quality": saliency(core, encoded, state, frame),
                    "evidence": evidence_saliency(core, judge, encoded, state, after, frame.time),
                },
                "size": dict.fromkeys(("quality", "evidence"), np.array([len(p) for p in encoded.payloads])),
            }
            open_.append(Row(number, states, now.copy(), effects, guesses))
        judge.see(after, frame.time)
        state = after
    return {"clip": clip.name, "q": job.q, **correlations(done), "times": np.median(times[1:], 0).tolist()}


@dataclass
class Row:
    """A frame whose packets have been lost one by one. later: squared error so far, [K]."""

    number: int
    states: list[State]
    later: np.ndarray
    effects: dict
    guesses: dict[str, dict[str, np.ndarray]]


def correlations(rows: Sequence[Row]) -> dict[str, object]:
    """Rank correlation of every guess with every effect: all packets of a clip together, and within frames (mean)."""
    over: dict[str, dict[str, float]] = {}
    within: dict[str, dict[str, float]] = {}
    for name in PREDICTORS:
        for effect in EFFECTS:
            kind = "evidence" if effect == "evidence" else "quality"
            pairs = [(row.guesses[name][kind], {**row.effects, "later": row.later}[effect]) for row in rows]
            over.setdefault(name, {})[effect] = spearman(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
            within.setdefault(name, {})[effect] = float(np.mean([spearman(*pair) for pair in pairs]))
    guessed = sum(row.guesses["live"]["quality"].sum() for row in rows)
    return {"rank": over, "within": within, "scale": float(guessed / sum(row.effects["now"].sum() for row in rows))}


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation, ties at their mean rank; 0 where one side has no order."""
    ranks = [_ranks(np.asarray(values)) for values in (a, b)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def measure(
    clips: Sequence[str],
    frames: int,
    qs: Sequence[int],
    packets: int,
    *,
    classifier: str = "actions",
    setup: Setup = Setup(),
) -> dict[str, object]:
    """The result of `lrae-bench utility` (keys: docs/loss.md)."""
    weights = model_hash(setup.model)
    jobs = [Job(clip, frames, q, packets, classifier, setup) for clip in clips for q in qs]
    (rows,) = setup.run((lose_packets, jobs))
    encode, guess = np.median([row["times"] for row in rows], 0)
    means = {
        key: {
            name: {effect: float(np.mean([row[key][name][effect] for row in rows])) for effect in EFFECTS}
            for name in PREDICTORS
        }
        for key in ("rank", "within")
    }
    times = {"encode_ms": 1e3 * encode, "utility_ms": 1e3 * guess, "share": float(guess / encode)}
    return {**means, "times": times, "packets": packets, "model_hash": weights, "runs": rows}
