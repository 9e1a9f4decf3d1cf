"""What parity leaves lost over loss processes, without the codec: real codes and policy, packets of random bytes."""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path

from lrae.channel.loss import GE_PRESETS, Bernoulli, GilbertElliott, LossModel
from lrae.channel.loss_trace import read_loss_trace
from lrae.codec.fec import FecDecoder, FecEncoder
from lrae.errors import ConfigError, TraceError
from lrae.sender.fec_fixed import FixedFec
from lrae.sender.fec_policy import HEADERS, AdaptiveFec, price_of_bits, price_of_loss

INTERVAL = 1 / 30  # seconds between frames
MEAN_SIZE, FINER = 450, 1.8  # bytes of a payload; how much more the finer frame takes that comes every 8th
NEWS = 4  # frames until the sender knows what became of a packet
KEPT = 24  # frames that parity may still speak of, as in receiver/reception.py
SCHEMES = ("none", "block 25 %", "block 50 %", "streaming 25 %", "streaming 50 %", "policy")


def bursty(mean: float, length: float) -> GilbertElliott:
    """Gilbert's channel: `mean` of the packets lost, `length` in a row on average."""
    return GilbertElliott(mean / (1 - mean) / length, 1 / length, 0.0, 1.0)


MODELS: dict[str, LossModel] = {
    **{f"independent {share:.0%}": Bernoulli(share) for share in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)},
    "Tambur's channel": GE_PRESETS["tambur"],
    **{f"bursts of {n}, {share:.0%}": bursty(share, n) for n in (3, 8) for share in (0.05, 0.2)},
}


@dataclass(frozen=True)
class Outcome:
    """lost, left: share of media packets lost on the way, and still lost after recovery in time. damage: of the
    frames by that, as sender/fec_policy.py has it. parity: bytes per byte of media, headers included. worth_left: as
    left, each packet counted by its worth. cost: dB, as the policy reckons.
    """

    lost: float
    left: float
    damage: float
    parity: float
    worth_left: float

    @property
    def cost(self) -> float:
        return float(price_of_bits(self.parity) + price_of_loss(self.damage))


def policy_of(scheme: str, slack: int) -> FixedFec | AdaptiveFec | None:
    """Of SCHEMES. A streaming code covers as many frames as can still be in time."""
    if scheme == "none":
        return None
    if scheme == "policy":
        return AdaptiveFec(retransmit=False)
    code, percent, _ = scheme.split()
    return FixedFec(code, int(percent) / 100, slack + 1 if code == "streaming" else 1)


def run(
    model: LossModel,
    scheme: str,
    packets: int,
    frames: int,
    slack: int,
    seed: int = 0,
    worth: Sequence[float] | None = None,
    protect: bool = False,
) -> Outcome:
    """Frames of so many packets, one after the other, parity behind each. slack: frames later that a recovered
    packet still counts. worth: of each packet of a frame. protect: the encoder knows it, and the loss rate.
    """
    policy, encoder, decoder = policy_of(scheme, slack), FecEncoder(), FecDecoder()
    outcomes, rng = model.outcomes(random.Random(seed)), random.Random(seed)
    news: deque[list[bool]] = deque()
    worth = worth or [1.0] * packets
    missing: set[tuple[int, int]] = set()
    lost = parity_bytes = media_bytes = 0
    for number in range(frames):
        if policy is not None and len(news) >= NEWS:
            policy.observe(news.popleft())
        media = [rng.randbytes(size) for size in frame_sizes(number, packets, rng)]
        media_bytes += sum(map(len, media)) + HEADERS * packets
        parity = []
        if policy is not None:
            plan = policy.plan([len(packet) for packet in media], None, (slack + 1) * INTERVAL, INTERVAL)
            plan = replace(plan, loss=model.mean) if protect else plan
            parity = encoder.add(number, media, plan, worth if protect else None)
        parity_bytes += sum(len(packet.body()) + HEADERS for packet in parity)
        fates = [next(outcomes) for _ in chain(media, parity)]
        news.append(fates)
        found = []
        for index, packet in enumerate(media):
            if fates[index]:
                missing.add((number, index))
            else:
                found += decoder.add(number, index, packet)
        lost += sum(fates[:packets])
        for gone, packet in zip(fates[packets:], parity, strict=True):
            found += [] if gone else decoder.add_parity(packet)
        missing.difference_update((got.number, got.index) for got in found if number - got.number <= slack)
        decoder.forget(number - KEPT)
    count = frames * packets
    worth_left = sum(worth[index] for _, index in missing) / (frames * sum(worth))
    by_frame = Counter(number for number, _ in missing)
    damage = sum(math.sqrt(gone / packets) for gone in by_frame.values()) / frames
    return Outcome(lost / count, len(missing) / count, damage, parity_bytes / media_bytes, worth_left)


def frame_sizes(number: int, packets: int, rng: random.Random) -> list[int]:
    """Payloads in bytes, as uneven as the codec's: parity is 1.2 times as long in a frame, twice in four frames."""
    scale = MEAN_SIZE * (FINER if number % 8 == 0 else rng.uniform(0.5, 1.1))
    return [round(scale * rng.uniform(0.65, 1.35)) for _ in range(packets)]


def trace_models(folder: Path) -> tuple[dict[str, LossModel], list[str]]:
    """(loss traces below a folder by name, files that are none). ConfigError: there is no trace."""
    models: dict[str, LossModel] = {}
    others = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".csv", ".txt")):
        try:
            models[path.stem] = read_loss_trace(str(path))
        except (TraceError, ConfigError):
            others.append(path.name)
    if not models:
        raise ConfigError(f"{folder}: no loss trace below it")
    return models, others


def compare(models: dict[str, LossModel], packets: int, frames: int, slack: int) -> Iterator[tuple[str, str, Outcome]]:
    """(model, scheme, outcome) of each."""
    for (name, model), scheme in ((m, s) for m in models.items() for s in SCHEMES):
        yield name, scheme, run(model, scheme, packets, frames, slack)


def unequal(packets: int, frames: int, slack: int) -> dict[str, dict[str, list[float]]]:
    """Worth still lost, [protection equal, unequal], by model and scheme: packet 0 has half of a frame's worth."""
    worth = [float(packets - 1), *repeat(1.0, packets - 1)]
    models = [name for name in MODELS if name in ("independent 10%", "independent 20%", "independent 30%")]
    return {
        name: {
            scheme: [run(MODELS[name], scheme, packets, frames, slack, 0, worth, p).worth_left for p in (False, True)]
            for scheme in ("block 25 %", "streaming 25 %")
        }
        for name in models
    }
